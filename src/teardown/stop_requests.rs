//! Counts how often the session was asked to stop: the first request starts the grace, the second one ends
//! it.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::layers::{Cause, NO_MORE_GRACE};
use crate::runtime::clock;
use crate::sys::signals::Caught;
use crate::sys::time::Instant;

/// timeout(1) and some CI runners signal us and then our whole group, which is one request.
const ECHO: Duration = Duration::from_millis(20);
/// systemd sends SIGHUP right after SIGTERM to a unit with `SendSIGHUP=yes` (systemd.kill(5)), and a closing terminal may
/// cause both. We may be late to read the second one.
const PAIR: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct StopRequests {
    count: u32,
    last: Option<(Caught, Instant)>,
}

impl StopRequests {
    pub(super) fn new(cause: &Cause) -> Self {
        Self { count: cause.requests(), last: cause.received().map(|caught| (caught, clock::now())) }
    }

    /// Counts a signal that arrived during the teardown. Returns `true` if it is the first request.
    pub(super) fn note(&mut self, caught: Caught) -> bool {
        let now = clock::now();
        let is_echo = self.last.is_some_and(|(last, at)| is_same_request(last, caught, now - at));
        if !caught.is_about_ending() || is_echo {
            return false;
        }
        self.last = Some((caught, now));
        self.count += 1;
        self.count == 1
    }

    /// Whether the grace is over, so that all that is left must be killed.
    pub(super) fn end_the_grace(&self) -> bool {
        self.count >= NO_MORE_GRACE
    }

    /// Whether not even what has to be done before something is killed is worth waiting for.
    pub(super) fn end_everything(&self) -> bool {
        self.count > NO_MORE_GRACE
    }
}

/// Whether two signals, the second of which came this much `later`, are one request to end.
fn is_same_request(one: Caught, other: Caught, later: Duration) -> bool {
    let pair = [Signal::SIGTERM, Signal::SIGHUP];
    let is_pair = pair.contains(&one.signal) && pair.contains(&other.signal);
    let limit = match one.signal == other.signal {
        true => ECHO,
        false if is_pair => PAIR,
        false => Duration::ZERO,
    };
    later < limit || is_hangup(one, other)
}

/// Whether two signals come from one hangup of the terminal: its shell passes the hangup on, and the kernel sends it
/// again when the shell exits, which may be at any later time. A hangup after another request is not a repeated request
/// either.
fn is_hangup(one: Caught, other: Caught) -> bool {
    let by_kernel = |caught: Caught| caught.signal == Signal::SIGHUP && caught.from_terminal;
    by_kernel(other) || by_kernel(one) && other.signal == Signal::SIGHUP
}

#[cfg(test)]
mod tests {
    use super::super::layers::NormalExit;
    use super::*;

    fn caught(signal: Signal) -> Caught {
        Caught { signal, from_terminal: false }
    }

    fn after_ctrl_c(recently: bool) -> StopRequests {
        StopRequests::new(&Cause::NormalExit(NormalExit { interrupted: true, recently, quit: false }))
    }

    #[test]
    fn the_second_request_ends_the_grace() {
        let mut requests = after_ctrl_c(false);
        assert!(requests.note(caught(Signal::SIGINT)));
        assert!(!requests.end_the_grace());
        assert!(!requests.note(caught(Signal::SIGTERM)));
        assert!(requests.end_the_grace() && !requests.end_everything());
        assert!(!requests.note(caught(Signal::SIGINT)));
        assert!(requests.end_everything());
    }

    #[test]
    fn a_ctrl_c_that_ended_the_tests_was_the_first_request() {
        let mut requests = after_ctrl_c(true);
        assert!(!requests.end_the_grace());
        requests.note(caught(Signal::SIGINT));
        assert!(requests.end_the_grace());
    }

    #[test]
    fn neither_an_echo_nor_an_unrelated_signal_counts_as_a_request() {
        let mut requests = StopRequests::new(&Cause::from_signal(caught(Signal::SIGTERM)));
        requests.note(caught(Signal::SIGTERM));
        requests.note(caught(Signal::SIGUSR1));
        assert!(!requests.end_the_grace());
    }

    #[test]
    fn a_sigterm_with_a_sighup_is_one_request() {
        let after = Duration::from_millis;
        let (term, hup, int) = (caught(Signal::SIGTERM), caught(Signal::SIGHUP), caught(Signal::SIGINT));
        let hangup = Caught { from_terminal: true, ..hup };
        for (one, other, later, same) in [
            (term, hup, 10, true),
            (hup, term, 10, true),
            (term, hup, 1000, false),
            (term, term, 10, true),
            (term, term, 100, false),
            (int, term, 10, false),
            (term, hangup, 1000, true),
            (hangup, hup, 1000, true),
            (hangup, term, 1000, false),
        ] {
            assert_eq!(
                is_same_request(one, other, after(later)),
                same,
                "{one:?}, {other:?} after {later} ms"
            );
        }
    }
}
