//! How to fix the worst leak, in one sentence.

use nix::sys::signal::Signal;

use super::tree::trees;
use crate::leaks::{How, Leak};

/// `None` if no described process leaked.
pub(crate) fn hint<'a>(leaks: impl IntoIterator<Item = &'a Leak>) -> Option<String> {
    let trees = trees(leaks);
    let worst = trees.first()?.leak;
    let phase = worst.started_during.as_ref().and_then(|origin| origin.phase.as_deref());
    Some(match (&worst.how, phase) {
        (How::OutlivedService(name), _) => {
            format!("give service {name} a stop_signal that stops it, or a longer grace")
        }
        (How::OutlivedProbe(name), _) => {
            format!(
                "the readiness command of service {name} does not exit on its own: run it with a timeout of its own"
            )
        }
        (_, Some("setup")) => {
            "a fixture started it and did not stop it: after the fixture's yield, stop it and wait for it"
                .into()
        }
        _ if worst.stat.ignores(Signal::SIGTERM) => {
            "it ignores SIGTERM: in the code that starts it, kill it with SIGKILL and wait for it".into()
        }
        _ if worst.had_to_be_killed => {
            "it does not exit on SIGTERM: in the code that starts it, stop it the way it expects and wait for it"
                .into()
        }
        _ => match worst.started_during.as_ref().and_then(|origin| clean_up_in(origin.runner)) {
            Some(place) => format!("{place}, stop it and wait for it: that code runs even if the test fails"),
            None => "stop it in the code that starts it; if it is meant to outlive the command, add it to allow".into(),
        },
    })
}

/// Where tests of this runner clean up.
fn clean_up_in(runner: &str) -> Option<&'static str> {
    Some(match runner {
        "pytest" => "start it in a fixture, and after the fixture's yield",
        "bats" => "in the file's teardown()",
        "nextest" => "in the Drop of a value that the test holds",
        "vitest" | "jest" => "in afterEach or afterAll",
        "playwright" => "start it in a fixture, and after the fixture's `await use()`",
        _ => return None,
    })
}
