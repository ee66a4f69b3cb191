//! Deadlines for poll(2).

use std::time::Instant;

use rustix::event::Timespec;

/// The timeout for a poll(2) that should return at `deadline`, given `now` by the same clock. `None`, which
/// waits forever, if the duration is too long for the kernel.
pub(crate) fn timeout_until(deadline: Instant, now: Instant) -> Option<Timespec> {
    Timespec::try_from(deadline.saturating_duration_since(now)).ok()
}
