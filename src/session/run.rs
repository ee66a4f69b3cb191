//! Runs a session, from the first start until it should end. One thread waits for events, the state machine
//! decides, and its actions are carried out here.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::error::SessionError;
use super::running_session::{GUARDIAN_REPLACED, Session};
use super::service::{ServiceState, StartedService};
use super::state_machine::{SessionAction, SessionEvent};
use super::warnings::Warnings;
use crate::containment::Containment;
use crate::guardian::Guardian;
use crate::plan::ServiceId;
use crate::ports;
use crate::readiness::{PortListeners, Readiness, Waiting};
use crate::runtime::clock;
use crate::runtime::events::{Event, Wake};
use crate::runtime::failpoint;
use crate::stacks::Intrusion;
use crate::sys::port::Port;
use crate::sys::process::starters::Starters;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::signals::Caught;
use crate::sys::time::Instant;
use crate::teardown::Cause;
use crate::text::error_chain;

/// How often to check a service whose exit is not announced by any event.
const DAEMON_TICK: Duration = Duration::from_millis(100);

impl Session<'_> {
    /// Runs the session until it should end, and returns the cause.
    pub(super) fn live(&mut self) -> Result<Cause, SessionError> {
        self.guardian = Some(Guardian::fork(&mut self.context, &self.record)?);
        // If a signal has already asked us to stop, nothing is started.
        let mut actions = Vec::new();
        let mut failed = false;
        for event in self.events.pending().context("cannot read pending signals (signalfd)")? {
            if let Event::Signal(caught) = event {
                actions.extend(self.step(SessionEvent::Signal(caught)));
            }
        }
        actions.extend(self.machine.begin());
        loop {
            for action in std::mem::take(&mut actions) {
                match action {
                    SessionAction::StartService(_) if failed => {}
                    SessionAction::StartService(service) => {
                        self.timeline.service_started(service);
                        if let Err(error) = self.start_service(service) {
                            failed = true;
                            actions.extend(self.step(SessionEvent::NotReady(service, error_chain(&error))));
                        }
                    }
                    SessionAction::StartCommand => {
                        self.timeline.command.started = Some(self.timeline.now());
                        self.start_command()?;
                    }
                    SessionAction::PassOn(signal) => {
                        if let Some(command) = self.context.command() {
                            self.pass_on(signal, command);
                        }
                    }
                    SessionAction::Suspend(caught) => self.suspend(caught)?,
                    SessionAction::ReportEnd(service, how) => {
                        let name = &self.plan.services[service].name;
                        self.report.say(&format!(
                            "service {name} {how}; it is not critical, so the session continues"
                        ));
                    }
                    SessionAction::Explain(sentence) => {
                        self.report.error(&format!("{sentence}:"));
                        self.report_running_processes(Intrusion::None);
                    }
                    SessionAction::TearDown(cause) => return Ok(cause),
                }
            }
            if actions.is_empty() {
                for event in self.observe()? {
                    actions.extend(self.step(event));
                }
            }
        }
    }

    /// Waits until the guardian is ready. Nothing is started before that.
    pub(super) fn await_guardian(&mut self) -> Result<()> {
        if let Some(guardian) = &mut self.guardian {
            guardian.await_ready(&mut self.context, &self.record)?;
        }
        failpoint::reached("guardian armed");
        Ok(())
    }

    fn step(&mut self, event: SessionEvent) -> Vec<SessionAction> {
        match event {
            SessionEvent::Ready(service) => self.timeline.service_ready(service),
            SessionEvent::ServiceEnded(service, _) => self.timeline.service_ended(service),
            SessionEvent::CommandEnded => self.timeline.command.ended = Some(self.timeline.now()),
            _ => {}
        }
        self.machine.step(event, clock::now())
    }

    /// Waits for something to happen, and returns what it means for the session.
    fn observe(&mut self) -> Result<Vec<SessionEvent>> {
        let happened =
            self.events.wait(&self.wakes(), self.deadline()).context("cannot wait for events (ppoll)")?;
        if let Some(guardian) = &mut self.guardian {
            if guardian.ensure_guardian(&mut self.context, &self.record)? {
                self.report.say(GUARDIAN_REPLACED);
            }
        }
        let mut events = Vec::new();
        for event in happened {
            match event {
                Event::Signal(caught) if self.command_survives(caught) => {
                    events.push(SessionEvent::SurvivedQuit(caught));
                }
                Event::Signal(caught) => events.push(SessionEvent::Signal(caught)),
                Event::Exited(pid, status) => {
                    self.context.note_exit(pid, status);
                    for waiting in self.services.iter_mut().flatten().filter_map(|it| it.waiting.as_mut()) {
                        waiting.note_exit(pid, status);
                    }
                }
            }
        }
        // Only now do we know whether the command has been reaped. Then another process may have its pid.
        let command = self.context.command().filter(|command| command.status.is_none());
        self.foreground.check(command.map(|command| &command.leader));
        let ending = events.iter().find_map(|event| match event {
            SessionEvent::Signal(caught) | SessionEvent::SurvivedQuit(caught) if caught.is_about_ending() => {
                Some(*caught)
            }
            _ => None,
        });
        // If this fails, the teardown tries again.
        ending.into_iter().for_each(|caught| drop(self.context.note_cancellation(Some(caught))));
        let stopping = |event: &SessionEvent| matches!(event, SessionEvent::Signal(caught) if caught.is_about_stopping());
        if !events.iter().any(stopping) {
            events.extend(self.command_stopped()?.map(SessionEvent::Signal));
        }
        if self.context.command().is_some_and(|command| command.status.is_some()) {
            events.push(SessionEvent::CommandEnded);
        } else if let Some(limit) = self.plan.timeout.filter(|&limit| clock::since(self.begin) >= limit) {
            events.push(SessionEvent::TimedOut(limit));
        } else {
            let command = self.context.command();
            let idle = self.idle.as_mut().zip(command).and_then(|(idle, command)| idle.ran_out(command));
            events.extend(idle.map(SessionEvent::Idle));
            let due = self.warnings.as_mut().and_then(Warnings::due);
            events.extend(due.map(SessionEvent::RunsLong));
        }
        if self.starters.as_ref().is_some_and(Starters::has_one_exited) {
            events.push(SessionEvent::ParentExited);
        }
        self.check_services(&mut events)?;
        Ok(events)
    }

    /// Whether this is a Ctrl-\ that the command has a handler for, or ignores. The terminal has sent it to the command
    /// too, which otherwise dies of it: nobody can prevent that from outside.
    fn command_survives(&self, caught: Caught) -> bool {
        let is_quit = caught.from_terminal && caught.signal == Signal::SIGQUIT;
        let command = self.context.command().filter(|command| is_quit && command.status.is_none());
        let stat = command.and_then(|command| ProcStat::read(command.leader.pid));
        stat.is_some_and(|it| it.handles(Signal::SIGQUIT) || it.ignores(Signal::SIGQUIT))
    }

    fn wakes(&self) -> Vec<Wake<'_>> {
        let alive =
            self.living_services().map(|(_, service)| &self.context.components[service.component].leaf);
        let waiting = self.services.iter().flatten().filter_map(|it| it.waiting.as_ref()?.wakes_on());
        alive
            .filter_map(|leaf| leaf.events().map(Wake::changed))
            .chain(waiting.map(Wake::readable))
            .chain(self.guardian.as_ref().map(|guardian| Wake::readable(guardian.line())))
            .chain(self.starters.iter().flat_map(Starters::descriptors).map(Wake::readable))
            .collect()
    }

    /// The services that were started and are still alive.
    fn living_services(&self) -> impl Iterator<Item = (ServiceId, &StartedService)> {
        self.services
            .ids()
            .filter(|&id| self.machine.state(id) != ServiceState::Ended)
            .filter_map(|id| Some((id, self.services[id].as_ref()?)))
    }

    fn deadline(&self) -> Option<Instant> {
        let timeout = self.plan.timeout.map(|timeout| self.begin + timeout);
        let waiting = self.services.iter().flatten().filter_map(|service| service.waiting.as_ref());
        let look = waiting.map(Waiting::next_look).min();
        let ends_unseen = self.living_services().any(|(_, service)| self.ends_unseen(service));
        let held_back = self.services.iter().flatten().any(|service| service.killed_with_all.is_some());
        let daemon = (ends_unseen || held_back).then(|| clock::now() + DAEMON_TICK);
        let idle = self.idle.as_ref().map(|idle| idle.next_look);
        let warning = self.warnings.as_ref().map(Warnings::next);
        timeout
            .into_iter()
            .chain(idle)
            .chain(warning)
            .chain(look)
            .chain(daemon)
            .chain(self.foreground.deadline())
            .min()
    }

    /// Whether no event announces its exit: in a PID namespace a daemon is not our child, and without a
    /// cgroup no event is sent.
    fn ends_unseen(&self, service: &StartedService) -> bool {
        service.is_daemon && self.context.components[service.component].leaf.events().is_none()
    }

    /// Whether a service was killed together with the command. The command then decides how the session ends,
    /// so we wait for its exit first.
    fn ends_with_all(&self, service: &StartedService) -> bool {
        let is_running = self.context.command().is_some_and(|command| command.status.is_none());
        let is_late = service.killed_with_all.is_some_and(|since| clock::since(since) >= self.plan.kill_wait);
        is_running && !is_late && self.context.containment.is_out_of_memory()
    }

    /// Adds an event for each service that became ready, failed to become ready, or ended.
    fn check_services(&mut self, events: &mut Vec<SessionEvent>) -> Result<()> {
        for id in self.services.ids() {
            if self.machine.state(id) == ServiceState::Ended {
                continue;
            }
            let Some(service) = &self.services[id] else { continue };
            let component = &self.context.components[service.component];
            // Always read this: its event stays pending, and wakes us at once, until it is read.
            let populated = component.leaf.is_populated()?;
            // If the leaf is empty before the leader's status arrives, it is checked again when the status
            // arrives.
            let Some(status) = component.status else { continue };
            let ends_with_all = !populated && self.ends_with_all(service);
            let how = (!populated && !ends_with_all).then(|| self.how_it_ended(id));
            let Some(service) = &mut self.services[id] else { continue };
            if populated {
                service.is_daemon = status.success();
            } else if ends_with_all {
                service.killed_with_all.get_or_insert_with(clock::now);
            } else if let Some(how) = how {
                service.waiting = None;
                events.push(SessionEvent::ServiceEnded(id, how));
            }
        }
        self.check_readiness(events)
    }

    /// Adds an event for each starting service that is ready now, or has run out of time.
    fn check_readiness(&mut self, events: &mut Vec<SessionEvent>) -> Result<()> {
        if self.services.iter().flatten().all(|service| service.waiting.is_none()) {
            return Ok(());
        }
        let listeners = ports::listening_on(&self.plan.watched);
        let known = listeners.as_deref().unwrap_or_default();
        let sockets = self.context.containment.sockets(known)?;
        if known.iter().any(|it| !sockets.include(it)) {
            self.look_for_published();
        }
        let found =
            PortListeners { listeners: &listeners, sockets: &sockets, published: self.engines.published() };
        let mut to_probe = Vec::new();
        for id in self.plan.services.ids() {
            let plan = &self.plan.services[id];
            let Some(service) = &mut self.services[id] else { continue };
            let Some(waiting) = &mut service.waiting else { continue };
            match waiting.check(plan, &found)? {
                Readiness::Ready => {
                    let seconds = clock::since(waiting.since).as_secs_f32();
                    self.report.ready(&plan.name, seconds);
                    service.waiting = None;
                    events.push(SessionEvent::Ready(id));
                }
                Readiness::NotYet | Readiness::RunCommand if clock::now() >= waiting.deadline => {
                    let (limit, awaited) = (plan.ready_timeout.as_secs_f32(), plan.awaited());
                    let mut why = waiting.why(plan, &found);
                    if waiting.lacks_listener(plan, &found) {
                        why += &listens_elsewhere(&self.context.containment, &self.plan.watched)
                            .unwrap_or_default();
                    }
                    let message = format!("was not ready ({awaited}) within {limit} s: {why}");
                    events.push(SessionEvent::NotReady(id, message));
                }
                Readiness::NotYet => {}
                Readiness::RunCommand => to_probe.push(id),
            }
        }
        for id in to_probe {
            if let Err(error) = self.start_probe(id) {
                let why = format!("cannot be probed: {}", error_chain(&error));
                events.push(SessionEvent::NotReady(id, why));
            }
        }
        let waiting = self.plan.services.iter().zip(&self.services).filter_map(|(plan, service)| {
            Some((
                plan.name.as_str(),
                plan.awaited(),
                clock::since(service.as_ref()?.waiting.as_ref()?.since),
            ))
        });
        self.report.waiting(waiting);
        Ok(())
    }
}

/// The addresses that the session listens on instead of the watched ports, in case a service uses another port than
/// the config says.
fn listens_elsewhere(containment: &Containment, watched: &[Port]) -> Option<String> {
    let all = ports::servers();
    let sockets = containment.sockets(&all).ok()?;
    let ours = all.iter().filter(|it| sockets.include(it) && !watched.contains(&it.port));
    let addresses: Vec<_> = ours.map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| format!("; the session listens on {} instead", addresses.join(", ")))
}
