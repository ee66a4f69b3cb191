//! Phase 4: ends what the session has created by way of container engines: containers, pods, networks, volumes. All processes of the
//! session are dead, so that nothing new is created.

use std::time::Duration;

use crate::containers::{Ending, EngineObject, Manner, ObjectType, Waiting};
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::time::Instant;
use crate::teardown::running_teardown::Teardown;

/// How long engines can take to create what was asked for before.
const CREATIONS: Duration = Duration::from_secs(5);
/// How much longer it can take to say so.
const ANSWER: Duration = Duration::from_millis(500);

impl Teardown<'_> {
    /// Asks the engines, and never takes longer than the grace, the engines' own work, and the time for the whole teardown.
    pub(in crate::teardown) fn end_containers(&mut self) {
        self.ensure_guardian();
        self.close_proxy();
        let Some(containers) = self.context.containers.take() else { return };
        let grace = self.budget.share(containers.grace(), 1);
        let manner = Manner { grace, latest: self.budget.deadline(), reads_logs: true };
        let ending = containers.end(manner, self);
        self.context.containers = Some(containers);
        self.note_containers(ending);
    }

    /// Closes the session's way to its engines. From then on, they have all that it has asked for.
    fn close_proxy(&mut self) {
        let Some(proxy) = self.context.proxy.take() else { return };
        let limit = self.budget.share(CREATIONS, 2);
        proxy.close(limit);
        let mut deadline = clock::now() + limit + ANSWER;
        let is_complete = loop {
            if let Some(answer) = proxy.answer() {
                break answer;
            }
            let now = clock::now();
            if self.is_urgent() {
                deadline = deadline.min(now + ANSWER);
            }
            if now >= deadline {
                break false;
            }
            self.wait(&[Wake::readable(proxy.wakes_on())], deadline);
        };
        drop(proxy);
        if !is_complete {
            self.verdict.unknown(
                "a container engine has not answered; it can still create something that the session asked for",
            );
        }
    }

    fn note_containers(&mut self, ending: Ending) {
        let Ending { ended, survivors, unknown } = ending;
        // A reaper is not the tests' own, and would have removed itself.
        for mut object in ended.into_iter().filter(|it| !it.is_reaper) {
            object.leaked = self.has_leaked(&object);
            self.verdict.objects.push(object);
        }
        self.verdict.survivors.extend(survivors);
        unknown.into_iter().for_each(|it| self.verdict.unknown(it));
    }

    /// A container that a cancelled command was still using is none.
    fn has_leaked(&self, object: &EngineObject) -> bool {
        let is_allowed = || self.verdict.allow.iter().any(|pattern| object.is_allowed_by(pattern));
        object.kind == ObjectType::Container
            && object.is_running()
            && object.service.is_none()
            && self.context.cancelled.is_none()
            && !self.cause.is_supervisor_dead()
            && !is_allowed()
    }
}

impl Waiting for Teardown<'_> {
    fn wait(&mut self, wakes: &[Wake<'_>], until: Instant) {
        Teardown::wait(self, wakes, until);
    }

    /// If cgrun was killed, nobody has asked for a hurry. Its processes have no grace then, because they could escape meanwhile,
    /// but containers cannot.
    fn is_urgent(&self) -> bool {
        if self.cause.is_supervisor_dead() {
            self.requests.end_everything()
        } else {
            self.requests.end_the_grace()
        }
    }
}
