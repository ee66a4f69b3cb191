//! The processes of a session as text: a table, and a sentence for each process that was ended.

use super::ending::{Ending, Outcome};
use super::listing::Listed;
use crate::report::{hint, in_tree_order};
use crate::sys::terminal;
use crate::text::{age, processes, readable, shorten};

/// The width of a command that is not written to a terminal.
const COMMAND: usize = 200;
/// The same, in a test's failure.
const COMMAND_ENDED: usize = 120;
/// Each column keeps at least this many characters.
const NARROWEST: usize = 10;

/// One line for each process, those below another indented. `width` is that of the terminal, if there is one.
pub(super) fn table(listed: &[Listed], width: Option<usize>) -> String {
    let mut rows = vec![["PID", "AGE", "STATE", "TEST"].map(String::from)];
    let mut commands = vec!["COMMAND".to_string()];
    for (depth, at) in in_tree_order(listed.iter().map(|it| &it.process)) {
        let it = &listed[at];
        let process = &it.process.process;
        rows.push([
            process.pid.to_string(),
            age(process.age),
            it.process.stat.state_name().into(),
            started_during(it),
        ]);
        let mark = if it.is_allowed { "  (allowed)" } else { "" };
        commands.push(format!("{}{}{mark}", "  ".repeat(depth), process.command_for_people(COMMAND)));
    }
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [pid, age, state, test] = [0, 1, 2, 3].map(widest);
    let left = width.map(|width| width.saturating_sub(pid + age + state + 4 * "  ".len()));
    // The test gets at most half of what is left.
    let test = left.map_or(test, |left| test.min((left / 2).max(NARROWEST)));
    let command = left.map_or(usize::MAX, |left| left.saturating_sub(test + 1).max(NARROWEST));
    let line = |(row, text): (&[String; 4], &String)| {
        let name = if row[3].chars().count() > test { shorten(&row[3], test - 1) } else { row[3].clone() };
        let text = if text.chars().count() > command { shorten(text, command - 1) } else { text.clone() };
        format!("{:pid$}  {:age$}  {:state$}  {name:test$}  {text}\n", row[0], row[1], row[2])
    };
    rows.iter().zip(&commands).map(line).collect()
}

fn started_during(it: &Listed) -> String {
    match (&it.component, &it.process.started_during) {
        (Some(component), _) if !it.is_of_command() => readable(&component.title()),
        (_, Some(origin)) => origin.to_string(),
        (_, None) => "-".into(),
    }
}

/// What was ended, for a test that fails because of it: a line for each tree of processes.
pub(super) fn ended(listed: &[Listed], outcomes: &[Outcome]) -> String {
    let mut lines = vec![format!("{} left running, and ended by cgrun:", processes(listed.len()))];
    let order = in_tree_order(listed.iter().map(|it| &it.process));
    for tree in order.chunk_by(|_, (depth, _)| *depth > 0) {
        let Some(&(_, root)) = tree.first() else { continue };
        let Some((it, outcome)) = listed.get(root).zip(outcomes.get(root)) else { continue };
        let process = &it.process.process;
        let below = match tree.len() - 1 {
            0 => String::new(),
            below => format!(" and {below} below it"),
        };
        let listening = match &it.process.listening[..] {
            [] => String::new(),
            addresses => format!(", listening on {}", addresses.join(" and ")),
        };
        let how = match outcome {
            Ok(Ending::Asked) => "",
            Ok(Ending::Killed) => "; it did not exit when asked to, and was killed",
            Err(_) => "; IT IS STILL RUNNING",
        };
        let (command, age) = (process.command_for_people(COMMAND_ENDED), age(process.age));
        lines.push(format!("  pid {} ({command}){below}, {age} old{listening}{how}", process.pid));
    }
    let leaks: Vec<_> = listed.iter().map(|it| it.process.clone()).collect();
    lines.extend(hint(&leaks).map(|hint| format!("  hint: {hint}")));
    lines.join("\n") + "\n"
}

/// `None` if stdout is no terminal.
pub(super) fn width() -> Option<usize> {
    terminal::stdout_columns()
}
