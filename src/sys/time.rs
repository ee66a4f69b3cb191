//! The kernel's own time. A library that the environment preloads can change what libc and the standard library say: under
//! faketime(1) their clock can stand still, and no deadline would ever pass.
//!
//! rustix reads the clock from the vDSO and makes its own system calls, so no library interferes.

use std::ops::{Add, AddAssign, Sub};
use std::time::{Duration, SystemTime};

use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A time on the kernel's monotonic clock (`CLOCK_MONOTONIC`, clock_gettime(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(since_zero(ClockId::Monotonic))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now() - self
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// The latest representable time if the sum is out of range.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The host's time of day.
pub(crate) fn time_of_day() -> SystemTime {
    SystemTime::UNIX_EPOCH + since_zero(ClockId::Realtime)
}

/// How long after the beginning of 1970 it is; never before.
pub(crate) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The clock from which the kernel takes the times of files. It ticks, so a file can seem older than it is by
/// [`time_of_day`].
pub(crate) fn time_of_files() -> SystemTime {
    SystemTime::UNIX_EPOCH + since_zero(ClockId::RealtimeCoarse)
}

/// When this host was booted, from which the kernel counts the start of a process.
pub(crate) fn boot_time() -> SystemTime {
    time_of_day().checked_sub(since_boot()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// How long ago this host was booted.
pub(crate) fn since_boot() -> Duration {
    since_zero(ClockId::Boottime)
}

/// Sleeps for this long, even if signals interrupt it.
pub(crate) fn sleep(duration: Duration) {
    let Ok(mut rest) = Timespec::try_from(duration) else { return };
    while let NanosleepRelativeResult::Interrupted(left) = nanosleep(&rest) {
        rest = left;
    }
}

/// What a clock shows. It is negative only if the time of day is set to a date before 1970.
fn since_zero(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is what this compares with")]
    fn it_agrees_with_the_standard_library() {
        let before = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let ours = time_of_day().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(ours >= before && ours - before < Duration::from_secs(10), "{ours:?}, {before:?}");
        let directory = tempfile::tempdir().unwrap();
        let before = time_of_files();
        std::fs::write(directory.path().join("x"), "").unwrap();
        let modified = directory.path().join("x").metadata().unwrap().modified().unwrap();
        assert!(before <= modified && modified <= time_of_day(), "{before:?} {modified:?}");
        let begin = Instant::now();
        sleep(Duration::from_millis(3));
        assert!(begin.elapsed() >= Duration::from_millis(3));
    }

    #[test]
    fn a_time_out_of_range_is_the_nearest_one() {
        let now = Instant::now();
        assert!(now + Duration::MAX > now);
        assert_eq!(now - (now + Duration::from_secs(1)), Duration::ZERO);
    }
}
