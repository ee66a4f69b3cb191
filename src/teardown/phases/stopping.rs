//! Stops one component in stages.
//!
//! Signals go only to the *roots* of its process trees, the processes whose parent is not in the component: a
//! database's first process knows how to stop its workers, and may fail if we stop them instead. If a root
//! exits and leaves children behind (as npm and its shell do), these become roots in turn.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::stragglers::Stragglers;
use crate::leaks::{Frozen, Snapshot};
use crate::runtime::clock;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat;
use crate::teardown::component::{Component, Role};
use crate::teardown::running_teardown::Teardown;

/// How often to look for new roots. If one search takes longer than a tenth of this, ten times the search's
/// duration.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for the components that need it.
    #[default]
    Waiting,
    /// The command itself was asked to exit, and has until this time.
    CommandAsked(Instant),
    /// The command has exited, and the processes that it left have until this time to exit by themselves.
    Settling(Instant),
    /// All remaining processes were asked to exit, and have until this time.
    AllAsked(Instant),
    Killed,
    Done,
}

#[derive(Debug)]
pub(super) struct Stopping {
    pub stage: Stage,
    asked: HashSet<Pid>,
    roots_due: Instant,
    stragglers: Stragglers,
    /// Processes that had left the command's tree when the command was asked: they leaked if they have to be killed.
    pub outsiders: Snapshot,
    /// Whether it was empty before, and then populated again.
    pub was_revived: bool,
}

impl Default for Stopping {
    fn default() -> Self {
        Self {
            stage: Stage::Waiting,
            asked: HashSet::new(),
            roots_due: clock::now(),
            stragglers: Stragglers::default(),
            outsiders: Snapshot::default(),
            was_revived: false,
        }
    }
}

impl Stopping {
    pub(super) fn revived() -> Self {
        Self { was_revived: true, ..Self::default() }
    }

    /// The latest time at which the current stage is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::CommandAsked(until) | Stage::Settling(until) | Stage::AllAsked(until) => Some(until),
            Stage::Waiting | Stage::Killed | Stage::Done => None,
        }
    }

    /// Whether no process is left to ask.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Killed | Stage::Done)
    }

    pub(super) fn was_asked(&self) -> bool {
        matches!(self.stage, Stage::CommandAsked(_) | Stage::AllAsked(_) | Stage::Killed)
    }

    /// Whether the processes that the command left behind were noted as leaked.
    pub(super) fn is_noted(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::CommandAsked(_) | Stage::Settling(_))
    }
}

impl Teardown<'_> {
    /// Advances a component through all stages that are due.
    pub(super) fn advance(&mut self, index: usize, state: &mut Stopping) {
        loop {
            let before = state.stage;
            // Keep it frozen from the snapshot until its processes are asked or killed, because killed
            // processes need not run again.
            let frozen = self.enter_next_stage(index, state);
            self.act(index, state, frozen);
            if state.stage == before {
                return;
            }
        }
    }

    fn enter_next_stage(&mut self, index: usize, state: &mut Stopping) -> Option<Frozen> {
        let component = &self.context.components[index];
        let settle = self.context.settle;
        let now = clock::now();
        state.stage = match state.stage {
            Stage::Waiting if component.is_running_command() => {
                // The command may still stop these itself. When it is asked to exit, they are asked too.
                let frozen = Frozen::freeze(&component.leaf);
                let outsiders = frozen.snapshot_without(component.leader.pid, &component.how_outlived());
                state.outsiders = self.verdict.expect(outsiders).unwrap_or_default();
                Stage::CommandAsked(clock::now() + component.grace)
            }
            Stage::Waiting if component.role == Role::Command => Stage::Settling(now + settle),
            Stage::Waiting => Stage::AllAsked(now + component.grace),
            Stage::CommandAsked(_) if component.status.is_some() => Stage::Settling(now + settle),
            Stage::Settling(until)
                if now >= until && state.stragglers.are_held_up(&component.leaf, settle) =>
            {
                Stage::Settling(now + LOOK)
            }
            Stage::Settling(until) if now >= until => {
                // A service may wait for these, as a database does for its clients. The rest of its grace
                // must be enough for it to exit once they are gone.
                let grace = component.grace / 2;
                let frozen = self.freeze_and_note(index);
                state.asked.clear();
                state.stage = Stage::AllAsked(clock::now() + grace);
                return Some(frozen);
            }
            same => same,
        };
        None
    }

    fn act(&mut self, index: usize, state: &mut Stopping, frozen: Option<Frozen>) {
        let component = &self.context.components[index];
        // Read the clock again, because a snapshot takes time.
        let now = clock::now();
        match state.stage {
            Stage::CommandAsked(until) | Stage::AllAsked(until) if now >= until => {
                self.kill_component(index, state);
            }
            Stage::CommandAsked(_) => match self.cause.stop_signal() {
                // Signal the whole group, as a terminal does: a shell waits for its child, which must get the
                // signal too.
                Some(Signal::SIGINT) if component.own_group => interrupt_group(component, state),
                Some(signal) => self.ask_roots(index, state, signal, now),
                None => {}
            },
            Stage::AllAsked(_) => {
                let signal = component.stop_signal;
                // Processes that fork all the time can only be asked while they are frozen. Services are not
                // frozen, which could disturb them.
                let freezes = component.role == Role::Command && now >= state.roots_due && frozen.is_none();
                let _frozen = freezes.then(|| Frozen::freeze(&component.leaf));
                self.ask_roots(index, state, signal, now);
            }
            Stage::Waiting | Stage::Settling(_) | Stage::Killed | Stage::Done => {}
        }
    }

    /// Kills a component when its grace is over.
    fn kill_component(&mut self, index: usize, state: &mut Stopping) {
        let component = &self.context.components[index];
        let is_running_command = component.is_running_command();
        self.verdict.command_killed |= is_running_command;
        // The processes that an exited command left behind were noted before they were asked.
        let is_noted = component.role == Role::Command && !is_running_command;
        let _frozen = (!is_noted).then(|| self.freeze_and_note(index));
        self.verdict.add_leaks(std::mem::take(&mut state.outsiders));
        let leaf = &self.context.components[index].leaf;
        let members = leaf.members().unwrap_or_default();
        self.verdict.had_to_be_killed(|pid| state.asked.contains(&pid) && members.contains(&pid));
        self.verdict.expect(leaf.kill());
        state.stage = Stage::Killed;
    }

    /// Sends `signal` to the roots that have not received it yet, and SIGCONT to stopped processes. `began`
    /// is the start of this round, before the leaf was frozen. It determines when the next round is due.
    fn ask_roots(&mut self, index: usize, state: &mut Stopping, signal: Signal, began: Instant) {
        if began < state.roots_due {
            return;
        }
        let leaf = &self.context.components[index].leaf;
        let members = self.verdict.expect(leaf.members()).unwrap_or_default();
        let all: HashSet<Pid> = members.iter().copied().collect();
        let is_first_round = state.asked.is_empty();
        let deadline = state.deadline();
        let has_time = |_: &Pid| deadline.is_none_or(|deadline| clock::now() < deadline);
        for pid in members.into_iter().take_while(has_time) {
            let is_root = stat::parent(pid).is_none_or(|parent| !all.contains(&parent));
            let is_new_root = is_root && state.asked.insert(pid);
            if !is_new_root && !is_first_round {
                continue;
            }
            // The leaf is checked after opening the pidfd: before that, the pid may have been reused. A
            // process that we are not allowed to signal (another user's) is killed with its cgroup later, and
            // only that proves its exit.
            if let Ok(Some(process)) = Process::open(pid) {
                if leaf.contains(pid).unwrap_or(false) {
                    if is_new_root {
                        let _ = process.signal(signal);
                    }
                    let _ = process.signal(Signal::SIGCONT);
                }
            }
        }
        state.roots_due = began + LOOK.max(clock::since(began) * 10);
    }

    /// Notes the processes in the leaf as leaked, and leaves them frozen.
    pub(super) fn freeze_and_note(&mut self, index: usize) -> Frozen {
        let component = &self.context.components[index];
        let how = component.how_outlived();
        let frozen = Frozen::freeze(&component.leaf);
        // The command would have stopped the processes of its own tree itself, but not those that left the
        // tree.
        let snapshot = if component.is_running_command() {
            frozen.snapshot_without(component.leader.pid, &how)
        } else {
            frozen.snapshot(&how)
        };
        let snapshot = self.verdict.expect(snapshot).unwrap_or_default();
        self.verdict.add_leaks(snapshot);
        frozen
    }
}

fn interrupt_group(component: &Component, state: &mut Stopping) {
    if state.asked.insert(component.leader.pid) {
        // A failure does not matter: the following steps prove that it has exited.
        for signal in [Signal::SIGINT, Signal::SIGCONT] {
            let _ = component.leader.signal_group(signal);
        }
    }
}
