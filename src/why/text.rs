//! The explanation as text: the chain, what else does not rest, and the verdict as the last line.

use std::ffi::OsString;
use std::path::Path;

use rustix::process::Pid;

use super::explanation::Explanation;
use super::graph::{Key, Rank, Tie};
use super::groups::{Group, groups};
use super::words::words;
use super::zombies;
use crate::containment::LeafName;
use crate::stacks::Stack;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::text::{age, processes, readable, shorten};

/// No more lines of one chain, and of the other processes, are shown.
const CHAIN: usize = 8;
const OTHERS: usize = 4;
/// How much of a command line is shown where it is the subject, and where it is named in passing.
const COMMAND: usize = 100;
const NAME: usize = 50;

impl Explanation {
    /// One line each, with these stacks before the last one. `width` is that of the terminal, if there is one.
    pub(crate) fn lines(&self, width: Option<usize>, stacks: &[Stack]) -> Vec<String> {
        let chain = self.end.as_ref().map(|end| &end.chain[..]).unwrap_or_default();
        let mut lines = Vec::new();
        let left_out = chain.len().saturating_sub(CHAIN);
        for (at, &key) in chain.iter().enumerate() {
            // The beginning and the end of a long chain tell the most.
            if left_out > 0 && at >= CHAIN / 2 && at < CHAIN / 2 + left_out {
                if at == CHAIN / 2 {
                    lines.push(format!("  … {left_out} more of this chain"));
                }
                continue;
            }
            lines.push(format!("pid {key} {}", self.subject(key)));
            lines.push(format!("    {}", self.sentence(key, chain.get(at + 1).copied())));
        }
        lines.extend(self.others(chain));
        lines.extend(stacks.iter().flat_map(Stack::lines));
        lines.extend(self.hint());
        lines.push(self.verdict());
        let fit = |line: String| match width {
            Some(width) if line.chars().count() > width => shorten(&line, width.saturating_sub(1)),
            _ => line,
        };
        // The verdict is what matters: it is never cut.
        let last = lines.pop();
        lines.into_iter().map(fit).chain(last).collect()
    }

    fn others(&self, chain: &[Key]) -> Vec<String> {
        let groups = groups(self, chain);
        let (told, rest): (Vec<_>, Vec<_>) =
            groups.iter().enumerate().partition(|(at, group)| *at < OTHERS && group.rank > Rank::Looking);
        let mut lines: Vec<_> = told.iter().map(|(_, group)| self.group_line(group)).collect();
        let more: usize = rest.iter().map(|(_, group)| group.keys.len()).sum();
        if more > 0 {
            let plural = if more == 1 { "" } else { "es" };
            lines.push(format!("and {more} more process{plural}"));
        }
        if self.hidden > 0 {
            lines.push(format!("and {} that cannot be seen: run as root", processes(self.hidden)));
        }
        lines
    }

    fn group_line(&self, group: &Group) -> String {
        let first = group.keys[0];
        let program = command(&self.seen[&first].process, NAME);
        match group.keys.len() {
            1 => format!("also pid {first} ({program}) {}", self.sentence(first, None)),
            count => format!("also {count} × {program}, each {}", self.sentence(first, None)),
        }
    }

    /// The process to look at, and its test.
    pub(crate) fn verdict(&self) -> String {
        let Some(end) = &self.end else {
            return "no process of this session can be seen".into();
        };
        if let Some(begin) = end.circle {
            let names: Vec<_> = end.chain[begin..].iter().map(|&key| self.name_with_test(key)).collect();
            return match &names[..] {
                [one] => format!("look at {one}: it waits for itself"),
                [one, other] if self.takes_orders(&end.chain[begin..]) => format!(
                    "look at {one}: it waits for {other}, which waits for its orders; \
                     perhaps another worker was killed, or a message was lost"
                ),
                [one, other] => format!("these two wait for each other: {one}, and {other}"),
                names => {
                    format!("these {} wait for each other in a circle: {}", names.len(), names.join(", "))
                }
            };
        }
        let Some(&last) = end.chain.last() else { return String::new() };
        format!("look at {}: it {}", self.name_with_test(last), self.sentence(last, None))
    }

    /// Whether the last one of a circle waits for orders from the first one, like a worker at rest.
    fn takes_orders(&self, circle: &[Key]) -> bool {
        let (Some(first), Some(last)) = (circle.first(), circle.last()) else { return false };
        let mut blockers = self.reasons[last].iter().flat_map(|reason| &reason.blockers);
        blockers.any(|it| it.pid.as_raw_nonzero().get() == *first && it.tie == Tie::Orders)
    }

    pub(super) fn sentence(&self, key: Key, next: Option<Key>) -> String {
        self.words(key, &|pid| match next {
            Some(next) if pid.as_raw_nonzero().get() == next => next.to_string(),
            _ => self.name(pid),
        })
    }

    pub(super) fn words(&self, key: Key, name: &dyn Fn(Pid) -> String) -> String {
        let told: Vec<_> = self.told(key).iter().map(|reason| words(reason, name)).collect();
        let zombies = self.zombies.get(&key).and_then(|zombies| zombies::words(zombies));
        let told = told.join("; another thread ");
        zombies.map_or(told.clone(), |zombies| format!("{told}; {zombies}"))
    }

    /// `(pytest -q), 3 min old, runs tests/test_a.py::test_b (call)`
    fn subject(&self, key: Key) -> String {
        let process = &self.seen[&key].process;
        let test = self.test(key).map(|test| format!(", {test}")).unwrap_or_default();
        format!("({}), {} old{test}", command(process, COMMAND), age(process.age))
    }

    fn name(&self, pid: Pid) -> String {
        let known = match self.seen.get(&pid.as_raw_nonzero().get()) {
            Some(seen) => Some(command(&seen.process, NAME)),
            None => ProcessInfo::read(pid).map(|process| command(&process, NAME)),
        };
        known.map_or(pid.to_string(), |command| format!("{pid} ({command})"))
    }

    fn name_with_test(&self, key: Key) -> String {
        let program = command(&self.seen[&key].process, NAME);
        let test = self.test(key).map(|test| format!(", {test}")).unwrap_or_default();
        format!("pid {key} ({program}){test}")
    }

    /// `runs TEST`, `started during TEST`, `of service web`
    fn test(&self, key: Key) -> Option<String> {
        let seen = &self.seen[&key];
        match &seen.component {
            Some(LeafName::Command) | None => {
                let found = self.tests.of(&seen.stat)?;
                let verb = if found.is_running { "runs" } else { "started during" };
                Some(format!("{verb} {}", found.origin))
            }
            Some(component) => Some(format!("of {}", readable(&component.title()))),
        }
    }
}

/// The command line, as short as where it is named in passing.
pub(super) fn named(process: &ProcessInfo) -> String {
    command(process, NAME)
}

/// The command line, without the directory of the program, and without the interpreter of a script next to it, as in a
/// virtual environment.
fn command(process: &ProcessInfo, width: usize) -> String {
    let mut short = process.clone();
    let directory =
        |word: &OsString| Path::new(word).parent().filter(|it| it.is_absolute()).map(Path::to_path_buf);
    if let [interpreter, script, ..] = &short.command[..] {
        if directory(interpreter).is_some() && directory(interpreter) == directory(script) {
            short.command.remove(0);
        }
    }
    if let Some(program) = short.command.first_mut() {
        if let Some(name) = Path::new(program).file_name() {
            *program = name.to_os_string();
        }
    }
    short.command_for_people(width)
}
