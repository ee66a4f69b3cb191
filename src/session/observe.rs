//! What happens to a session, and what it means: one turn of the loop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::machine::Event;
use super::{REPLACED, ServiceState, Session};
use crate::ports;
use crate::readiness::{PortListeners, Readiness, TICK};
use crate::runtime::clock;
use crate::runtime::events::{self, Wake};
use crate::text::error_chain;

/// How often a service is looked at whose end announces itself by nothing.
const DAEMON_TICK: Duration = Duration::from_millis(100);

impl Session<'_> {
    /// Waits for something to happen, and says what it means for the session.
    pub(super) fn observe(&mut self) -> Result<Vec<Event>> {
        let happened =
            self.events.wait(&self.wakes(), self.deadline()).context("cannot wait for events (ppoll)")?;
        if let Some(guardian) = &mut self.guardian
            && guardian.ensure_guardian(&mut self.context, &self.record)?
        {
            self.report.say(REPLACED);
        }
        let mut events = Vec::new();
        for event in happened {
            match event {
                events::Event::Signal(caught) => events.push(Event::Signal(caught)),
                events::Event::Exited(pid, status) => {
                    self.context.note_exit(pid, status);
                    for waiting in self.services.iter_mut().filter_map(|service| service.waiting.as_mut()) {
                        waiting.note_exit(pid, status);
                    }
                }
            }
        }
        let stopping = |event: &Event| matches!(event, Event::Signal(caught) if caught.is_about_stopping());
        if !events.iter().any(stopping) {
            events.extend(self.command_stopped()?.map(Event::Signal));
        }
        if self.context.command().is_some_and(|command| command.status.is_some()) {
            events.push(Event::CommandEnded);
        } else if let Some(limit) = self.plan.timeout.filter(|&limit| clock::since(self.begin) >= limit) {
            events.push(Event::TimedOut(limit));
        }
        self.look_at_services(&mut events)?;
        Ok(events)
    }

    fn wakes(&self) -> Vec<Wake<'_>> {
        let alive = self.services.iter().filter(|service| !service.gone).filter_map(|service| service.part);
        let asked = self.services.iter().filter_map(|service| service.waiting.as_ref()?.wakes_on());
        alive
            .filter_map(|part| self.context.components[part].leaf.events().map(Wake::changed))
            .chain(asked.map(Wake::readable))
            .chain(self.guardian.as_ref().map(|guardian| Wake::readable(guardian.line())))
            .collect()
    }

    fn deadline(&self) -> Option<Instant> {
        let timeout = self.plan.timeout.map(|timeout| self.begin + timeout);
        let look = self.services.iter().any(|service| service.waiting.is_some()).then(|| clock::now() + TICK);
        let daemon = self.services.iter().any(|service| self.ends_unseen(service));
        let held_back = self.services.iter().any(|service| service.killed_with_all.is_some());
        let daemon = (daemon || held_back).then(|| clock::now() + DAEMON_TICK);
        timeout.into_iter().chain(look).chain(daemon).min()
    }

    /// In a PID namespace a daemon is nobody's child here, and no cgroup tells of its end.
    fn ends_unseen(&self, service: &ServiceState) -> bool {
        let leaf = service.part.map(|part| &self.context.components[part].leaf);
        service.is_daemon && !service.gone && leaf.is_some_and(|leaf| leaf.events().is_none())
    }

    /// Not by its own fault: the command's end is to be met first, and decides.
    fn ends_with_all(&self, index: usize) -> bool {
        let is_running = self.context.command().is_some_and(|command| command.status.is_none());
        let since = self.services[index].killed_with_all;
        let is_late = since.is_some_and(|since| clock::since(since) >= self.plan.kill_wait);
        is_running && !is_late && self.context.containment.is_out_of_memory()
    }

    /// Which services became ready, failed to, or ended.
    fn look_at_services(&mut self, events: &mut Vec<Event>) -> Result<()> {
        for index in 0..self.services.len() {
            let service = &self.services[index];
            let Some(part) =
                service.part.filter(|_| !service.gone).map(|part| &self.context.components[part])
            else {
                continue;
            };
            // Read in any case: until then its notice of a change stands, and wakes us at once.
            let populated = part.leaf.is_populated()?;
            // A leaf that is empty while the leader's status is still to come is looked at again then.
            let Some(status) = part.status else { continue };
            if populated {
                self.services[index].is_daemon = status.success();
            } else if self.ends_with_all(index) {
                self.services[index].killed_with_all.get_or_insert_with(clock::now);
            } else {
                events.push(Event::ServiceEnded(index, self.how_it_ended(index)));
                self.services[index].gone = true;
                self.services[index].waiting = None;
            }
        }
        self.look_for_readiness(events)
    }

    /// Which of the services that are waited for are ready now, or late.
    fn look_for_readiness(&mut self, events: &mut Vec<Event>) -> Result<()> {
        if self.services.iter().all(|service| service.waiting.is_none()) {
            return Ok(());
        }
        let listeners = ports::listening_on(&self.plan.watched);
        let heard = listeners.as_deref().unwrap_or_default();
        let sockets = self.context.containment.sockets(heard)?;
        let found = PortListeners { listeners: &listeners, sockets: &sockets };
        let mut to_ask = Vec::new();
        for (index, plan) in self.plan.services.iter().enumerate() {
            let Some(waiting) = &mut self.services[index].waiting else { continue };
            match waiting.check(plan, &found)? {
                Readiness::Ready => {
                    let seconds = clock::since(waiting.since).as_secs_f32();
                    self.report.ready(&plan.name, seconds);
                    self.services[index].waiting = None;
                    events.push(Event::Ready(index));
                }
                Readiness::NotYet | Readiness::RunCommand if clock::now() >= waiting.deadline => {
                    let (limit, awaited) = (plan.ready_timeout.as_secs_f32(), plan.awaited());
                    let why = waiting.why(plan, &found);
                    let message = format!("was not ready ({awaited}) within {limit} s: {why}");
                    events.push(Event::NotReady(index, message));
                }
                Readiness::NotYet => {}
                Readiness::RunCommand => to_ask.push(index),
            }
        }
        for index in to_ask {
            if let Err(error) = self.ask(index) {
                let why = format!("cannot be asked whether it is ready: {}", error_chain(&error));
                events.push(Event::NotReady(index, why));
            }
        }
        let waiting = self.plan.services.iter().zip(&self.services).filter_map(|(plan, service)| {
            Some((plan.name.as_str(), plan.awaited(), clock::since(service.waiting.as_ref()?.since)))
        });
        self.report.waiting(waiting);
        Ok(())
    }
}
