//! Times that can be compared exactly. Reports have them in seconds, rounded to the millisecond.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The last second of the year 9999, in milliseconds. No date after it can be written.
const LAST: u64 = 253_402_300_799_000;

/// Milliseconds inside, seconds in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seconds(u64);

impl Seconds {
    /// What is not a time in a report is as close to one as possible.
    pub(crate) fn new(seconds: f64) -> Self {
        // The cast saturates.
        Self(((seconds * 1000.0).round() as u64).min(LAST))
    }

    pub(crate) fn get(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self((self.0 + other.0).min(LAST))
    }

    /// `2026-11-28`, for seconds since 1970.
    pub(crate) fn date(self) -> String {
        self.rfc3339()[..10].to_string()
    }

    /// `2026-11-28 01:12`, in UTC.
    pub(crate) fn minute(self) -> String {
        self.rfc3339()[..16].replace('T', " ")
    }

    fn rfc3339(self) -> String {
        humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(self.0)).to_string()
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_report_contains_is_a_date() {
        for (seconds, date) in [
            (1_795_828_320.5, "2026-11-28 01:12"),
            (-1.0, "1970-01-01 00:00"),
            (f64::NAN, "1970-01-01 00:00"),
            (f64::MAX, "9999-12-31 23:59"),
        ] {
            assert_eq!(Seconds::new(seconds).minute(), date);
        }
    }

    #[test]
    fn a_time_stays_the_same_in_json() {
        for seconds in [0.001, 1_795_828_320.123, 1e11, f64::MAX] {
            let time = Seconds::new(seconds);
            let text = serde_json::to_string(&time).unwrap();
            assert_eq!(serde_json::from_str::<Seconds>(&text).unwrap(), time, "{text}");
        }
    }
}
