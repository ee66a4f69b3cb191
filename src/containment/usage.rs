//! What a session used, and which of its limits it met. Read before the cgroups are removed. What a
//! host cannot measure is absent.

use std::path::Path;

use serde::Serialize;

use super::held::Containment;
use super::kmsg::{self, Victim};
use super::leaf::Leaf;

/// Less than this is how any busy program looks under a limit.
const WORTH_A_LINE: u64 = 100_000;

/// What a session and its parts used.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    pub session: Figures,
    pub parts: Vec<Figures>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// A limit that was met. `of` is whose it is, named as in [`Figures`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "limit", rename_all = "lowercase")]
pub enum Struck {
    /// Processes were killed for want of memory.
    Memory {
        /// Absent where it was not the session's own limit, but all of the host's memory.
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        killed: Vec<Killed>,
        /// The one that the kernel chose, where it can be known.
        #[serde(skip_serializing_if = "Option::is_none")]
        victim: Option<Victim>,
    },
    /// Processes or threads could not be started.
    Pids {
        of: String,
        count: u64,
        refused: u64,
        /// Who had most of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        most: Option<String>,
    },
    /// It was kept from the CPUs.
    Cpus { of: String, cpus: f64, throttled_usec: u64, periods: u64, of_periods: u64 },
}

/// How many processes of a part were killed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Killed {
    pub part: String,
    /// Absent where all were: the kernel counts the first one twice then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

/// One part, for [`Containment::usage`].
pub struct Measured<'a> {
    pub name: String,
    pub leaf: &'a Leaf,
    /// Its first process, where a SIGKILL that was not ours has ended it.
    pub killed: Option<Victim>,
}

impl Containment {
    /// Whether it has any limit.
    pub fn is_limited(&self) -> bool {
        !self.limited.is_nothing()
    }

    /// What was used so far; `None` where nothing but a cgroup could measure it.
    pub fn usage(&self, parts: &[Measured<'_>]) -> Option<Usage> {
        let session = self.cgroup_path()?;
        let parts: Vec<_> =
            parts.iter().filter_map(|part| Some((part, part.leaf.cgroup()?.path()))).collect();
        let figures = parts.iter().map(|(part, path)| Figures::read(&part.name, path)).collect();
        let mut usage =
            Usage { session: Figures::read("session", session), parts: figures, struck: Vec::new() };
        if self.is_limited() {
            usage.struck.extend(self.out_of_memory(session, &parts));
            usage.struck.extend(self.out_of_pids(session, &parts, &usage.parts));
            usage.struck.extend(self.throttled(session, &parts));
        }
        Some(usage)
    }

    /// The session and its parts, with their limits.
    fn with_limits<'a>(
        &'a self,
        session: &'a Path,
        parts: &'a [(&Measured<'_>, &'a Path)],
    ) -> impl Iterator<Item = (&'a str, &'a Path, &'a super::bounds::Bounds)> {
        let leaves = parts.iter().filter_map(|(part, path)| {
            let bounds = self.limited.leaf(path.file_name()?.to_str()?)?;
            Some((part.name.as_str(), *path, bounds))
        });
        std::iter::once(("session", session, &self.limited.session)).chain(leaves)
    }

    /// The kernel counts the want of memory where the limit is, and the killed where they were.
    fn out_of_memory(&self, session: &Path, parts: &[(&Measured<'_>, &Path)]) -> Vec<Struck> {
        let killed_in = |path: &Path| keyed(path, "memory.events", "oom_kill").unwrap_or_default();
        if killed_in(session) == 0 {
            return Vec::new();
        }
        let one_by_one = keyed(session, "memory.events", "oom_group_kill") == Some(0);
        let victims = kmsg::victims(session);
        let mut left: Vec<_> = parts.to_vec();
        let mut struck = Vec::new();
        let mut strike = |of: Option<&str>, bytes, among: &[(&Measured<'_>, &Path)]| {
            let killed =
                among.iter().map(|(part, path)| (part, killed_in(path))).filter(|(_, count)| *count > 0);
            let killed: Vec<_> = killed
                .map(|(part, processes)| Killed {
                    part: part.name.clone(),
                    processes: one_by_one.then_some(processes),
                })
                .collect();
            let told = victims.iter().find(|(place, _)| among.iter().any(|(_, path)| place.is_in(path)));
            let seen = || {
                let mut dead = among.iter().filter(|(_, path)| killed_in(path) > 0);
                dead.find_map(|(part, _)| part.killed.clone())
            };
            let victim = told.map(|(_, victim)| victim.clone()).or_else(seen);
            if !killed.is_empty() {
                struck.push(Struck::Memory { of: of.map(str::to_string), bytes, killed, victim });
            }
        };
        for (name, path, bounds) in self.with_limits(session, parts).skip(1) {
            if keyed(path, "memory.events.local", "oom").unwrap_or_default() > 0 {
                let (mine, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, it)| *it == path);
                strike(Some(name), bounds.memory, &mine);
                left = others;
            }
        }
        let ours = keyed(session, "memory.events.local", "oom").unwrap_or_default() > 0;
        strike(ours.then_some("session"), self.limited.session.memory.filter(|_| ours), &left);
        struck
    }

    /// Before Linux 6.11 the refusal was counted where the fork was, not where the limit is.
    fn out_of_pids(
        &self,
        session: &Path,
        parts: &[(&Measured<'_>, &Path)],
        figures: &[Figures],
    ) -> Vec<Struck> {
        let refused = |path: &Path| {
            let local = keyed(path, "pids.events.local", "max");
            local.or_else(|| keyed(path, "pids.events", "max")).unwrap_or_default()
        };
        let counts_at_the_limit = session.join("pids.events.local").exists();
        let mut struck = Vec::new();
        for (name, path, bounds) in self.with_limits(session, parts) {
            let Some(count) = bounds.pids else { continue };
            let is_session = path == session;
            let unlimited = |path: &Path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                self.limited.leaf(name).is_none_or(|bounds| bounds.pids.is_none())
            };
            let refused = if is_session && !counts_at_the_limit {
                parts.iter().filter(|(_, it)| unlimited(it)).map(|(_, it)| refused(it)).sum()
            } else {
                refused(path)
            };
            if refused > 0 {
                let most = figures.iter().max_by_key(|it| it.processes_peak).map(|it| it.name.clone());
                let most = most.filter(|_| is_session);
                struck.push(Struck::Pids { of: name.to_string(), count, refused, most });
            }
        }
        struck
    }

    fn throttled(&self, session: &Path, parts: &[(&Measured<'_>, &Path)]) -> Vec<Struck> {
        let mut struck = Vec::new();
        for (name, path, bounds) in self.with_limits(session, parts) {
            let Some(cpus) = bounds.cpus else { continue };
            let read = |key| keyed(path, "cpu.stat", key).unwrap_or_default();
            let throttled_usec = read("throttled_usec");
            if throttled_usec >= WORTH_A_LINE {
                struck.push(Struck::Cpus {
                    of: name.to_string(),
                    cpus,
                    throttled_usec,
                    periods: read("nr_throttled"),
                    of_periods: read("nr_periods"),
                });
            }
        }
        struck
    }
}

impl Figures {
    fn read(name: &str, directory: &Path) -> Self {
        let read = |file| read(directory, file);
        let number = |file| read(file)?.trim().parse().ok();
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
            io_read_bytes: io.as_deref().map(|text| sum(text, "rbytes=")),
            io_written_bytes: io.as_deref().map(|text| sum(text, "wbytes=")),
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

fn keyed(directory: &Path, file: &str, key: &str) -> Option<u64> {
    value(&read(directory, file)?, key)
}

/// Of a flat keyed file: `user_usec 123`.
fn value(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key)?.1.parse().ok()
}

/// Of `io.stat`: `8:0 rbytes=90112 wbytes=0 rios=2 ...`, a line for each device.
fn sum(text: &str, key: &str) -> u64 {
    let fields = text.split_whitespace().filter_map(|field| field.strip_prefix(key)?.parse::<u64>().ok());
    fields.sum()
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
}
