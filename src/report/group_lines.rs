//! Leaks as lines for the terminal, one entry for each test that left something running.

use super::by_test::{LeakGroup, Owner, Program};
use super::paint::Paint;
use crate::leaks::{How, Leak};
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
    let mut lines = Vec::new();
    let mut shown = groups.iter();
    let mut covered = 0;
    for group in shown.by_ref() {
        let left = room.lines.saturating_sub(lines.len());
        lines.extend(lines_of(group, Room { lines: left, ..room }, paint));
        covered += group.size();
        if lines.len() >= room.lines {
            break;
        }
    }
    let tests = shown.filter(|group| matches!(group.owner, Owner::Test(_))).count();
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
fn lines_of(group: &LeakGroup<'_>, room: Room, paint: Paint) -> Vec<String> {
    let (width, title, mut programs) = (room.width, group.title(), group.programs());
    let entries = |programs: &[Program<'_>], width, paint| {
        programs.iter().map(|it| entry(it, group, width, paint)).collect::<Vec<_>>()
    };
    let plain = entries(&programs, usize::MAX, Paint::none()).join(", ");
    if title.chars().count() + plain.chars().count() + "  : ".len() <= width {
        return vec![format!(
            "  {}: {}",
            paint.name(&title),
            entries(&programs, usize::MAX, paint).join(", ")
        )];
    }
    let others = programs.split_off(programs.len().min(room.lines.max(FEWEST)));
    let shown =
        entries(&programs, width.saturating_sub(4), paint).into_iter().map(|entry| format!("    {entry}"));
    let more = others.iter().map(Program::size).sum::<usize>();
    let more = (more > 0).then(|| format!("    and {more} more"));
    std::iter::once(format!("  {}:", paint.name(&title))).chain(shown).chain(more).collect()
}

/// `pid 4711 (python3 mail.py) and 2 below it, listening on 127.0.0.1:1025`, or `3 x python3 mail.py`. The command is cut so
/// that the entry has `width` characters, if possible.
fn entry(program: &Program<'_>, group: &LeakGroup<'_>, width: usize, paint: Paint) -> String {
    let (roots, all) = (program.trees.len(), program.size());
    let (before, after) = match (&program.trees[..], all - roots) {
        ([one], 0) => (format!("pid {} (", one.leak.pid()), ")".to_string()),
        ([one], below) => (format!("pid {} (", one.leak.pid()), format!(") and {below} below it")),
        (_, 0) => (format!("{roots} x "), String::new()),
        (_, _) => (format!("{roots} x "), format!(" ({})", processes(all))),
    };
    let after = format!("{after}{}{}", addresses(program), how(program, &group.owner));
    // One for the ellipsis.
    let left = width.saturating_sub(before.chars().count() + after.chars().count() + 1).max(NARROWEST);
    format!("{before}{}{after}", paint.strong(&shorten(&program.command, left)))
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
    type Remark = (&'static str, fn(&Leak) -> bool);
    let remarks: [Remark; 4] = [
        ("had left the session's cgroup", |leak| leak.how == How::Escaped),
        ("had moved to another cgroup of the session", |leak| leak.how == How::ChangedCgroup),
        ("belongs to its readiness command", |leak| matches!(leak.how, How::OutlivedProbe(_))),
        (
            if matches!(owner, Owner::Service(_)) {
                "did not stop within its grace"
            } else {
                "did not stop when asked to"
            },
            |leak| leak.had_to_be_killed || matches!(leak.how, How::OutlivedService(_)),
        ),
    ];
    let all = program.trees.len();
    let count = |is_so: fn(&Leak) -> bool| program.trees.iter().filter(|tree| is_so(tree.leak)).count();
    let found = remarks.into_iter().map(|(text, is_so)| (text, count(is_so))).find(|(_, count)| *count > 0);
    match found {
        None => String::new(),
        Some((text, _)) if all == 1 => format!("; it {text}"),
        Some((text, count)) if count == all => format!("; they {}", plural(text)),
        Some((text, count)) => format!("; {count} of them {}", plural(text)),
    }
}

fn plural(text: &str) -> String {
    text.replace("belongs to its", "belong to its").replace("within its", "within their")
}
