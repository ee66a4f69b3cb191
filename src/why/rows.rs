//! The explanation of each process, for programs.

use rustix::process::Pid;

use super::explanation::Explanation;
use super::graph::Key;
use super::seen::Seen;
use crate::containment::LeafName;
use crate::leaks::CurrentTest;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::ProcStat;

/// One process.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub process: &'a ProcessInfo,
    pub stat: &'a ProcStat,
    pub component: Option<&'a LeafName>,
    pub test: Option<CurrentTest>,
    /// The share of one CPU that it uses.
    pub cpu: f64,
    /// In words: the rest of a sentence whose subject is the process.
    pub waits: String,
    /// The processes that could end the wait.
    pub waits_for: Vec<Pid>,
}

impl Explanation {
    pub(crate) fn rows(&self) -> Vec<Row<'_>> {
        self.seen.iter().map(|(&key, seen)| self.row(key, seen)).collect()
    }

    fn row<'a>(&'a self, key: Key, seen: &'a Seen) -> Row<'a> {
        let blockers = self.told(key).iter().flat_map(|reason| &reason.blockers);
        let mut waits_for: Vec<Pid> = blockers.map(|blocker| blocker.pid).collect();
        waits_for.dedup();
        Row {
            process: &seen.process,
            stat: &seen.stat,
            component: seen.component.as_ref(),
            test: self.tests.of(&seen.stat),
            cpu: seen.cpu,
            waits: self.sentence(key, None),
            waits_for,
        }
    }

    /// The pids of the chain that the verdict is about, from the command to the process to look at.
    pub(crate) fn chain(&self) -> &[Key] {
        self.end.as_ref().map(|end| &end.chain[..]).unwrap_or_default()
    }

    /// The pids that wait for each other in a circle.
    pub(crate) fn circle(&self) -> &[Key] {
        self.end.as_ref().and_then(|end| Some(&end.chain[end.circle?..])).unwrap_or_default()
    }
}
