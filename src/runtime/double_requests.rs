//! A SIGTERM to all of a job's processes is one request, although it comes twice: to us, and through the guardian. Any time
//! may pass in between, because Jenkins waits for each process before it signals the next one.

use nix::sys::signal::Signal;

use crate::sys::signals::Sender;

/// How many have come in one way that have not come in the other one yet.
#[derive(Debug, Default)]
pub(super) struct DoubleRequests {
    direct: u32,
    relayed: u32,
}

impl DoubleRequests {
    /// Notes a signal. Returns whether the same request has already come in the other way.
    pub(super) fn has_counted(&mut self, signal: Signal, sender: Sender) -> bool {
        if signal != Signal::SIGTERM {
            return false;
        }
        let (this, other) = match sender {
            Sender::Guardian => (&mut self.relayed, &mut self.direct),
            Sender::Process(_) | Sender::Other => (&mut self.direct, &mut self.relayed),
        };
        if *other > 0 {
            *other -= 1;
            return true;
        }
        *this += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sigterm_that_comes_in_both_ways_counts_once() {
        let (direct, relayed) = (Sender::Other, Sender::Guardian);
        for (senders, counted) in [
            (vec![direct, relayed], 1),
            (vec![relayed, direct], 1),
            (vec![direct, direct], 2),
            (vec![relayed, relayed], 2),
            (vec![relayed, direct, direct], 2),
            (vec![relayed, direct, relayed, direct], 2),
            (vec![direct, direct, relayed, relayed], 2),
        ] {
            let mut requests = DoubleRequests::default();
            let counts = |sender: &&Sender| !requests.has_counted(Signal::SIGTERM, **sender);
            assert_eq!(senders.iter().filter(counts).count(), counted, "{senders:?}");
        }
    }

    #[test]
    fn other_signals_come_in_one_way() {
        let mut requests = DoubleRequests::default();
        assert!(!requests.has_counted(Signal::SIGTERM, Sender::Guardian));
        assert!(!requests.has_counted(Signal::SIGINT, Sender::Other));
    }
}
