//! Stops containers, all at once.

use std::io;
use std::time::Duration;

use super::ending::path;
use super::exchange::{Answer, Limit};
use super::listing::{Asking, escaped};
use super::object::EngineObject;
use crate::runtime::clock;
use crate::sys::time::Instant;

/// How long an engine may take to kill containers after their grace. Then they are removed by force.
const STOPPED_WITHIN: Duration = Duration::from_secs(4);
/// How long engines may take to send signals.
const SIGNALLED_WITHIN: Duration = Duration::from_secs(3);

/// How a container of podman has to be stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the engine, which stops only some at once (three for each processor, and one), and lets the others wait.
    Stop,
    /// With this signal, which is quick.
    Signal(String),
}

impl Asking<'_> {
    /// Asks them to exit by their own stop signals. Those that do not are killed after the grace. Whether it worked is seen
    /// later.
    pub(super) fn stop(&mut self, running: &[&EngineObject], grace: Duration, deadline: Instant) {
        let (podmans, mut others): (Vec<&EngineObject>, Vec<_>) =
            running.iter().partition(|it| it.engine_name == "podman");
        let mut killed = Vec::new();
        if self.waiting.is_urgent() {
            killed.extend(running);
        } else {
            let signalled = self.signal(podmans, &mut others, deadline);
            let now = clock::now();
            let grace = grace.min(deadline - now);
            let seconds = whole_seconds(grace, deadline);
            let by_engine = Duration::from_secs(seconds) + STOPPED_WITHIN;
            let all: Vec<_> = signalled.iter().chain(&others).copied().collect();
            let mut at = 0..;
            let step = |it: &EngineObject| match at.next().is_some_and(|at| at < signalled.len()) {
                true => (format!("{}/wait?condition=not-running", path(it)), Some(now + grace)),
                false => (format!("{}/stop?t={seconds}", path(it)), None),
            };
            let limit = Limit { deadline: deadline.min(now + by_engine), unless_urgent: true };
            let answers = self.tell("POST", &all, step, limit);
            let is_urgent = self.waiting.is_urgent();
            for (at, (it, answer)) in all.iter().zip(answers).enumerate() {
                let has_stopped = answer.is_ok_and(|it| it.code < 300);
                // An engine kills what it stops.
                if !has_stopped && (is_urgent || at < signalled.len()) {
                    killed.push(*it);
                }
            }
        }
        let limit = Limit::until(deadline.min(clock::now() + SIGNALLED_WITHIN));
        self.tell("POST", &killed, |it| (format!("{}/kill?signal=KILL", path(it)), None), limit);
    }

    /// Signals the containers of podman for which that is enough, and returns them. The rest are added to `others`.
    fn signal<'a>(
        &mut self,
        containers: Vec<&'a EngineObject>,
        others: &mut Vec<&'a EngineObject>,
        deadline: Instant,
    ) -> Vec<&'a EngineObject> {
        let limit = Limit::until(deadline.min(clock::now() + SIGNALLED_WITHIN));
        let described = self.tell("GET", &containers, |it| (format!("{}/json", path(it)), None), limit);
        let (mut signalled, mut signals) = (Vec::new(), Vec::new());
        for (container, answer) in containers.into_iter().zip(described) {
            match way(answer) {
                Way::Stop => others.push(container),
                Way::Signal(signal) => {
                    signalled.push(container);
                    signals.push(signal);
                }
            }
        }
        let mut signals = signals.iter();
        let step = |it: &EngineObject| {
            let signal = escaped(signals.next().map_or("", String::as_str));
            (format!("{}/kill?signal={signal}", path(it)), None)
        };
        self.tell("POST", &signalled, step, limit);
        signalled
    }
}

/// Podman would start a container again that only a signal has ended, if its restart policy says so.
pub(super) fn way(described: io::Result<Answer>) -> Way {
    let body = described.and_then(Answer::ok).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).filter(|it| !it.is_empty());
    let policy = text(&value["HostConfig"]["RestartPolicy"]["Name"]).unwrap_or("no".into());
    match text(&value["Config"]["StopSignal"]) {
        Some(signal) if policy == "no" => Way::Signal(signal),
        _ => Way::Stop,
    }
}

/// Engines count a grace in whole seconds. It is rounded up, unless that would be too long.
fn whole_seconds(grace: Duration, deadline: Instant) -> u64 {
    let up = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    let fits = clock::now() + Duration::from_secs(up) + STOPPED_WITHIN <= deadline;
    if fits { up } else { grace.as_secs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_rounded_up_if_there_is_time() {
        let after = |seconds| clock::now() + Duration::from_secs(seconds);
        assert_eq!(whole_seconds(Duration::from_millis(1200), after(20)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(2), after(20)), 2);
        assert_eq!(whole_seconds(Duration::from_millis(1200), after(3)), 1);
        assert_eq!(whole_seconds(Duration::ZERO, after(0)), 0);
    }

    #[test]
    fn podman_itself_stops_what_it_would_start_again() {
        let body = |signal: &str, policy: &str| {
            let it = serde_json::json!({
                "Config": { "StopSignal": signal }, "HostConfig": { "RestartPolicy": { "Name": policy } }
            });
            Ok(Answer { code: 200, body: it.to_string().into_bytes(), server: None })
        };
        assert_eq!(way(body("3", "")), Way::Signal("3".into()));
        assert_eq!(way(body("SIGINT", "no")), Way::Signal("SIGINT".into()));
        let unknown = Ok(Answer { code: 200, body: b"x".to_vec(), server: None });
        let gone = Ok(Answer { code: 404, body: b"{}".to_vec(), server: None });
        for it in [body("3", "always"), body("3", "on-failure"), body("", "no"), unknown, gone] {
            assert_eq!(way(it), Way::Stop);
        }
    }
}
