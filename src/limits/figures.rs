//! The usage figures of one cgroup. Figures that a host cannot measure are absent.

use std::path::Path;

use serde::Serialize;

use crate::containment::cgroup::files::{keyed_value, read_number, read_text};

/// The major number of loop devices, which are backed by a file.
const LOOP: &str = "7:";

/// Times in microseconds, sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// `session`, `command`, `service NAME` or `probe NAME`.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_user_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_system_usec: Option<u64>,
    /// How long its limit kept its processes waiting for a CPU, in total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_throttled_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes_peak: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_read_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_written_bytes: Option<u64>,
    /// How long at least one of its processes waited for a CPU, for memory or for a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_stalled_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_stalled_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_stalled_usec: Option<u64>,
}

impl Figures {
    /// Reads the figures of the cgroup of this directory.
    pub(crate) fn read(name: &str, directory: &Path) -> Self {
        let read = |file| read_text(directory, file);
        let number = |file| read_number(directory, file);
        let cpu = read("cpu.stat").unwrap_or_default();
        let io = read("io.stat");
        let stalled = |file| pressure(&read(file)?);
        Self {
            name: name.to_string(),
            cpu_user_usec: keyed_value(&cpu, "user_usec"),
            cpu_system_usec: keyed_value(&cpu, "system_usec"),
            cpu_throttled_usec: keyed_value(&cpu, "throttled_usec"),
            memory_peak_bytes: number("memory.peak"),
            processes_peak: number("pids.peak"),
            io_read_bytes: io.as_deref().map(|text| sum(text, "rbytes=", is_stacked)),
            io_written_bytes: io.as_deref().map(|text| sum(text, "wbytes=", is_stacked)),
            cpu_stalled_usec: stalled("cpu.pressure"),
            memory_stalled_usec: stalled("memory.pressure"),
            io_stalled_usec: stalled("io.pressure"),
        }
    }
}

/// The sum over `io.stat`: `8:0 rbytes=90112 wbytes=0 rios=2 ...`, a line for each device.
fn sum(text: &str, key: &str, is_stacked: impl Fn(&str) -> bool) -> u64 {
    let lines = text.lines().filter(|line| !line.split(' ').next().is_some_and(&is_stacked));
    let fields = lines.flat_map(str::split_whitespace);
    fields.filter_map(|field| field.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

/// Whether a device is backed by others (loop, device mapper, RAID), for which the same I/O is counted again.
fn is_stacked(device: &str) -> bool {
    let below = std::fs::read_dir(format!("/sys/dev/block/{device}/slaves"));
    device.starts_with(LOOP) || below.is_ok_and(|mut below| below.next().is_some())
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`
fn pressure(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_once("total=")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_of_a_stacked_device_counts_once() {
        let text = "8:0 rbytes=100 wbytes=1\n253:0 rbytes=100 wbytes=1\n8:16 rbytes=7 wbytes=0\n";
        assert_eq!(sum(text, "rbytes=", |device| device == "253:0"), 107);
        assert!(is_stacked("7:0"));
        assert!(!is_stacked("9999:0"));
    }

    #[test]
    fn a_figure_that_is_not_measured_is_absent() {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
        write("cpu.stat", "usage_usec 30\nuser_usec 10\nsystem_usec 20\n");
        write("io.stat", "8:0 rbytes=100 wbytes=1 rios=1 wios=1\n8:16 rbytes=11 wbytes=2 rios=1 wios=1\n");
        write("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 total=5\n");
        let figures = Figures::read("command", directory.path());
        let expected = Figures {
            name: "command".into(),
            cpu_user_usec: Some(10),
            cpu_system_usec: Some(20),
            io_read_bytes: Some(111),
            io_written_bytes: Some(3),
            cpu_stalled_usec: Some(77),
            ..Figures::default()
        };
        assert_eq!(figures, expected);
        let json = serde_json::to_value(&figures).unwrap();
        assert!(json.get("memory_peak_bytes").is_none(), "{json}");
    }
}
