//! Which processes were asked to exit. Each is asked only once in a teardown, whichever phase finds it, because
//! servers take a second signal as "exit at once".

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::runtime::clock;
use crate::sys::procfs::details::is_inner_init;
use crate::sys::procfs::stat::{ProcStat, ProcessKey};
use crate::sys::time::Instant;

/// How long to wait for a process that its dead parent may have asked to exit. If a quarter of the remaining
/// grace is shorter, we wait for that long.
const MOMENT: Duration = Duration::from_secs(1);
const PART: u32 = 4;
/// How long a process has to clean up after one that was killed, or three quarters of its grace if that is shorter.
const CLEANING_UP: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The signal with which each was asked. A process that ignores it can be asked with another one.
    by: HashMap<ProcessKey, Signal>,
    /// Processes that /proc does not show.
    hidden: HashSet<Pid>,
    known: HashMap<ProcessKey, Known>,
    /// Whether each is the first process of an inner PID namespace.
    inits: HashMap<ProcessKey, bool>,
    /// Processes that their parents may have asked, and when to ask them anyway.
    spared: HashMap<ProcessKey, Instant>,
}

/// The state of a process while its parent was alive.
#[derive(Debug)]
struct Known {
    parent: Option<ProcessKey>,
    was_root: bool,
    /// It has a handler for the signal, or had one: some handlers remove themselves.
    handles: bool,
}

impl Asked {
    pub(super) fn note(&mut self, process: ProcessKey, signal: Signal) {
        self.by.insert(process, signal);
    }

    /// Notes a process of which only the pid is known. `false` if it was asked before.
    pub(super) fn note_hidden(&mut self, pid: Pid) -> bool {
        self.hidden.insert(pid)
    }

    pub(super) fn contains(&self, process: ProcessKey) -> bool {
        self.by.contains_key(&process)
    }

    /// Notes how processes are related, before their parents exit. For a process that is seen for the first time,
    /// `was_root` tells whether it had no parent among them even before anything was asked.
    pub(super) fn look(&mut self, seen: &[ProcStat], signal: Signal, was_root: impl Fn(&ProcStat) -> bool) {
        let keys: HashMap<_, _> = seen.iter().map(|it| (it.pid, it.key())).collect();
        for it in seen {
            let parent = it.parent.and_then(|parent| keys.get(&parent).copied());
            let new = || Known { parent, was_root: parent.is_none() && was_root(it), handles: false };
            let known = self.known.entry(it.key()).or_insert_with(new);
            known.parent = parent.or(known.parent);
            known.handles |= it.handles(signal);
        }
    }

    /// Whether to ask a root now. It must have been looked at before.
    pub(super) fn is_due(&mut self, process: &ProcStat, signal: Signal, grace_ends: Option<Instant>) -> bool {
        let key = process.key();
        if self.by.get(&key).is_some_and(|&by| by == signal || !process.ignores(by)) {
            return false;
        }
        if !self.spared.contains_key(&key) && !self.may_have_been_asked(key) {
            return true;
        }
        clock::now() >= *self.spared.entry(key).or_insert_with(|| moment(grace_ends))
    }

    /// Gives a process time to clean up after one that was killed.
    pub(super) fn spare(&mut self, process: &ProcStat, grace_ends: Instant) {
        let now = clock::now();
        let most_of_it = (grace_ends - now) / PART * (PART - 1);
        self.spared.entry(process.key()).or_insert(now + most_of_it.min(CLEANING_UP));
    }

    /// Whether it is the first process of an inner PID namespace, and has executed a program: those of sandboxes often have
    /// not, and are helpers of their parents.
    pub(super) fn is_inner_init(&mut self, process: &ProcStat) -> bool {
        let is_init = || is_inner_init(process.pid);
        !process.is_forked && *self.inits.entry(process.key()).or_insert_with(is_init)
    }

    /// Whether its dead parent may have passed the signal on. A parent that we asked and that had no handler
    /// cannot have done so. Asking a process without a handler twice does no harm.
    fn may_have_been_asked(&self, process: ProcessKey) -> bool {
        let Some(known) = self.known.get(&process) else { return true };
        let has_handler = |it: &ProcessKey| self.known.get(it).is_none_or(|known| known.handles);
        let may_pass_on = |parent: &ProcessKey| !self.contains(*parent) || has_handler(parent);
        !known.was_root && known.handles && known.parent.as_ref().is_none_or(may_pass_on)
    }
}

/// `MOMENT`, or a quarter of the remaining grace, from now on.
fn moment(grace_ends: Option<Instant>) -> Instant {
    let now = clock::now();
    let part = grace_ends.map_or(MOMENT, |end| (end - now) / PART);
    now + part.min(MOMENT)
}

/// The processes whose parent is not among the others.
pub(super) fn roots(seen: &[ProcStat]) -> impl Iterator<Item = &ProcStat> {
    let pids: HashSet<_> = seen.iter().map(|it| it.pid).collect();
    seen.iter().filter(move |it| it.parent.is_none_or(|parent| !pids.contains(&parent)))
}
