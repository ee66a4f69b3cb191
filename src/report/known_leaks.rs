//! What the baseline says of a session's leaks, for the terminal and the reports.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::container_text::leaked_text;
use crate::baseline::{Baseline, Edited, Entry};
use crate::leaks::Owner;
use crate::teardown::Verdict;
use crate::text::{counted, processes, readable, shorten};

/// So many entries are listed.
const LISTED: usize = 10;
/// In characters.
const LONGEST: usize = 160;

/// Whether the baseline was changed.
#[derive(Clone, Debug)]
pub(crate) enum BaselineChange {
    None,
    /// For this reason, which is no fault.
    Omitted(&'static str),
    Failed(String),
    Written(Edited),
    Updated(Edited),
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct BaselineSummary {
    pub file: String,
    pub entry_count: usize,
    pub known_process_count: usize,
    pub known_container_count: usize,
    /// The entries that no leak matched.
    pub not_seen: Vec<NotSeen>,
    /// The tests that leaked them, and how many of them, processes and containers.
    #[serde(skip)]
    known_of_tests: (usize, usize),
    #[serde(skip)]
    undescribed: usize,
    /// What an update has removed.
    #[serde(skip)]
    removed: Vec<NotSeen>,
    /// The file as people know it.
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    change: BaselineChange,
    #[serde(skip)]
    has_passed: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct NotSeen {
    pub test: Option<String>,
    pub worker: Option<String>,
    pub service: Option<String>,
    pub program: String,
    /// The file of the test, if it does not exist.
    pub missing_file: Option<String>,
}

impl BaselineSummary {
    /// Summarizes a verdict from which the known leaks are set aside. `here` is the session's directory.
    pub(crate) fn new(
        baseline: &Baseline,
        here: &Path,
        change: BaselineChange,
        not_seen: Vec<Entry>,
        has_passed: bool,
        verdict: &Verdict,
    ) -> Self {
        let path = &baseline.path;
        let directories = [here, path.parent().unwrap_or(here)];
        let named = |entries: &[Entry]| entries.iter().map(|it| NotSeen::new(it, &directories)).collect();
        let (entry_count, removed) = match &change {
            BaselineChange::Written(edited) | BaselineChange::Updated(edited) => {
                (edited.entry_count, named(&edited.removed))
            }
            _ => (baseline.entries().count(), Vec::new()),
        };
        Self {
            file: path.to_string_lossy().into_owned(),
            entry_count,
            known_process_count: verdict.known_leaks().len(),
            known_container_count: verdict.known_containers().count(),
            not_seen: named(&not_seen),
            known_of_tests: known_of_tests(verdict),
            removed,
            undescribed: verdict.undescribed_count(),
            name: path.strip_prefix(here).unwrap_or(path).to_string_lossy().into_owned(),
            change,
            has_passed,
        }
    }

    /// Why the file was not written, if that is a failure.
    pub(crate) fn failure(&self) -> Option<String> {
        match &self.change {
            BaselineChange::Failed(reason) => {
                Some(format!("the baseline {} was not written: {reason}", self.name))
            }
            _ => None,
        }
    }

    /// `12 known leaks of 4 tests are in cgrun-leaks.toml`, `12 known leaks, 9 of them of 4 tests, are in cgrun-leaks.toml`
    pub(crate) fn known(&self) -> Option<String> {
        let (leaks, verb) = match self.known_count() {
            0 => return None,
            1 => ("1 known leak".to_string(), "is"),
            count => (format!("{count} known leaks"), "are"),
        };
        Some(format!("{leaks}{} {verb} in {}", self.of_tests(), self.name))
    }

    fn known_count(&self) -> usize {
        self.known_process_count + self.known_container_count
    }

    /// The others are of services, or of an unknown test.
    fn of_tests(&self) -> String {
        let (tests, leaks) = self.known_of_tests;
        let tests = counted(tests as u64, "test");
        match leaks {
            0 => String::new(),
            leaks if leaks == self.known_count() => format!(" of {tests}"),
            leaks => format!(", {leaks} of them of {tests},"),
        }
    }

    /// What is worth saying unless cgrun is quiet. `says_all` asks for the entries that were not seen, too.
    pub(super) fn lines(&self, says_all: bool) -> Vec<String> {
        let name = &self.name;
        let mut lines = match &self.change {
            BaselineChange::Omitted(reason) => vec![format!("{name} was not changed, because {reason}")],
            BaselineChange::Written(edited) if edited.is_different() => vec![self.written(edited)],
            // What cannot be listed is said below.
            BaselineChange::Written(_) if self.undescribed > 0 => Vec::new(),
            BaselineChange::Written(_) if self.entry_count == 0 => {
                vec![format!("nothing leaked, so there is nothing to write to {name}")]
            }
            BaselineChange::Written(_) => vec![format!("nothing leaked that is not in {name}")],
            BaselineChange::Updated(edited) if edited.is_different() => self.updated(edited),
            BaselineChange::Updated(_) => vec![format!("all that is in {name} still leaks")],
            BaselineChange::None | BaselineChange::Failed(_) => Vec::new(),
        };
        if !matches!(self.change, BaselineChange::Written(_)) {
            lines.splice(0..0, self.known());
        }
        if self.undescribed > 0 {
            let count = processes(self.undescribed);
            lines.push(format!("not compared with {name}, and so counted as new: {count}"));
        }
        if says_all && self.has_passed && matches!(self.change, BaselineChange::None) {
            lines.extend(self.not_seen_lines());
        }
        lines.iter().map(|line| readable(line)).collect()
    }

    fn written(&self, edited: &Edited) -> String {
        let bounds = match edited.rebound {
            0 => String::new(),
            count => format!(", and raised {}", counted(count as u64, "bound")),
        };
        let added = counted(edited.added as u64, "line");
        let leaks = leaked_text(self.known_process_count, self.known_container_count);
        format!(
            "added {added} to {}{bounds}: {leaks}{} leaked, and all are known from now on",
            self.name,
            self.of_tests()
        )
    }

    fn updated(&self, edited: &Edited) -> Vec<String> {
        let (removed, lowered) = (self.removed.len() as u64, edited.rebound as u64);
        let (lines, bounds) = (counted(removed, "line"), counted(lowered, "bound"));
        let first = match (removed, lowered) {
            (_, 0) => format!("removed {lines} from {}:", self.name),
            (0, _) => format!("lowered {bounds} in {}", self.name),
            _ => format!("lowered {bounds} in {}, and removed {lines}:", self.name),
        };
        std::iter::once(first).chain(listed(&self.removed)).collect()
    }

    fn not_seen_lines(&self) -> Vec<String> {
        let (unseen, all) = (self.not_seen.len(), self.entry_count);
        if unseen == 0 {
            return Vec::new();
        }
        let first = format!(
            "{unseen} of {} in {} matched no leak; if all tests ran, remove them with --update-baseline:",
            counted(all as u64, "line"),
            self.name
        );
        std::iter::once(first).chain(listed(&self.not_seen)).collect()
    }
}

/// How many tests have leaked what is known, and how much of it.
fn known_of_tests(verdict: &Verdict) -> (usize, usize) {
    let processes = verdict.known_leaks().iter().map(Owner::of);
    let containers = verdict.known_containers().map(|it| Owner::of_origin(it.origin.as_ref()));
    let of_tests: Vec<_> = processes.chain(containers).filter(|it| matches!(it, Owner::Test(_))).collect();
    (of_tests.iter().collect::<BTreeSet<_>>().len(), of_tests.len())
}

fn listed(lines: &[NotSeen]) -> impl Iterator<Item = String> {
    let more = lines.len().saturating_sub(LISTED);
    let shown = lines.iter().take(LISTED).map(|it| format!("  {}", it.text()));
    shown.chain((more > 0).then(|| format!("  and {more} more")))
}

impl NotSeen {
    fn new(entry: &Entry, directories: &[&Path]) -> Self {
        let named = |key| entry.owner_key().filter(|(it, _)| *it == key).map(|(_, name)| name.to_string());
        let (test, program) = (named("test"), entry.program.clone());
        let file = test.as_ref().and_then(|test| test.split_once("::")).map(|(file, _)| file.to_string());
        let is_missing =
            |file: &String| !file.contains('*') && directories.iter().all(|it| !it.join(file).exists());
        let missing_file = file.filter(is_missing);
        Self { test, worker: named("worker"), service: named("service"), program, missing_file }
    }

    fn text(&self) -> String {
        let service = self.service.as_ref().map(|name| format!("service {name}"));
        let owner = self.test.clone().or(self.worker.clone()).or(service).unwrap_or("an unknown test".into());
        let missing = self.missing_file.as_ref().map(|file| format!(" ({file} does not exist)"));
        format!("{}{}", shorten(&format!("{owner}: {}", self.program), LONGEST), missing.unwrap_or_default())
    }
}
