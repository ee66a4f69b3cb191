//! Recognizes stragglers: a process that is already exiting when the command exits is not a leak, even if it
//! gets no processor time.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::Pid;

use crate::containment::Leaf;
use crate::runtime::clock;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::time::Instant;

/// How long to wait for a process that gets no processor time, as a multiple of the time to settle.
const STARVING: u32 = 50;
/// How long to wait for a process that waits for a disk, also as a multiple of the time to settle.
const WAITING: u32 = 10;
/// More processes than this are not treated as stragglers, nor are processes that fork all the time.
const FEW: usize = 100;

/// Processes that were still alive when the time to settle was over.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    /// When the time to settle was over.
    since: Option<Instant>,
    /// How much processor time each had used when it was first seen.
    used: HashMap<Pid, Duration>,
}

impl Stragglers {
    /// Whether one of them waits for a disk, or wants the processor and has had it for less than the time to
    /// settle since then.
    pub(super) fn are_held_up(&mut self, leaf: &Leaf, settle: Duration) -> bool {
        let late = clock::since(*self.since.get_or_insert_with(clock::now));
        let members = leaf.members().unwrap_or_default();
        if late >= settle * STARVING || members.len() > FEW {
            return false;
        }
        let stats: Vec<_> = members.into_iter().filter_map(ProcStat::read).collect();
        for it in &stats {
            self.used.entry(it.pid).or_insert(it.cpu);
        }
        self.used.len() <= FEW
            && stats.iter().any(|it| match it.state {
                'R' => it.cpu.saturating_sub(self.used[&it.pid]) < settle,
                'D' => late < settle * WAITING,
                _ => false,
            })
    }
}
