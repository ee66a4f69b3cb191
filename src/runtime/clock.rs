//! Time as the session lives it: monotonic, and standing still while the session is stopped (Ctrl-Z).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Nanoseconds in which the session was stopped.
static STOPPED: AtomicU64 = AtomicU64::new(0);

/// Now, by the session's clock. Compare it with no other clock's time.
pub(crate) fn now() -> Instant {
    Instant::now() - Duration::from_nanos(STOPPED.load(Ordering::Relaxed))
}

/// How long ago that was, by the session's clock.
pub(crate) fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// The session was stopped for so long.
pub(crate) fn stood_still(duration: Duration) {
    STOPPED.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
