//! Held back from the CPUs.

use std::time::Duration;

use super::{Places, Struck};
use crate::limits::set::PERIOD;
use crate::limits::usage::keyed;

/// Any busy program is held back now and then: it counts from so much on,
const WORTH_A_LINE: Duration = Duration::from_secs(1);
/// and in no less than this part of the time that the session lasted.
const ONE_IN: u128 = 10;

pub(super) fn find(places: &Places<'_>) -> Vec<Struck> {
    let lasted = places.limited.lasted();
    let mut struck = Vec::new();
    for (name, path, bounds) in places.limited() {
        let Some(cpus) = bounds.cpus else { continue };
        let read = |key| keyed(path, "cpu.stat", key).unwrap_or_default();
        let (throttled_usec, periods) = (read("throttled_usec"), read("nr_throttled"));
        if is_worth_a_line(throttled_usec, periods, lasted) {
            let (of, of_periods) = (name.to_string(), read("nr_periods"));
            struck.push(Struck::Cpus { of, cpus, throttled_usec, periods, of_periods });
        }
    }
    struck
}

fn is_worth_a_line(throttled_usec: u64, periods: u64, lasted: Duration) -> bool {
    let all = lasted.as_millis() / PERIOD.as_millis();
    Duration::from_micros(throttled_usec) >= WORTH_A_LINE && u128::from(periods) * ONE_IN >= all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trivial_is_not_said() {
        let (short, long) = (Duration::from_secs(2), Duration::from_secs(600));
        // A program's start.
        assert!(!is_worth_a_line(300_000, 6, short));
        // Now and then, in ten minutes.
        assert!(!is_worth_a_line(5_000_000, 60, long));
        assert!(is_worth_a_line(1_500_000, 15, short));
        assert!(is_worth_a_line(60_000_000, 600, long));
    }
}
