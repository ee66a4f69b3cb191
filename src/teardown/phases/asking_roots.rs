//! Asks the processes of one component to exit.
//!
//! Signals go only to the *roots* of its process trees, the processes whose parent is not in the component: a
//! database's first process knows how to stop its workers, and may fail if we stop them instead. If a root
//! exits and leaves children behind (as npm and its shell do), these become roots in turn.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::inner_inits::Grace;
use super::stopping::Stopping;
use crate::runtime::clock;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::procfs::walk::{self, descendants_outside, lineage};
use crate::sys::time::Instant;
use crate::teardown::asked::roots;
use crate::teardown::running_teardown::Teardown;

/// How often to look for new roots. If one search takes longer than a tenth of this, the interval is ten times that
/// search's duration.
const LOOK: Duration = Duration::from_millis(10);
/// The same for processes outside the leaf, because that search reads about every process of the leaf once more.
const LOOK_OUTSIDE: Duration = Duration::from_millis(100);

impl Teardown<'_> {
    /// Returns the living processes of a leaf, and notes how they are related.
    pub(super) fn look_at(&mut self, index: usize, state: &mut Stopping, signal: Signal) -> Vec<ProcStat> {
        let members = self.context.components[index].leaf.members();
        let members = self.verdict.expect(members).unwrap_or_default();
        let seen: Vec<_> = members.into_iter().filter_map(ProcStat::read).collect();
        let is_first = !std::mem::replace(&mut state.was_seen, true);
        self.asked.look(&seen, signal, |_| is_first);
        seen
    }

    /// Sends `signal` to the roots that have not received it yet, and SIGCONT to stopped processes. `began`
    /// is the start of this round, before the leaf was frozen. It determines when the next round is due.
    pub(super) fn ask_roots(&mut self, index: usize, state: &mut Stopping, signal: Signal, began: Instant) {
        if began < state.roots_due {
            return;
        }
        let seen = self.look_at(index, state, signal);
        let leaf = &self.context.components[index].leaf;
        let deadline = state.deadline();
        let continues_all = std::mem::replace(&mut state.continued, state.stage) != state.stage;
        if continues_all {
            state.grace = deadline.map(Grace::until);
        }
        if let Some(grace) = state.grace {
            let leaf = Rc::clone(leaf);
            let mut all = seen.clone();
            if continues_all || clock::now() >= state.outside_due {
                // An engine puts a container into a cgroup of its own, which need not be in the leaf.
                let outside = descendants_outside(&seen.iter().map(|it| it.pid).collect());
                all.extend(outside.into_iter().filter_map(ProcStat::read));
                state.outside_due = next_search(began, grace);
            }
            let descends =
                |pid: Pid| lineage(pid).take(all.len()).any(|it| leaf.contains(it).unwrap_or(false));
            self.kill_inner_inits(&all, signal, grace, descends);
        }
        let leaf = &self.context.components[index].leaf;
        let has_time = |_: &&ProcStat| deadline.is_none_or(|deadline| clock::now() < deadline);
        let roots: HashSet<_> = roots(&seen).map(|it| it.pid).collect();
        for it in seen.iter().take_while(has_time) {
            let asks = roots.contains(&it.pid) && self.asked.is_due(it, signal, deadline);
            if !asks && !continues_all {
                continue;
            }
            // The leaf is checked after opening the pidfd: before that, the pid may have been reused. A
            // process that we are not allowed to signal (another user's) is killed with its cgroup later, and
            // only that proves its exit.
            let Ok(Some(process)) = Process::open(it.pid) else { continue };
            if leaf.contains(it.pid).unwrap_or(false) {
                if asks {
                    self.asked.note(it.key(), signal);
                    let _ = process.signal(signal);
                }
                let _ = process.signal(Signal::SIGCONT);
            }
        }
        self.ask_hidden(index, &seen, signal);
        state.roots_due = began + LOOK.max(clock::since(began) * 10);
    }

    /// Asks the members that /proc does not show: the component's first process, or all if that has exited, because
    /// nothing shows how they are related.
    fn ask_hidden(&mut self, index: usize, seen: &[ProcStat], signal: Signal) {
        let component = &self.context.components[index];
        let Ok(members) = component.leaf.members() else { return };
        if members.len() <= seen.len() || walk::check().is_ok() {
            return;
        }
        let leader = component.status.is_none().then_some(component.leader.pid);
        for pid in members.into_iter().filter(|&pid| leader.is_none_or(|leader| pid == leader)) {
            let Ok(Some(process)) = Process::open(pid) else { continue };
            let is_member = component.leaf.contains(pid).unwrap_or(false);
            if is_member && self.asked.note_hidden(pid) {
                let _ = process.signal(signal);
                let _ = process.signal(Signal::SIGCONT);
            }
        }
    }

    /// Sends SIGINT to the command's process group.
    pub(super) fn interrupt_group(&mut self, index: usize) {
        let component = &self.context.components[index];
        let members = component.leaf.members().unwrap_or_default();
        let group = component.leader.pid.as_raw_nonzero().get();
        let asked = members.into_iter().filter_map(ProcStat::read).filter(|it| it.group == group);
        asked.for_each(|it| self.asked.note(it.key(), Signal::SIGINT));
        // A failure does not matter: the following steps prove that it has exited.
        for signal in [Signal::SIGINT, Signal::SIGCONT] {
            let _ = component.leader.signal_group(signal);
        }
    }
}

/// When to search outside the leaf again, after a search that was part of the round that `began`. At half of the grace,
/// what was found must be killed.
fn next_search(began: Instant, grace: Grace) -> Instant {
    let now = clock::now();
    let next = now + LOOK_OUTSIDE.max((now - began) * 50);
    if now < grace.half { next.min(grace.half) } else { next }
}
