//! What a session used. Read before its cgroups are removed. What a host cannot measure is absent.

use std::path::Path;

use serde::Serialize;

use super::limit_hit::{self, Place, Struck};
use super::oom_log::Victim;
use crate::containment::Containment;
use crate::containment::Leaf;

/// The major number of loop devices, which lie on a file.
const LOOP: &str = "7:";

/// What a session and its parts used.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    pub session: Figures,
    #[serde(rename = "components")]
    pub parts: Vec<Figures>,
    #[serde(rename = "limits_hit")]
    pub struck: Vec<Struck>,
}

/// Times in microseconds, sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// `session`, `command`, `service NAME` or `probe NAME`.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_user_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_system_usec: Option<u64>,
    /// How long its processes were kept from a CPU by its limit, summed up.
    #[serde(rename = "cpu_throttled_usec", skip_serializing_if = "Option::is_none")]
    pub throttled_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes_peak: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_read_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_written_bytes: Option<u64>,
    /// How long some of its processes waited for a CPU, for memory, for a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_stalled_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_stalled_usec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_stalled_usec: Option<u64>,
}

/// One part, for [`Containment::usage`].
pub struct Measured<'a> {
    pub name: String,
    pub leaf: &'a Leaf,
    /// Its first process, where a SIGKILL that was not ours has ended it.
    pub killed: Option<Victim>,
}

impl Measured<'_> {
    fn place(&self) -> Option<Place> {
        let path = self.leaf.cgroup()?.path().to_path_buf();
        Some(Place { name: self.name.clone(), path, killed: self.killed.clone() })
    }
}

/// The parts of a session, for a guardian, who knows them by their directories only.
fn places_in(session: &Path) -> Vec<Place> {
    let entries = std::fs::read_dir(session).into_iter().flatten().flatten();
    let mut places: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_ours = name == "command" || name.starts_with("service.") || name.starts_with("probe.");
            let is_ours = is_ours && entry.file_type().is_ok_and(|it| it.is_dir());
            is_ours.then(|| Place { name: readable(&name), path: entry.path(), killed: None })
        })
        .collect();
    // As where they are known: the command comes last.
    places.sort_by_key(|place| (place.name == "command", place.name.clone()));
    places
}

/// `service web`, of the leaf `service.web`.
pub fn readable(leaf: &str) -> String {
    leaf.replacen('.', " ", 1)
}

impl Containment {
    /// Whether it has any limit.
    pub fn is_limited(&self) -> bool {
        !self.limited.is_nothing()
    }

    /// What was used so far; `None` where nothing but a cgroup could measure it.
    pub fn usage(&self, parts: &[Measured<'_>]) -> Option<Usage> {
        let session = self.path()?;
        let parts: Vec<_> = parts.iter().filter_map(Measured::place).collect();
        let parts = if parts.is_empty() { places_in(session) } else { parts };
        let figures = parts.iter().map(|part| Figures::read(&part.name, &part.path)).collect();
        let mut usage =
            Usage { session: Figures::read("session", session), parts: figures, struck: Vec::new() };
        // A fork that the session's limit refuses counts in the part for a moment.
        for part in &mut usage.parts {
            part.processes_peak = part.processes_peak.min(usage.session.processes_peak);
        }
        if self.is_limited() {
            usage.struck = limit_hit::find(&self.limited, session, &parts, &usage.parts);
        }
        Some(usage)
    }
}

impl Figures {
    fn read(name: &str, directory: &Path) -> Self {
        let read = |file| read(directory, file);
        let number = |file| number(directory, file);
        let cpu = read("cpu.stat").unwrap_or_default();
        let io = read("io.stat");
        let stalled = |file| pressure(&read(file)?);
        Self {
            name: name.to_string(),
            cpu_user_usec: value(&cpu, "user_usec"),
            cpu_system_usec: value(&cpu, "system_usec"),
            throttled_usec: value(&cpu, "throttled_usec"),
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

/// What cannot be read is not measured here: no such controller, or pressure turned off.
fn read(directory: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(directory.join(file)).ok()
}

pub fn keyed(directory: &Path, file: &str, key: &str) -> Option<u64> {
    value(&read(directory, file)?, key)
}

/// Of a flat keyed file: `user_usec 123`.
fn value(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key)?.1.parse().ok()
}

pub fn number(directory: &Path, file: &str) -> Option<u64> {
    read(directory, file)?.trim().parse().ok()
}

/// Whether it has as many processes as it may; without a limit it cannot.
pub fn is_full(directory: &Path) -> bool {
    let (current, most) = (number(directory, "pids.current"), number(directory, "pids.max"));
    current.zip(most).is_some_and(|(current, most)| current >= most)
}

/// Of `io.stat`: `8:0 rbytes=90112 wbytes=0 rios=2 ...`, a line for each device.
fn sum(text: &str, key: &str, is_stacked: impl Fn(&str) -> bool) -> u64 {
    let lines = text.lines().filter(|line| !line.split(' ').next().is_some_and(&is_stacked));
    let fields = lines.flat_map(str::split_whitespace);
    fields.filter_map(|field| field.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

/// A device that hands on to others what it is given (loop, device mapper, RAID): that counts there too.
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
    fn what_a_device_hands_on_counts_once() {
        let text = "8:0 rbytes=100 wbytes=1\n253:0 rbytes=100 wbytes=1\n8:16 rbytes=7 wbytes=0\n";
        assert_eq!(sum(text, "rbytes=", |device| device == "253:0"), 107);
        assert!(is_stacked("7:0"));
        assert!(!is_stacked("9999:0"));
    }

    #[test]
    fn a_guardian_finds_the_parts() {
        let directory = tempfile::tempdir().unwrap();
        for leaf in ["command", "service.web", "probe.web", "namespace", "of-the-command"] {
            std::fs::create_dir(directory.path().join(leaf)).unwrap();
        }
        let names: Vec<_> = places_in(directory.path()).into_iter().map(|place| place.name).collect();
        assert_eq!(names, ["probe web", "service web", "command"]);
    }

    #[test]
    fn figures_are_read_and_what_is_not_there_is_absent() {
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

    #[test]
    fn a_cgroup_is_full_at_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
        assert!(!is_full(directory.path()));
        write("pids.current", "5\n");
        for (most, full) in [("max\n", false), ("6\n", false), ("5\n", true), ("4\n", true)] {
            write("pids.max", most);
            assert_eq!(is_full(directory.path()), full, "{most}");
        }
    }
}
