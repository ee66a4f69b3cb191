//! Stops one component in stages.
//!
//! Signals go only to the *roots* of its process trees, the processes whose parent is not in the component: a
//! database's first process knows how to stop its workers, and may fail if we stop them instead. If a root
//! exits and leaves children behind (as npm and its shell do), these become roots in turn.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use super::inner_inits::Grace;
use super::stragglers::Stragglers;
use crate::containment::ContainmentError;
use crate::leaks::{Frozen, Snapshot};
use crate::runtime::clock;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::procfs::walk;
use crate::sys::time::Instant;
use crate::teardown::asked::roots;
use crate::teardown::component::Role;
use crate::teardown::running_teardown::Teardown;
use nix::sys::signal::Signal;

/// How often to look for new roots. If one search takes longer than a tenth of this, the interval is ten times that search's duration.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for the components that need it.
    #[default]
    Waiting,
    /// The command was asked to exit, and it and its work have until this time.
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
    /// How many components have to stop one after another from this one on, itself included.
    pub steps: u32,
    roots_due: Instant,
    /// Whether its processes were looked at before.
    was_seen: bool,
    /// Whether SIGINT was sent to the command's process group.
    was_group_asked: bool,
    /// The last stage in which stopped processes were continued.
    continued: Stage,
    /// The grace of that stage.
    grace: Option<Grace>,
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
            steps: 1,
            roots_due: clock::now(),
            was_seen: false,
            was_group_asked: false,
            continued: Stage::Waiting,
            grace: None,
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
                let outsiders = self.snapshot_of_leaks(index, &frozen);
                state.outsiders = self.verdict.expect(outsiders).unwrap_or_default();
                self.look_at(index, state, Signal::SIGTERM);
                let grace = self.budget.share(self.context.components[index].grace, state.steps);
                Stage::CommandAsked(clock::now() + grace)
            }
            Stage::Waiting if component.role == Role::Command => Stage::Settling(now + settle),
            Stage::Waiting => Stage::AllAsked(now + self.budget.share(component.grace, state.steps)),
            Stage::CommandAsked(_) if component.status.is_some() && !self.is_at_work(index) => {
                Stage::Settling(now + settle)
            }
            Stage::Settling(until)
                if now >= until
                    && !self.budget.is_spent()
                    && state.stragglers.are_held_up(&component.leaf, settle) =>
            {
                Stage::Settling(now + LOOK)
            }
            Stage::Settling(until) if now >= until => {
                // A service may wait for these, as a database does for its clients. The rest of its grace
                // must be enough for it to exit once they are gone.
                let grace = component.grace / 2;
                let frozen = self.freeze_and_note(index);
                let grace = self.budget.share(grace, 1);
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
                Some(Signal::SIGINT) if component.own_group && !state.was_group_asked => {
                    self.interrupt_group(index);
                    state.was_group_asked = true;
                }
                // Ask the processes that neither the signal nor the terminal has reached.
                Some(Signal::SIGINT) | None if component.status.is_some() => {
                    self.ask_roots(index, state, component.stop_signal, now);
                }
                Some(signal) if !state.was_group_asked => self.ask_roots(index, state, signal, now),
                Some(_) | None => {}
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
        self.verdict.command_killed |= component.is_running_command();
        // The processes that an exited command left behind were noted before they were asked.
        let is_noted = component.role == Role::Command && matches!(state.stage, Stage::AllAsked(_));
        let _frozen = (!is_noted).then(|| self.freeze_and_note(index));
        self.verdict.add_leaks(std::mem::take(&mut state.outsiders));
        let leaf = &self.context.components[index].leaf;
        let members = leaf.members().unwrap_or_default();
        self.verdict.had_to_be_killed(|key| self.asked.contains(key) && members.contains(&key.0));
        self.verdict.expect(leaf.kill());
        state.stage = Stage::Killed;
    }

    /// Whether any work of a cancelled command is left.
    fn is_at_work(&self, index: usize) -> bool {
        let Some(cancelled) = &self.context.cancelled else { return false };
        let Ok(members) = self.context.components[index].leaf.members() else { return false };
        let all = members.len();
        cancelled.outsiders_among(members).len() < all
    }

    /// Returns the living processes of a leaf, and notes how they are related.
    fn look_at(&mut self, index: usize, state: &mut Stopping, signal: Signal) -> Vec<ProcStat> {
        let members = self.context.components[index].leaf.members();
        let members = self.verdict.expect(members).unwrap_or_default();
        let seen: Vec<_> = members.into_iter().filter_map(ProcStat::read).collect();
        let is_first = !std::mem::replace(&mut state.was_seen, true);
        self.asked.look(&seen, signal, |_| is_first);
        seen
    }

    /// Sends `signal` to the roots that have not received it yet, and SIGCONT to stopped processes. `began`
    /// is the start of this round, before the leaf was frozen. It determines when the next round is due.
    fn ask_roots(&mut self, index: usize, state: &mut Stopping, signal: Signal, began: Instant) {
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
            self.kill_inner_inits(&seen, signal, grace, |pid| leaf.contains(pid).unwrap_or(false));
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
    fn interrupt_group(&mut self, index: usize) {
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

    /// Notes the processes in the leaf as leaked, and leaves them frozen.
    pub(super) fn freeze_and_note(&mut self, index: usize) -> Frozen {
        let frozen = Frozen::freeze(&self.context.components[index].leaf);
        let snapshot = self.snapshot_of_leaks(index, &frozen);
        let snapshot = self.verdict.expect(snapshot).unwrap_or_default();
        self.verdict.add_leaks(snapshot);
        frozen
    }

    /// Describes the processes of a leaf that count as leaks.
    fn snapshot_of_leaks(&self, index: usize, frozen: &Frozen) -> Result<Snapshot, ContainmentError> {
        let component = &self.context.components[index];
        let how = component.how_outlived();
        match &self.context.cancelled {
            Some(cancelled) if component.role == Role::Command => {
                frozen.snapshot_where(|members| cancelled.outsiders_among(members), &how)
            }
            _ => frozen.snapshot(&how),
        }
    }
}
