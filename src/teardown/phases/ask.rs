//! Phase 1: asks every component to exit, and gives it until the end of its grace.
//!
//! The command comes first, if it is still running. Then come the processes that it left behind and, at the
//! same time, the services in reverse order of dependency. We wait for all processes of a component, not only
//! its first.

use std::rc::Rc;
use std::time::Duration;

use super::stopping::{Stage, Stopping};
use crate::leaks::{self, How};
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::process::children;
use crate::sys::procfs::walk;
use crate::teardown::component::{Component, Role};
use crate::teardown::running_teardown::Teardown;

/// The kernel may delay its notification of an empty leaf by 15 ms, and sends none for a new root.
const LOOK: Duration = Duration::from_millis(10);

impl Teardown<'_> {
    /// Whether any process is left to ask, and asking makes sense. After the death of the supervisor it does
    /// not: the sooner everything is killed, the less can escape.
    pub(in crate::teardown) fn can_ask(&mut self) -> bool {
        !self.cause.is_supervisor_dead()
            && self.verdict.expect(self.context.containment.is_populated()) != Some(false)
    }

    /// Asks all components to exit, and waits until their grace is over or the user asks again.
    pub(in crate::teardown) fn ask(&mut self) {
        if let (None, Err(error)) = (self.context.containment.path(), walk::check()) {
            self.verdict.unknown(format!("cannot determine which processes leaked: {error}"));
            return self.ask_leaders();
        }
        self.let_dump();
        // If this fails, they may be asked a little later.
        self.first_children = children::list().unwrap_or_default();
        let mut stopping: Vec<_> = self.context.components.iter().map(|_| Stopping::default()).collect();
        let mut ends = self.budget.ends();
        while !self.requests.end_the_grace() {
            self.ensure_guardian();
            self.note_empty(&mut stopping);
            if std::mem::replace(&mut ends, self.budget.ends()) != ends {
                self.shorten_all(&mut stopping);
            }
            self.advance_all(&mut stopping);
            // Killed processes are waited for later, all at once.
            if !stopping.iter().all(Stopping::is_over) {
                self.wait_for_components(&stopping);
            } else if !self.revive_repopulated(&mut stopping) {
                return self.note_unasked();
            }
        }
        self.note_leftovers(&mut stopping);
        self.note_unasked();
    }

    /// Without a cgroup and without /proc, only the first process of each component is known.
    fn ask_leaders(&mut self) {
        let mut longest = Duration::ZERO;
        for component in &self.context.components {
            if component.status.is_none() {
                // A failure does not matter: the following phases prove that it has exited.
                let _ = component.leader.signal(component.stop_signal);
                longest = longest.max(component.grace);
            }
        }
        let mut deadline = clock::now() + self.budget.share(longest, 1);
        let is_running = |component: &Component| component.status.is_none();
        while self.context.components.iter().any(is_running)
            && clock::now() < deadline
            && !self.requests.end_the_grace()
        {
            self.wait(&[], deadline);
            deadline = self.budget.ends().map_or(deadline, |ends| deadline.min(ends));
        }
    }

    fn note_empty(&mut self, stopping: &mut [Stopping]) {
        for (index, state) in stopping.iter_mut().enumerate() {
            if state.stage != Stage::Done && !self.is_populated(index) {
                state.stage = Stage::Done;
                self.verdict.span(index).gone = Some(clock::now());
            }
        }
    }

    fn advance_all(&mut self, stopping: &mut [Stopping]) {
        for index in 0..stopping.len() {
            let is_waiting = stopping[index].stage == Stage::Waiting;
            if is_waiting && !is_its_turn(index, &self.context.components, stopping) {
                continue;
            }
            if is_waiting && self.budget.is_limited() {
                let mut known = vec![None; stopping.len()];
                stopping[index].steps =
                    steps_from(index, &self.context.components, stopping, &mut known) + self.steps_after();
            }
            self.advance(index, &mut stopping[index]);
            if stopping[index].was_asked() {
                self.verdict.span(index).asked.get_or_insert_with(clock::now);
            }
        }
    }

    /// Divides the remaining time again, because a signal has limited it.
    fn shorten_all(&mut self, stopping: &mut [Stopping]) {
        let mut known = vec![None; stopping.len()];
        let steps: Vec<_> = (0..stopping.len())
            .map(|index| {
                steps_from(index, &self.context.components, stopping, &mut known) + self.steps_after()
            })
            .collect();
        for (state, steps) in stopping.iter_mut().zip(steps) {
            let now = clock::now();
            let left = state.deadline().map(|deadline| self.budget.share(deadline - now, steps));
            left.into_iter().for_each(|left| state.shorten(now + left));
        }
    }

    /// How many graces follow those of the components: containers have theirs after all processes are dead.
    fn steps_after(&self) -> u32 {
        u32::from(self.context.containers.is_some())
    }

    fn wait_for_components(&mut self, stopping: &[Stopping]) {
        let components = self.context.components.iter().zip(stopping);
        let leaves: Vec<_> = components
            .filter(|(_, state)| state.stage != Stage::Done)
            .map(|(component, _)| Rc::clone(&component.leaf))
            .collect();
        let wakes: Vec<_> = leaves.iter().filter_map(|leaf| leaf.events().map(Wake::changed)).collect();
        let look = clock::now() + LOOK;
        let until = stopping.iter().filter_map(Stopping::deadline).min().map_or(look, |it| it.min(look));
        self.wait(&wakes, until);
    }

    /// Finds components that were empty and are populated again, because a process arrived late or was not
    /// visible. Each of them starts again with the first stage, once.
    fn revive_repopulated(&mut self, stopping: &mut [Stopping]) -> bool {
        let mut any = false;
        for (index, state) in stopping.iter_mut().enumerate() {
            if state.stage == Stage::Done && !state.was_revived && self.is_populated(index) {
                *state = Stopping::revived();
                self.verdict.span(index).gone = None;
                any = true;
            }
        }
        any
    }

    /// Notes the processes that the command left behind, even if the user did not want to wait.
    fn note_leftovers(&mut self, stopping: &mut [Stopping]) {
        for (index, state) in stopping.iter_mut().enumerate() {
            let component = &self.context.components[index];
            let is_running_command = component.is_running_command();
            if component.role == Role::Command && !state.is_noted() {
                drop(self.freeze_and_note(index));
                if is_running_command {
                    self.verdict.add_leaks(std::mem::take(&mut state.outsiders));
                }
            }
            self.verdict.command_killed |= is_running_command;
        }
    }

    /// Notes the processes that could not be asked: they are in no component's leaf, or in one that was empty when
    /// it was read.
    fn note_unasked(&mut self) {
        let containment = &self.context.containment;
        if self.verdict.expect(containment.is_populated()) == Some(false) {
            return;
        }
        let (gone, asked): (Vec<_>, Vec<_>) =
            (0..self.context.components.len()).partition(|&index| self.verdict.span(index).gone.is_some());
        let unasked =
            containment.members_outside(asked.iter().map(|&index| &*self.context.components[index].leaf));
        let mut unasked = self.verdict.expect(unasked).unwrap_or_default();
        if unasked.is_empty() {
            return;
        }
        let detail = self.detail();
        for index in gone {
            if unasked.is_empty() {
                return;
            }
            let component = &self.context.components[index];
            let members = self.verdict.expect(component.leaf.members()).unwrap_or_default();
            let (mut late, others): (Vec<_>, Vec<_>) =
                unasked.into_iter().partition(|pid| members.contains(pid));
            late.retain(|&pid| !self.context.is_cancelled(pid));
            if !late.is_empty() {
                self.verdict.span(index).gone = None;
                self.verdict.add_leaks(leaks::describe_all(late, &component.how_outlived(), &detail));
            }
            unasked = others;
        }
        unasked.retain(|&pid| !self.context.is_cancelled(pid));
        self.verdict.add_leaks(leaks::describe_all(unasked, &How::ChangedCgroup, &detail));
    }

    /// If the leaf cannot be read, assume that it holds processes.
    fn is_populated(&mut self, index: usize) -> bool {
        self.verdict.expect(self.context.components[index].leaf.is_populated()).unwrap_or(true)
    }
}

/// Whether it is this component's turn. The command comes first, and a service after all components that need
/// it. Processes that the command left behind do not delay a service.
fn is_its_turn(index: usize, components: &[Component], stopping: &[Stopping]) -> bool {
    let mut others = components.iter().zip(stopping);
    !others.any(|(other, state)| !state.is_over() && waits_for(&components[index], other, state))
}

fn waits_for(component: &Component, other: &Component, state: &Stopping) -> bool {
    let is_at_work = other.is_running_command() || matches!(state.stage, Stage::CommandAsked(_));
    component.role == Role::Service && (is_at_work || other.depends_on.contains(&component.name))
}

/// How many components have to stop one after another from this one on, itself included. The processes that a command
/// leaves behind are one more. `known` are the numbers found so far.
fn steps_from(
    index: usize,
    components: &[Component],
    stopping: &[Stopping],
    known: &mut [Option<u32>],
) -> u32 {
    if let Some(steps) = known[index] {
        return steps;
    }
    let (this, state) = (&components[index], &stopping[index]);
    let mut after = u32::from(this.is_running_command());
    for later in 0..components.len() {
        if later != index && !stopping[later].is_over() && waits_for(&components[later], this, state) {
            after = after.max(steps_from(later, components, stopping, known));
        }
    }
    known[index] = Some(after + 1);
    after + 1
}
