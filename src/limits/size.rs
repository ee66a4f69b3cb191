//! Sizes and shares as people write them: `4G`, `512MiB`, `50%`, `1.5`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::text::Bytes;

/// What the kernel counts in at least; a process whose pages are all refused cannot even start.
pub const LEAST_MEMORY: u64 = 1 << 20;
/// A hundredth of a CPU is the least the kernel grants: 1 ms of every 100 ms.
pub const LEAST_CPUS: f64 = 0.01;
/// More than any host has, and far from overflow.
const MOST_CPUS: f64 = 100_000.0;
/// Of the largest kernel (NR_CPUS).
const LAST_CPU: u16 = 8191;
/// The kernel's own limit of a number of processes (PID_MAX_LIMIT).
const MOST_PIDS: u64 = 4 << 20;

/// So much memory, or so much of the host's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Memory {
    Bytes(u64),
    Percent(f64),
}

impl Memory {
    /// In bytes, on a host that has so many.
    pub fn of(self, host: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (host as f64 * percent / 100.0) as u64,
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match size(text)? {
            Self::Percent(0.0) => {
                Err(format!("{text:?} of the host's memory is nothing, and a process needs some to start"))
            }
            Self::Bytes(bytes) if bytes < LEAST_MEMORY => Err(format!(
                "{text:?} is less than a process needs to start; the least is {}, and a number alone is in bytes",
                Bytes(LEAST_MEMORY)
            )),
            size => Ok(size),
        }
    }
}

/// As [`Memory`], and may be nothing at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Swap(pub Memory);

impl FromStr for Swap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        size(text).map(Self)
    }
}

fn size(text: &str) -> Result<Memory, String> {
    const SHAPE: &str = "write a size such as 4G, 512MiB or 50% (of the host's memory)";
    let text = text.trim();
    if let Some(percent) = text.strip_suffix('%') {
        let percent = number(percent).filter(|it| *it <= 100.0);
        let percent = percent
            .ok_or_else(|| format!("{text:?} is no share of the host's memory: 0% to 100%; {SHAPE}"))?;
        return Ok(Memory::Percent(percent));
    }
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (figure, unit) = (text[..split].trim(), text[split..].trim());
    let figure = whole(figure).map(Figure::Whole).or_else(|| number(figure).map(Figure::Fraction));
    let figure = figure.ok_or_else(|| format!("{text:?} is no size; {SHAPE}"))?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => {
            return Err(format!(
                "{unit:?} is no unit of size; there are K, M, G, T (KiB and so on, times 1024) and KB, MB, GB, TB (times 1000)"
            ));
        }
    };
    let bytes = match figure {
        Figure::Whole(whole) => whole.checked_mul(unit),
        Figure::Fraction(fraction) => Some((fraction * unit as f64) as u64),
    };
    // The kernel counts in signed numbers.
    let bytes = bytes.filter(|bytes| *bytes <= i64::MAX as u64 - 4096);
    bytes
        .map(Memory::Bytes)
        .ok_or_else(|| format!("{text:?} is more memory than any machine can have; {SHAPE}"))
}

enum Figure {
    Whole(u64),
    Fraction(f64),
}

/// Digits with at most one point: no sign, no exponent, no `inf` or `nan`.
fn number(text: &str) -> Option<f64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| plain)
}

/// Digits alone: no sign.
fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
}

/// So much processor time a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cpus {
    Count(f64),
    /// Of all that the host has.
    Percent(f64),
}

impl Cpus {
    /// On a host that has so many.
    pub fn of(self, host: usize) -> f64 {
        match self {
            Self::Count(count) => count,
            // The least that is granted is a hundredth.
            Self::Percent(percent) => (host as f64 * percent).round() / 100.0,
        }
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "write a number of CPUs such as 1.5, or 50% (of all)";
        let trimmed = text.trim();
        if let Some(percent) = trimmed.strip_suffix('%') {
            let percent = number(percent).filter(|it| *it > 0.0 && *it <= 100.0);
            return percent
                .map(Self::Percent)
                .ok_or_else(|| format!("{text:?} is no share of the host's CPUs; {SHAPE}"));
        }
        match number(trimmed) {
            None => Err(format!("{text:?} is no number of CPUs; {SHAPE}")),
            Some(count) if count < LEAST_CPUS => {
                Err(format!("{text:?} is less than a process needs to start; the least is {LEAST_CPUS}"))
            }
            Some(count) if count > MOST_CPUS => {
                Err(format!("{text:?} is more CPUs than any machine has; {SHAPE}"))
            }
            Some(count) => Ok(Self::Count(count)),
        }
    }
}

/// So many processes and threads at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pids(pub u64);

impl FromStr for Pids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match whole(text) {
            Some(0) => Err("no process can start where none is allowed; the least is 1".into()),
            Some(count) if count <= MOST_PIDS => Ok(Self(count)),
            Some(_) => Err(format!("the kernel has at most {MOST_PIDS} processes; write fewer")),
            None => {
                Err(format!("{text:?} is no number of processes; write a whole number from 1 to {MOST_PIDS}"))
            }
        }
    }
}

/// How much of the disks it gets beside others: 1 to 10000, and 100 is what everybody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(pub u16);

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match whole(text).and_then(|it| u16::try_from(it).ok()) {
            Some(weight @ 1..=10_000) => Ok(Self(weight)),
            _ => Err(format!("{text:?} is no weight; write a whole number from 1 to 10000 (100 is usual)")),
        }
    }
}

/// Numbers of CPUs, such as `0-3,6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSet(pub BTreeSet<u16>);

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for &cpu in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        let written = ranges.into_iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        f.write_str(&written.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for CpuSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no CPUs; write numbers and ranges such as \"0-3,6\"");
        let mut numbers = BTreeSet::new();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let parse = |text: &str| whole(text).and_then(|it| u16::try_from(it).ok()).ok_or_else(wrong);
            let (first, last) = (parse(first)?, parse(last)?);
            if first > last {
                return Err(wrong());
            }
            if last > LAST_CPU {
                return Err(format!("{text:?} names a CPU that no kernel has: the last is {LAST_CPU}"));
            }
            numbers.extend(first..=last);
        }
        Ok(Self(numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_that_people_write() {
        let cases = [
            ("4G", 4 << 30),
            ("4GiB", 4 << 30),
            ("4Gi", 4 << 30),
            (".5G", 1 << 29),
            ("4 gib", 4 << 30),
            ("512MiB", 512 << 20),
            ("512m", 512 << 20),
            ("2GB", 2_000_000_000),
            ("1.5G", 3 << 29),
            ("1048576", 1 << 20),
            ("9223372036854771711", i64::MAX as u64 - 4096),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(Memory::Bytes(bytes)), "{text}");
        }
        assert_eq!("50%".parse::<Memory>().unwrap().of(8 << 30), 4 << 30);
        assert_eq!("0".parse(), Ok(Swap(Memory::Bytes(0))));
        assert_eq!("1.5".parse(), Ok(Cpus::Count(1.5)));
        assert_eq!("50%".parse::<Cpus>().unwrap().of(4), 2.0);
        assert_eq!("33.3%".parse::<Cpus>().unwrap().of(2), 0.67);
        assert_eq!(".5".parse(), Ok(Cpus::Count(0.5)));
        assert_eq!("0%".parse(), Ok(Swap(Memory::Percent(0.0))));
        assert_eq!("3,0-2, 6".parse::<CpuSet>().unwrap().to_string(), "0-3,6");
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let memory = [
            ("", "no size"),
            ("much", "no size"),
            ("-4G", "no size"),
            ("+4G", "no size"),
            ("+.5G", "no size"),
            (".", "no size"),
            ("0%", "is nothing"),
            ("4X", "no unit"),
            ("1e9", "no unit"),
            ("nan", "no size"),
            ("inf", "no size"),
            ("4", "less than a process needs"),
            ("0", "less than a process needs"),
            ("99999999999T", "more memory than any machine"),
            ("99999999999999999999", "more memory than any machine"),
            ("18446744073709551615", "more memory than any machine"),
            ("101%", "0% to 100%"),
            ("-1%", "0% to 100%"),
            ("4G4", "no unit"),
        ];
        for (text, reason) in memory {
            let error = text.parse::<Memory>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for text in ["", "-1", "0", "0.001", "nan", "1e3", "two", "1,5", "0%", "101%", "9999999", "+1", "."] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
        for text in ["", "-1", "0", "1.5", "many", "99999999999999999999", "5000000", "+5"] {
            assert!(text.parse::<Pids>().is_err(), "{text}");
        }
        for text in ["", "0", "10001", "-1", "1.5", "+5"] {
            assert!(text.parse::<Weight>().is_err(), "{text}");
        }
        for text in ["", "a", "3-1", "-1", "1-", "0,,1", "+1", "8192", "0-65535", "99999999"] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_an_error(text in "[0-9.eE%+-]{0,9}[KMGTi ]{0,3}B?") {
            let _ = (text.parse::<Memory>(), text.parse::<Cpus>(), text.parse::<Pids>());
            let _ = (text.parse::<CpuSet>(), text.parse::<Weight>());
        }
    }
}
