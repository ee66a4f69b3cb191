//! The session's clock: monotonic, and paused while the session is stopped (Ctrl-Z).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::sys::time::Instant;

/// For how many nanoseconds the session has been stopped in total.
static STOPPED: AtomicU64 = AtomicU64::new(0);

/// Now, by the session's clock. Do not compare it with the time of another clock.
pub(crate) fn now() -> Instant {
    Instant::now() - Duration::from_nanos(STOPPED.load(Ordering::Relaxed))
}

/// The time since `then`, by the session's clock.
pub(crate) fn since(then: Instant) -> Duration {
    now() - then
}

/// Notes that the session was stopped for this long.
pub(crate) fn stood_still(duration: Duration) {
    STOPPED.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
