//! Stops one component in stages.

use std::collections::HashSet;
use std::time::Duration;

use super::inner_inits::Grace;
use super::stragglers::Stragglers;
use crate::containers::monitors::{self, Finishing};
use crate::containment::ContainmentError;
use crate::leaks::{Detail, Frozen, Snapshot};
use crate::runtime::clock;
use crate::sys::time::Instant;
use crate::teardown::component::Role;
use crate::teardown::running_teardown::Teardown;
use nix::sys::signal::Signal;

/// How often to check whether stragglers are still held up.
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
    pub roots_due: Instant,
    /// When to search for descendants outside the leaf.
    pub outside_due: Instant,
    /// Whether its processes were looked at before.
    pub was_seen: bool,
    /// Whether SIGINT was sent to the command's process group.
    was_group_asked: bool,
    /// The last stage in which stopped processes were continued.
    pub continued: Stage,
    /// The grace of that stage.
    pub grace: Option<Grace>,
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
            outside_due: clock::now(),
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

    /// Makes the current stage end no later than `until`.
    pub(super) fn shorten(&mut self, until: Instant) {
        let was_continued = self.continued == self.stage;
        match &mut self.stage {
            Stage::CommandAsked(deadline) | Stage::Settling(deadline) | Stage::AllAsked(deadline) => {
                *deadline = until.min(*deadline);
            }
            Stage::Waiting | Stage::Killed | Stage::Done => {}
        }
        if was_continued {
            self.continued = self.stage;
            self.grace = self.deadline().map(Grace::until);
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
        // Half of the time is kept for asking the processes that are left.
        let settle = self.budget.share(self.context.settle, 2);
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
                let grace = component.grace;
                let frozen = self.freeze_and_note(index);
                let grace = self.budget.share(grace, 1) / 2;
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
                self.kill_component(index, state, frozen);
            }
            Stage::CommandAsked(_) => match self.cause.stop_signal() {
                // Signal the whole group, as a terminal does: a shell waits for its child, which must get the
                // signal too.
                Some(Signal::SIGINT)
                    if component.own_group && component.status.is_none() && !state.was_group_asked =>
                {
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
    fn kill_component(&mut self, index: usize, state: &mut Stopping, mut frozen: Option<Frozen>) {
        let component = &self.context.components[index];
        self.verdict.command_killed |= component.is_running_command();
        // The processes that an exited command left behind were noted before they were asked.
        let is_noted = component.role == Role::Command && matches!(state.stage, Stage::AllAsked(_));
        if !is_noted {
            frozen = Some(self.freeze_and_note(index));
        } else if monitors::are_in(&component.leaf) {
            drop(frozen.take());
            // podman starts some containers again and again, and takes them for running if conmon is killed first.
            let limit = self.budget.share(monitors::PATIENCE, 1);
            self.finish(Finishing::in_leaf(&self.context.components[index].leaf, limit));
        }
        self.verdict.add_leaks(std::mem::take(&mut state.outsiders));
        self.leave_reaping_to_kernel();
        let leaf = &self.context.components[index].leaf;
        let members: HashSet<_> = leaf.members().unwrap_or_default().into_iter().collect();
        self.verdict.had_to_be_killed(|key| self.asked.contains(key) && members.contains(&key.0));
        self.verdict.expect(leaf.kill());
        drop(frozen);
        state.stage = Stage::Killed;
    }

    /// Whether any work of a cancelled command is left.
    fn is_at_work(&self, index: usize) -> bool {
        let Some(cancelled) = &self.context.cancelled else { return false };
        let Ok(members) = self.context.components[index].leaf.members() else { return false };
        let all = members.len();
        cancelled.outsiders_among(members).len() < all
    }

    /// Notes the processes in the leaf as leaked, and leaves them frozen.
    pub(super) fn freeze_and_note(&mut self, index: usize) -> Frozen {
        let frozen = Frozen::freeze(&self.context.components[index].leaf);
        let snapshot = self.snapshot_of_leaks(index, &frozen);
        let snapshot = self.verdict.expect(snapshot).unwrap_or_default();
        self.verdict.add_leaks(snapshot);
        frozen
    }

    /// How much to read of a leaked process. What the user allows may depend on any of it.
    pub(super) fn detail(&self) -> Detail {
        let containment = &self.context.containment;
        let verdict = &self.verdict;
        let is_any_allowed = !verdict.allow.is_empty() || !verdict.allowed_by_tests.is_empty();
        if self.context.reports_leaks || is_any_allowed || containment.path().is_none() {
            return Detail::Report;
        }
        containment.sockets(&[]).map_or(Detail::Report, Detail::Terminal)
    }

    /// Describes the processes of a leaf that count as leaks.
    fn snapshot_of_leaks(&self, index: usize, frozen: &Frozen) -> Result<Snapshot, ContainmentError> {
        let component = &self.context.components[index];
        let how = component.how_outlived();
        let detail = self.detail();
        match &self.context.cancelled {
            Some(cancelled) if component.role == Role::Command => {
                frozen.snapshot_where(|members| cancelled.outsiders_among(members), &how, &detail)
            }
            _ => frozen.snapshot(&how, &detail),
        }
    }
}
