//! Leaks as lines for the terminal, one entry for each test that left something running.

use std::path::Path;

use super::by_test::{LeakGroup, Program};
use super::paint::Paint;
use crate::leaks::{How, Leak, Owner};
use crate::sys::terminal;
use crate::text::{processes, shorten};

/// A command keeps at least this many characters, however narrow the terminal is.
const NARROWEST: usize = 8;
/// So many programs of a test are listed, even if there is less room.
const FEWEST: usize = 3;
/// So many addresses are listed for one program.
const ADDRESSES: usize = 3;

/// The width of a line in a log, which nothing tells.
const LOG_COLUMNS: usize = 120;

/// Before an entry that has a line of its own.
const INDENT: &str = "    ";

/// How much room there is, in characters and lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub width: usize,
    pub lines: usize,
}

impl Room {
    /// What a line of ours on stderr can hold, after its prefix.
    pub(super) fn on_stderr(lines: usize) -> Self {
        let columns = if terminal::stderr_is_a_terminal() { terminal::columns() } else { LOG_COLUMNS };
        Self { width: columns.saturating_sub("cgrun: ".len()), lines }
    }
}

/// About `room.lines` lines. `total` also counts the leaks that are in no group.
pub(super) fn group_lines(groups: &[LeakGroup<'_>], total: usize, room: Room, paint: Paint) -> Vec<String> {
    let here = std::env::current_dir().unwrap_or_default();
    let mut lines = Vec::new();
    let mut shown = groups.iter();
    let mut covered = 0;
    for group in shown.by_ref() {
        let left = room.lines.saturating_sub(lines.len());
        lines.extend(lines_of(group, &here, Room { lines: left, ..room }, paint));
        covered += group.size();
        if lines.len() >= room.lines {
            break;
        }
    }
    let tests = shown.filter(|group| group.is_test()).count();
    let others = match tests {
        0 => String::new(),
        1 => ", some of them during 1 more test".into(),
        tests => format!(", some of them during {tests} more tests"),
    };
    if total > covered {
        lines.push(format!("  and {} more{others}", total - covered));
    }
    lines
}

/// One line if it fits, otherwise one for the owner and one for each program.
fn lines_of(group: &LeakGroup<'_>, here: &Path, room: Room, paint: Paint) -> Vec<String> {
    let (title, programs) = (group.title(), group.programs(here));
    let entries: Vec<_> = programs.iter().map(|it| Entry::of(it, &group.owner)).collect();
    let length = entries.iter().map(|it| it.length() + ", ".len()).sum::<usize>().saturating_sub(", ".len());
    let name = paint.name(&title);
    if "  : ".len() + title.chars().count() + length <= room.width {
        let entries: Vec<_> = entries.iter().map(|it| it.text(usize::MAX, paint)).collect();
        return vec![format!("  {name}: {}", entries.join(", "))];
    }
    let listed = programs.len().min(room.lines.max(FEWEST));
    let width = room.width.saturating_sub(INDENT.len());
    let shown = entries[..listed].iter().map(|it| format!("{INDENT}{}", it.text(width, paint)));
    let more = programs[listed..].iter().map(Program::size).sum::<usize>();
    let more = (more > 0).then(|| format!("{INDENT}and {more} more"));
    std::iter::once(format!("  {name}:")).chain(shown).chain(more).collect()
}

/// `pid 4711 (python3 mail.py) and 2 below it, listening on 127.0.0.1:1025`, or `3 x python3 mail.py`.
struct Entry<'a> {
    before: String,
    command: &'a str,
    after: String,
}

impl<'a> Entry<'a> {
    fn of(program: &'a Program<'_>, owner: &Owner) -> Self {
        let (roots, all) = (program.trees.len(), program.size());
        let (before, after) = match (&program.trees[..], all - roots) {
            ([one], 0) => (format!("pid {} (", one.leak.pid()), ")".to_string()),
            ([one], below) => (format!("pid {} (", one.leak.pid()), format!(") and {below} below it")),
            (_, 0) => (format!("{roots} x "), String::new()),
            (_, _) => (format!("{roots} x "), format!(" ({})", processes(all))),
        };
        let after = format!("{after}{}{}", addresses(program), how(program, owner));
        Self { before, command: &program.command, after }
    }

    /// In characters, if the command is not cut.
    fn length(&self) -> usize {
        [&self.before, self.command, &self.after].iter().map(|it| it.chars().count()).sum()
    }

    /// The command is cut so that the entry has `width` characters, if possible.
    fn text(&self, width: usize, paint: Paint) -> String {
        let others = self.before.chars().count() + self.after.chars().count();
        // One for the ellipsis.
        let left = width.saturating_sub(others + 1).max(NARROWEST);
        format!("{}{}{}", self.before, paint.strong(&shorten(self.command, left)), self.after)
    }
}

fn addresses(program: &Program<'_>) -> String {
    let all: Vec<_> =
        program.trees.iter().flat_map(|tree| &tree.leak.listening).map(String::as_str).collect();
    match (&all[..all.len().min(ADDRESSES)], all.len().saturating_sub(ADDRESSES)) {
        ([], _) => String::new(),
        (shown, 0) => format!(", listening on {}", shown.join(" and ")),
        (shown, more) => format!(", listening on {} and {more} more", shown.join(", ")),
    }
}

/// What is worse about it than that it was left running.
fn how(program: &Program<'_>, owner: &Owner) -> String {
    /// What one process did, what several did, and whether one did it.
    type Remark = (&'static str, &'static str, fn(&Leak) -> bool);
    let left = "had left the session's cgroup";
    let moved = "had moved to another cgroup of the session";
    let (it_stayed, they_stayed) = match owner {
        Owner::Service(_) => ("did not stop within its grace", "did not stop within their grace"),
        _ => ("did not stop when asked to", "did not stop when asked to"),
    };
    let remarks: [Remark; 4] = [
        (left, left, |leak| leak.how == How::Escaped),
        (moved, moved, |leak| leak.how == How::ChangedCgroup),
        ("belongs to its readiness command", "belong to its readiness command", |leak| {
            matches!(leak.how, How::OutlivedProbe(_))
        }),
        (it_stayed, they_stayed, |leak| leak.had_to_be_killed || matches!(leak.how, How::OutlivedService(_))),
    ];
    let all = program.trees.len();
    for (one, several, is_so) in remarks {
        match program.trees.iter().filter(|tree| is_so(tree.leak)).count() {
            0 => {}
            _ if all == 1 => return format!("; it {one}"),
            count if count == all => return format!("; they {several}"),
            count => return format!("; {count} of them {several}"),
        }
    }
    String::new()
}
