//! The two ends of terminals: programs have `/dev/pts/3` open, and one such as script(1), expect or tmux has its master.

use std::collections::{BTreeMap, HashMap};

use rustix::process::Pid;

use super::seen::Seen;
use super::wait::FileKind;

/// By the number of the terminal.
#[derive(Debug, Default)]
pub(super) struct Terminals {
    masters: HashMap<u32, Vec<Pid>>,
    programs: HashMap<u32, Vec<Pid>>,
}

impl Terminals {
    pub(super) fn of(seen: &BTreeMap<i32, Seen>) -> Self {
        let mut found = Self::default();
        for it in seen.values() {
            for (&number, target) in it.files.targets.iter().flatten() {
                if !FileKind::is_terminal(target) {
                    continue;
                }
                let (ends, terminal) = match it.files.file(number).kind {
                    FileKind::Terminal(name) => (&mut found.programs, number_of(&name)),
                    FileKind::Master(terminal) => (&mut found.masters, terminal),
                    _ => continue,
                };
                let Some(terminal) = terminal else { continue };
                let pids = ends.entry(terminal).or_default();
                if pids.last() != Some(&it.stat.pid) {
                    pids.push(it.stat.pid);
                }
            }
        }
        found
    }

    /// Those that have the master of the terminal with this name.
    pub(super) fn masters(&self, name: &str) -> Vec<Pid> {
        number_of(name).and_then(|number| self.masters.get(&number)).cloned().unwrap_or_default()
    }

    pub(super) fn programs(&self, number: u32) -> Vec<Pid> {
        self.programs.get(&number).cloned().unwrap_or_default()
    }
}

pub(super) fn name_of(number: u32) -> String {
    format!("/dev/pts/{number}")
}

fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix("/dev/pts/")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pseudoterminal_has_a_number() {
        assert_eq!(number_of(&name_of(7)), Some(7));
        assert_eq!((number_of("/dev/pts/ptmx"), number_of("/dev/tty1")), (None, None));
    }
}
