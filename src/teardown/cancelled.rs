//! The work of a cancelled command: the processes that it was running when Ctrl-C, a signal or the timeout ended
//! it. They are not leaks. Processes that had been orphaned before that do count as leaks.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::component::Component;
use crate::containment::ContainmentError;
use crate::runtime::clock;
use crate::sys::procfs::stat::{ProcStat, ProcessKey};
use crate::sys::procfs::walk;
use crate::sys::signals::Caught;
use crate::sys::time::Instant;

/// How long a request counts, however short the grace is.
const AT_LEAST: Duration = Duration::from_secs(1);

/// The command's processes at the moment of the request.
#[derive(Debug)]
pub(crate) struct Cancelled {
    at: Instant,
    /// The command and its descendants.
    work: HashSet<ProcessKey>,
    /// The processes that had left its tree before.
    outsiders: HashSet<ProcessKey>,
    /// The processes that the terminal has asked to exit, and by which signal.
    asked: Vec<(ProcessKey, Signal)>,
}

impl Cancelled {
    /// Looks at the command. If `caught` came from the terminal, the command has received it too.
    pub(super) fn look(command: &Component, caught: Option<Caught>) -> Result<Self, ContainmentError> {
        let members: Vec<_> = command.leaf.members()?.into_iter().filter_map(ProcStat::read).collect();
        // Once the leader has been reaped, another process may have its pid.
        let is_reaped = command.status.is_some();
        let leader = (!is_reaped).then_some(command.leader.pid);
        let tree = walk::with_descendants(leader);
        let group = if command.own_group { command.leader.pid.as_raw_nonzero().get() } else { own_group() };
        let signal = caught.map_or(Signal::SIGTERM, |caught| caught.signal);
        let was_reached = |it: &ProcStat| it.group == group && !it.ignores(signal);
        // If the command has just died of the signal, its children have left its tree already.
        let is_dead = is_reaped || ProcStat::read(command.leader.pid).is_none();
        let is_work = |it: &&ProcStat| tree.contains(&it.pid) || is_dead && it.group == group;
        let (work, outsiders): (Vec<&ProcStat>, Vec<_>) = members.iter().partition(is_work);
        let inside: HashSet<_> = members.iter().map(|it| it.pid).collect();
        let elsewhere: Vec<_> = tree.difference(&inside).filter_map(|&pid| ProcStat::read(pid)).collect();
        let reached = members.iter().filter(|it| was_reached(it)).map(|it| (it.key(), signal));
        Ok(Self {
            at: clock::now(),
            work: work.into_iter().chain(&elsewhere).map(ProcStat::key).collect(),
            outsiders: outsiders.into_iter().map(ProcStat::key).collect(),
            asked: if caught.is_some_and(|it| it.from_terminal) { reached.collect() } else { Vec::new() },
        })
    }

    /// Adds the work at an earlier request, if the command may still be exiting because of it.
    pub(super) fn after(mut self, before: Option<Self>, patience: Duration) -> Self {
        if let Some(before) = before.filter(|it| it.is_recent(patience)) {
            self.work.extend(before.work);
            self.outsiders.extend(before.outsiders);
            self.asked.extend(before.asked);
        }
        let Self { work, outsiders, .. } = &mut self;
        outsiders.retain(|it| !work.contains(it));
        self
    }

    pub(super) fn is_recent(&self, patience: Duration) -> bool {
        clock::since(self.at) <= patience.max(AT_LEAST)
    }

    /// The processes that the terminal has asked to exit.
    pub(super) fn asked_by_terminal(&self) -> impl Iterator<Item = (ProcessKey, Signal)> {
        self.asked.iter().copied()
    }

    /// Whether the process was part of the command's work.
    pub(super) fn includes(&self, pid: Pid) -> bool {
        ProcStat::read(pid).is_some_and(|it| self.work.contains(&it.key()))
    }

    /// Keeps the processes that had left the command's tree before it was cancelled, and their descendants.
    pub(super) fn outsiders_among(&self, members: Vec<Pid>) -> Vec<Pid> {
        let stats: HashMap<_, _> =
            members.iter().filter_map(|&pid| Some((pid, ProcStat::read(pid)?))).collect();
        let up = |it: &&ProcStat| stats.get(&it.parent?);
        let is_outsider = |pid: &Pid| {
            // Bounded, because processes that fork and exit while we read may seem to form a cycle.
            std::iter::successors(stats.get(pid), up)
                .take(stats.len())
                .any(|it| self.outsiders.contains(&it.key()))
        };
        members.iter().copied().filter(is_outsider).collect()
    }
}

fn own_group() -> i32 {
    rustix::process::getpgrp().as_raw_nonzero().get()
}
