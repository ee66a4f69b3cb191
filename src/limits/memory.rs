//! Limits of memory and swap: parses sizes as people write them, and applies them.
//!
//! `out_of_memory.rs` finds out whether a session ran out of memory.

use std::path::Path;
use std::str::FromStr;

use cgroups_rs::fs::memory::MemController;

use super::limit::Limit;
use super::limit_file::{LimitFile, signed};
use super::number::{number, whole};
use super::refused::Refused;
use crate::text::Bytes;

/// The smallest accepted limit, in bytes: below it, a process cannot even start.
pub(super) const LEAST_MEMORY: u64 = 1 << 20;
/// The kernel counts memory in pages, which are no larger than this.
const PAGE: u64 = 64 << 10;
const SWAP_FILE: &str = "memory.swap.max";

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Memory {
    Bytes(u64),
    /// A share of what the host has.
    Percent(f64),
}

impl Memory {
    /// The number of bytes, on a host that has `host` bytes.
    pub(crate) fn bytes(self, host: u64) -> u64 {
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
                Err(format!("{text:?} of the host's memory is 0 bytes, and a process needs memory to start"))
            }
            Self::Bytes(bytes) if bytes < LEAST_MEMORY => Err(format!(
                "{text:?} is less than a process needs to start; the minimum is {}, and a plain number is in bytes",
                Bytes(LEAST_MEMORY)
            )),
            size => Ok(size),
        }
    }
}

/// An amount of swap, which may be zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Swap(pub Memory);

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
        let percent = percent.ok_or_else(|| {
            format!("invalid share of the host's memory {text:?}: it must be 0% to 100%; {SHAPE}")
        })?;
        return Ok(Memory::Percent(percent));
    }
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (figure, unit) = (text[..split].trim(), text[split..].trim());
    let figure = whole(figure).map(Figure::Whole).or_else(|| number(figure).map(Figure::Fraction));
    let figure = figure.ok_or_else(|| format!("invalid size {text:?}; {SHAPE}"))?;
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
                "invalid unit {unit:?}; use K, M, G, T (KiB and so on, times 1024) or KB, MB, GB, TB (times 1000)"
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

/// Limits the memory of a cgroup. If swap has no limit of its own, it is turned off.
pub(super) fn set_memory(directory: &Path, bytes: u64, swap: Option<u64>) -> Result<(), Refused> {
    let file = LimitFile::new(directory, Limit::Memory);
    let set = MemController::new(file.path(), file.path(), true).set_limit(signed(bytes));
    file.check("memory.max", set, |text| is_about(text, bytes))?;
    // Otherwise everything that exceeds the limit would be swapped out, without bound.
    if swap.is_none() && directory.join(SWAP_FILE).exists() {
        file.write(SWAP_FILE, "0", |text| text == "0")?;
    }
    // Kill the whole session, because one that lost half of its processes would fail in confusing ways.
    file.write("memory.oom.group", "1", |text| text == "1")
}

pub(super) fn set_swap(directory: &Path, bytes: u64) -> Result<(), Refused> {
    let file = LimitFile::new(directory, Limit::Swap);
    file.write(SWAP_FILE, &bytes.to_string(), |text| is_about(text, bytes))
}

fn is_about(text: &str, bytes: u64) -> bool {
    // A limit beyond what the kernel can count is read back as `max`.
    text.parse::<u64>().map_or(text == "max", |set| set <= bytes && bytes - set < PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
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
        assert_eq!("50%".parse::<Memory>().unwrap().bytes(8 << 30), 4 << 30);
        assert_eq!("0".parse(), Ok(Swap(Memory::Bytes(0))));
        assert_eq!("0%".parse(), Ok(Swap(Memory::Percent(0.0))));
    }

    #[test]
    fn an_invalid_size_is_refused_with_a_reason() {
        let memory = [
            ("", "invalid size"),
            ("much", "invalid size"),
            ("-4G", "invalid size"),
            ("+4G", "invalid size"),
            ("+.5G", "invalid size"),
            (".", "invalid size"),
            ("0%", "is 0 bytes"),
            ("4X", "invalid unit"),
            ("1e9", "invalid unit"),
            ("nan", "invalid size"),
            ("inf", "invalid size"),
            ("4", "less than a process needs"),
            ("0", "less than a process needs"),
            ("99999999999T", "more memory than any machine"),
            ("99999999999999999999", "more memory than any machine"),
            ("18446744073709551615", "more memory than any machine"),
            ("101%", "0% to 100%"),
            ("-1%", "0% to 100%"),
            ("4G4", "invalid unit"),
        ];
        for (text, reason) in memory {
            let error = text.parse::<Memory>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_an_error(text in "[0-9.eE%+-]{0,9}[KMGTi ]{0,3}B?") {
            let _ = text.parse::<Memory>();
        }
    }

    #[test]
    fn swap_without_its_own_limit_is_turned_off() {
        let directory = tempfile::tempdir().unwrap();
        let read = |file: &str| std::fs::read_to_string(directory.path().join(file)).unwrap();
        let set_with = |swap| {
            for file in ["memory.max", "memory.oom.group", SWAP_FILE] {
                std::fs::write(directory.path().join(file), "").unwrap();
            }
            set_memory(directory.path(), 1 << 20, swap).unwrap();
        };
        set_with(None);
        assert_eq!((read("memory.max").as_str(), read(SWAP_FILE).as_str()), ("1048576", "0"));
        // A limit of swap is written separately.
        set_with(Some(1 << 20));
        assert_eq!(read(SWAP_FILE), "");
    }
}
