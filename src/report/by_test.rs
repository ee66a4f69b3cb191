//! Groups leaks by what has to be fixed: the tests, the services, and the rest.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use super::tree::{LeakTree, trees};
use crate::leaks::{Leak, Owner};
use crate::text::readable;

/// The leaks of one owner.
#[derive(Debug)]
pub(super) struct LeakGroup<'a> {
    pub owner: Owner,
    /// The worst first.
    pub trees: Vec<LeakTree<'a>>,
}

impl<'a> LeakGroup<'a> {
    /// How many processes leaked.
    pub(super) fn size(&self) -> usize {
        self.trees.iter().map(LeakTree::size).sum()
    }

    /// The phases of the test in which the processes were started, each once.
    pub(super) fn phases(&self) -> Vec<&'a str> {
        let mut phases: Vec<_> = self
            .trees
            .iter()
            .filter_map(|tree| tree.leak.started_during.as_ref()?.phase.as_deref())
            .collect();
        phases.sort_by_key(|phase| place(phase));
        phases.dedup();
        phases
    }

    /// `tests/test_a.py::test_b (setup)`
    pub(super) fn title(&self) -> String {
        title(&self.owner, &mut self.phases())
    }

    pub(super) fn is_test(&self) -> bool {
        matches!(self.owner, Owner::Test(_))
    }

    /// Whether a test runner has told whose they are.
    pub(super) fn is_of_runner(&self) -> bool {
        matches!(self.owner, Owner::Test(_) | Owner::Worker(_))
    }

    /// The trees whose roots execute the same, together. `here` is the session's directory.
    pub(super) fn programs(&self, here: &Path) -> Vec<Program<'_>> {
        let mut programs: Vec<Program<'_>> = Vec::new();
        for tree in &self.trees {
            let command = telling(&tree.leak.process.command, here);
            match programs.iter_mut().find(|it| it.command == command) {
                Some(program) => program.trees.push(tree),
                None => programs.push(Program { command, trees: vec![tree] }),
            }
        }
        programs
    }
}

/// `tests/test_a.py::test_b (setup)`
pub(super) fn title<P: AsRef<str>>(owner: &Owner, phases: &mut [P]) -> String {
    phases.sort_by_key(|phase| place(phase.as_ref()));
    let phases: Vec<_> = phases.iter().map(AsRef::as_ref).collect();
    if phases.is_empty() { owner.to_string() } else { format!("{owner} ({})", phases.join(", ")) }
}

/// When in a test it comes.
fn place(phase: &str) -> Option<usize> {
    ["setup", "call", "teardown"].iter().position(|it| *it == phase)
}

/// What one owner left running of one program.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub command: String,
    pub trees: Vec<&'a LeakTree<'a>>,
}

impl Program<'_> {
    pub(super) fn size(&self) -> usize {
        self.trees.iter().map(|tree| tree.size()).sum()
    }
}

/// A command without the parts of its paths that tell nothing: the directory of its program, and that of the session.
fn telling(command: &[OsString], here: &Path) -> String {
    let words = command.iter().enumerate().map(|(at, word)| {
        let path = Path::new(word);
        let short = match path.file_name() {
            Some(name) if at == 0 && path.is_absolute() => Path::new(name),
            _ => path.strip_prefix(here).ok().filter(|it| !it.as_os_str().is_empty()).unwrap_or(path),
        };
        readable(&short.to_string_lossy())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The worst groups come first, before those whose leaks are all known, and those that nothing is known about last.
pub(super) fn by_owner<'a>(leaks: impl IntoIterator<Item = &'a Leak>) -> Vec<LeakGroup<'a>> {
    let mut owned: Vec<(Owner, Vec<&Leak>)> = Vec::new();
    let mut places = HashMap::new();
    for leak in leaks {
        let owner = Owner::of(leak);
        let place = *places.entry(owner.to_string()).or_insert_with(|| {
            owned.push((owner, Vec::new()));
            owned.len() - 1
        });
        owned[place].1.push(leak);
    }
    let grown = owned.into_iter().map(|(owner, leaks)| LeakGroup { owner, trees: trees(leaks) });
    let mut groups: Vec<_> = grown.collect();
    groups.sort_by_cached_key(|group| {
        let worst = group.trees.first().map(LeakTree::rank);
        let is_known = group.trees.first().is_some_and(|tree| tree.leak.is_known);
        (
            is_known,
            group.owner == Owner::Unknown,
            Reverse(worst),
            Reverse(group.size()),
            group.owner.to_string(),
        )
    });
    groups
}

/// How many tests leaked, and how many processes.
pub(super) fn count_tests(groups: &[LeakGroup<'_>]) -> (usize, usize) {
    let tests = groups.iter().filter(|group| group.is_test());
    tests.fold((0, 0), |(tests, processes), group| (tests + 1, processes + group.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_the_paths_that_tell_nothing() {
        for (command, shown) in [
            ("/home/ci/shop/.venv/bin/python3 -m http.server", "python3 -m http.server"),
            ("python3 /home/ci/shop/mail.py --to /home/ci/shop", "python3 mail.py --to /home/ci/shop"),
            ("/usr/bin/env /opt/x", "env /opt/x"),
            ("[kworker/0:1] ", "[kworker/0:1] "),
        ] {
            let words: Vec<_> = command.split(' ').map(OsString::from).collect();
            assert_eq!(telling(&words, Path::new("/home/ci/shop")), shown);
        }
    }
}
