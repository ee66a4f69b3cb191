//! How often the user has asked for the end: once is a request, twice is haste.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::cause::Cause;
use crate::runtime::clock;
use crate::sys::signals::Caught;

/// timeout(1) and some CI runners signal us and then our whole group: that is one request.
const SAME_REQUEST: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Patience {
    requests: u32,
    last: Option<(Caught, Instant)>,
}

impl Patience {
    pub fn new(cause: &Cause) -> Self {
        let (requests, last) = match cause {
            Cause::Signal { caught, again } => (1 + u32::from(*again), Some(*caught)),
            Cause::CommandEnded { lately: true, .. } => (1, None),
            // There is nobody left who could wait.
            Cause::SupervisorDied => (2, None),
            _ => (0, None),
        };
        Self { requests, last: last.map(|caught| (caught, clock::now())) }
    }

    /// A signal came during the teardown. `true` where it is the user's first.
    pub fn note(&mut self, caught: Caught) -> bool {
        let now = clock::now();
        let is_echo = self.last.is_some_and(|(last, at)| {
            last.signal == caught.signal && (now - at < SAME_REQUEST || is_same_hangup(last, caught))
        });
        if !caught.is_about_ending() || is_echo {
            return false;
        }
        self.last = Some((caught, now));
        self.requests += 1;
        self.requests == 1
    }

    /// No grace any more: kill what is left.
    pub fn is_over(&self) -> bool {
        self.requests >= 2
    }
}

/// A terminal hangs up once: its shell passes that on, and the kernel says it again when the shell has
/// ended, which may take it any time.
fn is_same_hangup(one: Caught, other: Caught) -> bool {
    one.signal == Signal::SIGHUP && (one.from_terminal || other.from_terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(signal: Signal) -> Caught {
        Caught { signal, from_terminal: false }
    }

    #[test]
    fn the_second_request_ends_it() {
        let mut patience = Patience::new(&Cause::CommandEnded { interrupted: true, lately: false });
        assert!(patience.note(caught(Signal::SIGINT)));
        assert!(!patience.is_over());
        assert!(!patience.note(caught(Signal::SIGTERM)));
        assert!(patience.is_over());
    }

    #[test]
    fn a_ctrl_c_that_ended_the_tests_was_the_first() {
        let mut patience = Patience::new(&Cause::CommandEnded { interrupted: true, lately: true });
        assert!(!patience.is_over());
        patience.note(caught(Signal::SIGINT));
        assert!(patience.is_over());
    }

    #[test]
    fn an_echo_and_what_is_not_about_ending_do_not_count() {
        let cause = Cause::Signal { caught: caught(Signal::SIGTERM), again: false };
        let mut patience = Patience::new(&cause);
        patience.note(caught(Signal::SIGTERM));
        patience.note(caught(Signal::SIGUSR1));
        assert!(!patience.is_over());
    }
}
