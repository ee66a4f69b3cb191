//! Limits how many CPUs a session can keep busy, and reports whether it was throttled.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use cgroups_rs::fs::cpu::CpuController;

use super::hit::{LimitHit, SessionDirectories};
use super::limit::Limit;
use super::limit_file::LimitFile;
use super::number::number;
use super::refused::Refused;
use crate::containment::cgroup::files::read_keyed;

/// The kernel grants at least a hundredth of a CPU: 1 ms of every 100 ms.
pub(super) const LEAST_CPUS: f64 = 0.01;
/// More than any host has, and far from overflow.
const MOST_CPUS: f64 = 100_000.0;
/// The period in which CPU time is granted; the kernel's default.
const PERIOD: Duration = Duration::from_millis(100);
/// Any busy program is throttled now and then. Throttling is worth reporting if it lasted this long in total,
/// and happened in at least one in `ONE_IN` periods of the session.
const WORTH_A_LINE: Duration = Duration::from_secs(1);
/// See [`WORTH_A_LINE`].
const ONE_IN: u128 = 10;

/// How many CPUs may be kept busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cpus {
    Count(f64),
    /// A share of all that the host has.
    Percent(f64),
}

impl Cpus {
    /// The number of CPUs, on a host that has `host` of them.
    pub(crate) fn count(self, host: usize) -> f64 {
        match self {
            Self::Count(count) => count,
            // The kernel grants only hundredths.
            Self::Percent(percent) => (host as f64 * percent).round() / 100.0,
        }
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "use a number of CPUs such as 1.5, or 50% (of the host's)";
        let trimmed = text.trim();
        if let Some(percent) = trimmed.strip_suffix('%') {
            let percent = number(percent).filter(|it| *it > 0.0 && *it <= 100.0);
            return percent
                .map(Self::Percent)
                .ok_or_else(|| format!("invalid share of the host's CPUs {text:?}; {SHAPE}"));
        }
        match number(trimmed) {
            None => Err(format!("invalid number of CPUs {text:?}; {SHAPE}")),
            Some(count) if count < LEAST_CPUS => {
                Err(format!("{text:?} is less than a process needs to start; the minimum is {LEAST_CPUS}"))
            }
            Some(count) if count > MOST_CPUS => {
                Err(format!("{text:?} is more CPUs than any machine has; {SHAPE}"))
            }
            Some(count) => Ok(Self::Count(count)),
        }
    }
}

/// Limits how many CPUs a cgroup can keep busy.
pub(super) fn set_cpus(directory: &Path, cpus: f64) -> Result<(), Refused> {
    let file = LimitFile::new(directory, Limit::Cpus);
    let period = PERIOD.as_micros() as u64;
    let quota = (cpus * period as f64).round() as i64;
    let controller = CpuController::new(file.path(), file.path(), true);
    let set = controller.set_cfs_quota_and_period(Some(quota), Some(period));
    file.check("cpu.max", set, |text| text == format!("{quota} {period}"))
}

/// The CPU limits that throttled something for long enough to matter.
pub(super) fn hits(directories: &SessionDirectories<'_>) -> Vec<LimitHit> {
    let lasted = directories.limits.age();
    let mut hits = Vec::new();
    for (name, path, bounds) in directories.limited() {
        let Some(limit_cpus) = bounds.cpus else { continue };
        let read = |key| read_keyed(path, "cpu.stat", key).unwrap_or_default();
        let (throttled_usec, throttled_periods) = (read("throttled_usec"), read("nr_throttled"));
        if is_worth_a_line(throttled_usec, throttled_periods, lasted) {
            let (component, total_periods) = (name.to_string(), read("nr_periods"));
            hits.push(LimitHit::Cpus {
                component,
                limit_cpus,
                throttled_usec,
                throttled_periods,
                total_periods,
            });
        }
    }
    hits
}

fn is_worth_a_line(throttled_usec: u64, periods: u64, lasted: Duration) -> bool {
    let all = lasted.as_millis() / PERIOD.as_millis();
    Duration::from_micros(throttled_usec) >= WORTH_A_LINE && u128::from(periods) * ONE_IN >= all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trivial_throttling_is_not_worth_a_line() {
        let (short, long) = (Duration::from_secs(2), Duration::from_secs(600));
        // Throttled while a program starts.
        assert!(!is_worth_a_line(300_000, 6, short));
        // Throttled now and then, in ten minutes.
        assert!(!is_worth_a_line(5_000_000, 60, long));
        assert!(is_worth_a_line(1_500_000, 15, short));
        assert!(is_worth_a_line(60_000_000, 600, long));
    }

    #[test]
    fn numbers_and_shares_of_cpus() {
        assert_eq!("1.5".parse(), Ok(Cpus::Count(1.5)));
        assert_eq!(".5".parse(), Ok(Cpus::Count(0.5)));
        assert_eq!("50%".parse::<Cpus>().unwrap().count(4), 2.0);
        assert_eq!("33.3%".parse::<Cpus>().unwrap().count(2), 0.67);
        for text in ["", "-1", "0", "0.001", "nan", "1e3", "two", "1,5", "0%", "101%", "9999999", "+1", "."] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_number_of_cpus_or_an_error(text in "[0-9.eE%+-]{0,9}") {
            let _ = text.parse::<Cpus>();
        }
    }
}
