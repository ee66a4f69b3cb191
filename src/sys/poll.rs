//! Deadlines for poll(2).

use rustix::event::Timespec;

use super::time::Instant;

/// The timeout for a poll(2) that should return at `deadline`, given `now` by the same clock. `None`, which
/// waits forever, if the duration is too long for the kernel.
pub(crate) fn timeout_until(deadline: Instant, now: Instant) -> Option<Timespec> {
    Timespec::try_from(deadline - now).ok()
}
