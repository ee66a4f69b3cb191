//! Divides the time for a whole teardown among the steps that follow one another.

use std::time::Duration;

use crate::runtime::clock;
use crate::sys::time::Instant;

/// One part in this many is kept for what follows the last grace: killing, checking and reporting.
const REST: u32 = 10;

/// How long a teardown may take as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StopWithin {
    /// The limit that the user set.
    pub always: Option<Duration>,
    /// The limit after a signal whose sender is known to kill us later.
    pub after_signal: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct TimeBudget {
    /// See [`Self::ends`].
    ends: Option<Instant>,
    /// See [`Self::deadline`].
    deadline: Option<Instant>,
}

impl TimeBudget {
    /// For a teardown that starts now.
    pub(super) fn new(within: StopWithin, was_signalled: bool) -> Self {
        let mut budget = Self::default();
        budget.limit(within.always);
        if was_signalled {
            budget.limit(within.after_signal);
        }
        budget
    }

    /// Limits the time from now on, if it is not shorter already.
    pub(super) fn limit(&mut self, within: Option<Duration>) {
        let ends = within.map(|within| clock::now() + (within - within / REST));
        self.ends = self.ends.into_iter().chain(ends).min();
        let deadline = within.map(|within| clock::now() + within);
        self.deadline = self.deadline.into_iter().chain(deadline).min();
    }

    /// The part of `wanted` that a step can have if this many `steps`, including it, follow one another. Time that a step
    /// does not use is left to the later ones.
    pub(super) fn share(&self, wanted: Duration, steps: u32) -> Duration {
        self.ends.map_or(wanted, |ends| wanted.min((ends - clock::now()) / steps.max(1)))
    }

    /// When the last grace has to be over; `None` if there is no limit.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// When the whole teardown has to be over; `None` if there is no limit.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn is_limited(&self) -> bool {
        self.ends.is_some()
    }

    pub(super) fn is_spent(&self) -> bool {
        self.ends.is_some_and(|ends| clock::now() >= ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn steps_share_what_is_left() {
        let within = StopWithin { always: Some(secs(100)), after_signal: None };
        let budget = TimeBudget::new(within, false);
        let share = budget.share(secs(500), 3);
        assert!(share <= secs(30) && share > secs(29), "{share:?}");
        assert_eq!(budget.share(secs(5), 3), secs(5), "no more than it wants");
    }

    #[test]
    fn only_a_signal_starts_the_time_of_its_sender() {
        let within = StopWithin { always: None, after_signal: Some(secs(10)) };
        assert_eq!(TimeBudget::new(within, false).share(secs(500), 1), secs(500));
        let mut budget = TimeBudget::new(within, true);
        assert!(budget.share(secs(500), 1) <= secs(9));
        budget.limit(Some(secs(1000)));
        assert!(budget.share(secs(500), 1) <= secs(9), "a limit is never extended");
        budget.limit(Some(Duration::ZERO));
        assert!(budget.is_spent() && budget.share(secs(500), 1).is_zero());
    }
}
