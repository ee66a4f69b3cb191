//! What is counted, and where in the file.

use std::time::Duration;

use super::By;
use crate::sys::shared_counters::COUNTERS;
use crate::teardown::{Cause, Verdict};

/// The teardowns, by who did them and why. Those of a later version are added at the end.
pub(crate) const TEARDOWNS: &[(By, &str)] = &[
    (By::Supervisor, "command_ended"),
    (By::Supervisor, "interrupted"),
    (By::Supervisor, "startup_failed"),
    (By::Supervisor, "command_not_executed"),
    (By::Supervisor, "signal"),
    (By::Supervisor, "timed_out"),
    (By::Supervisor, "idle"),
    (By::Supervisor, "service_ended"),
    (By::Supervisor, "internal_error"),
    (By::Guardian, "supervisor_died"),
    (By::Sweep, "supervisor_died"),
    (By::Supervisor, "parent_exited"),
];

/// The upper bounds of the buckets for the time that a teardown took. The last bucket has none.
pub(crate) const BUCKETS: [Duration; 9] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Where the teardowns begin, for each of which there is a counter.
const FIRST_TEARDOWN: usize = 0;
/// Where the buckets begin.
const FIRST_BUCKET: usize = 128;
/// More is no count: so many microseconds are 35 years.
const MOST: u64 = 1 << 50;

/// The counters that are not one of many.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counter {
    UnverifiedTeardowns = 64,
    LeakedProcesses = 65,
    LeakedContainers = 66,
    Survivors = 67,
    TeardownMicroseconds = 68,
}

#[derive(Clone, Debug)]
pub(crate) struct Counts([u64; COUNTERS]);

impl Counts {
    pub(super) fn zero() -> Self {
        Self([0; COUNTERS])
    }

    /// Adds those of a user, who can have put any number there. Nothing is added if one of them cannot be a count, and then this
    /// returns `false`.
    pub(super) fn add(&mut self, other: &[u64; COUNTERS]) -> bool {
        let is_plausible = other.iter().all(|&it| it <= MOST);
        if is_plausible {
            self.0.iter_mut().zip(other).for_each(|(ours, theirs)| *ours = ours.saturating_add(*theirs));
        }
        is_plausible
    }

    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// One for each of [`TEARDOWNS`].
    pub(crate) fn teardowns(&self) -> &[u64] {
        &self.0[FIRST_TEARDOWN..][..TEARDOWNS.len()]
    }

    /// How many teardowns took longer than one bound of [`BUCKETS`], and no longer than the next. The last took longer
    /// than all.
    pub(crate) fn buckets(&self) -> &[u64] {
        &self.0[FIRST_BUCKET..][..=BUCKETS.len()]
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> &[u64; COUNTERS] {
        &self.0
    }
}

/// What a teardown adds to which counter.
pub(super) fn of_teardown(
    verdict: &Verdict,
    cause: &Cause,
    by: By,
) -> impl Iterator<Item = (usize, u64)> + use<> {
    let teardown = TEARDOWNS.iter().position(|it| *it == (by, cause.name()));
    let bucket = BUCKETS.iter().position(|&bound| verdict.took <= bound).unwrap_or(BUCKETS.len());
    let leaked = verdict.leaked() + verdict.known_leaks().len();
    let single = [
        (Counter::UnverifiedTeardowns, u64::from(!verdict.is_proven())),
        (Counter::LeakedProcesses, leaked as u64),
        (Counter::LeakedContainers, verdict.leaked_containers() as u64),
        (Counter::Survivors, verdict.survivors.len() as u64),
        (Counter::TeardownMicroseconds, verdict.took.as_micros().try_into().unwrap_or(u64::MAX)),
    ];
    teardown
        .map(|at| (FIRST_TEARDOWN + at, 1))
        .into_iter()
        .chain([(FIRST_BUCKET + bucket, 1)])
        .chain(single.into_iter().filter(|(_, number)| *number > 0).map(|(it, number)| (it as usize, number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A teardown that is not in the list would not be counted.
    #[test]
    fn every_cause_is_counted() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../report/schema.json")).unwrap();
        let causes = &schema["properties"]["outcome"]["properties"]["cause"]["enum"];
        for cause in causes.as_array().unwrap() {
            let counted = TEARDOWNS.iter().filter(|(_, name)| name == cause).count();
            assert_eq!(counted, if cause == "supervisor_died" { 2 } else { 1 }, "{cause}");
        }
        assert!(FIRST_TEARDOWN + TEARDOWNS.len() <= Counter::UnverifiedTeardowns as usize);
        assert!((Counter::TeardownMicroseconds as usize) < FIRST_BUCKET);
    }
}
