//! Limits in the kernel's own terms, on this host.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};

use crate::config::Limits;
use crate::size::{CpuSet, LEAST_CPUS, LEAST_MEMORY, in_units};

/// A controller of cgroup v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
    Io,
    Cpuset,
}

impl Controller {
    /// Those by which something can be limited.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Pids, Self::Cpu, Self::Cpuset, Self::Io];

    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Cpuset => "cpuset",
        }
    }
}

/// What one cgroup may use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    pub memory: Option<u64>,
    pub swap: Option<u64>,
    pub pids: Option<u64>,
    pub cpus: Option<f64>,
    pub io_weight: Option<u16>,
    pub cpuset: Option<CpuSet>,
}

impl Bounds {
    pub fn controllers(&self) -> BTreeSet<Controller> {
        let wanted = [
            (self.memory.is_some() || self.swap.is_some(), Controller::Memory),
            (self.pids.is_some(), Controller::Pids),
            (self.cpus.is_some(), Controller::Cpu),
            (self.io_weight.is_some(), Controller::Io),
            (self.cpuset.is_some(), Controller::Cpuset),
        ];
        wanted.into_iter().filter_map(|(wanted, controller)| wanted.then_some(controller)).collect()
    }

    /// What of this is more than there is in `outer`; `has` says whose that is.
    fn beyond(&self, outer: &Self, whose: &str, has: &str) -> Vec<String> {
        let bytes = |what: &str, ours: Option<u64>, theirs: Option<u64>| {
            let (ours, theirs) = ours.zip(theirs).filter(|(ours, theirs)| ours > theirs)?;
            Some((format!("{} of {what}", in_units(ours)), in_units(theirs).to_string()))
        };
        let pids = self.pids.zip(outer.pids).filter(|(ours, theirs)| ours > theirs);
        let cpus = self.cpus.zip(outer.cpus).filter(|(ours, theirs)| ours > theirs);
        let cpuset = self.cpuset.as_ref().zip(outer.cpuset.as_ref());
        let cpuset = cpuset.filter(|(ours, theirs)| !ours.0.is_subset(&theirs.0));
        let found = [
            bytes("memory", self.memory, outer.memory),
            bytes("swap", self.swap, outer.swap),
            cpus.map(|(ours, theirs)| (format!("{ours} CPUs"), theirs.to_string())),
            pids.map(|(ours, theirs)| (format!("{ours} processes"), theirs.to_string())),
            cpuset.map(|(ours, theirs)| (format!("the CPUs {ours}"), theirs.to_string())),
        ];
        let say = |(what, there)| format!("{whose} limit of {what} is more than {has} ({there})");
        found.into_iter().flatten().map(say).collect()
    }

    /// What a part asks for beyond what the session it is in may use.
    pub fn beyond_session(&self, session: &Self, whose: &str) -> Vec<String> {
        self.beyond(session, whose, "the whole session's")
    }

    /// Does without what this controller would do.
    pub fn give_up(&mut self, controller: Controller) {
        match controller {
            Controller::Memory => (self.memory, self.swap) = (None, None),
            Controller::Pids => self.pids = None,
            Controller::Cpu => self.cpus = None,
            Controller::Io => self.io_weight = None,
            Controller::Cpuset => self.cpuset = None,
        }
    }
}

/// What there is to share out.
#[derive(Clone, Debug)]
pub struct Host {
    memory: u64,
    swap: u64,
    cpus: CpuSet,
    pids: u64,
}

impl Host {
    pub fn look() -> Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path).map_err(|error| {
                anyhow::anyhow!("cannot tell what this host has: {path}: {error}; is /proc mounted?")
            })
        };
        let memory = read("/proc/meminfo")?;
        let kilobytes = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        let online = Path::new("/sys/devices/system/cpu/online");
        let cpus = read(&online.to_string_lossy())?.trim().parse().map_err(anyhow::Error::msg)?;
        Ok(Self {
            memory: kilobytes("MemTotal").unwrap_or_default() << 10,
            swap: kilobytes("SwapTotal").unwrap_or_default() << 10,
            cpus,
            pids: read("/proc/sys/kernel/pid_max")?.trim().parse().unwrap_or(u64::MAX),
        })
    }

    /// What `limits` mean here, and where that is more than there is. `whose` is for people.
    pub fn bounds(&self, limits: &Limits, whose: &str, warnings: &mut Vec<String>) -> Result<Bounds> {
        let memory = limits.memory.map(|memory| memory.of(self.memory));
        if let Some(memory) = memory.filter(|memory| *memory < LEAST_MEMORY) {
            bail!(
                "{whose} memory limit comes to {} here, less than a process needs to start ({})",
                in_units(memory),
                in_units(LEAST_MEMORY)
            );
        }
        let swap = limits.swap.map(|swap| swap.0.of(self.swap));
        let online = self.cpus.0.len();
        let cpus = limits.cpus.map(|cpus| cpus.of(online));
        if let Some(cpus) = cpus.filter(|cpus| *cpus < LEAST_CPUS) {
            bail!(
                "{whose} share of the CPUs comes to {cpus} here; the kernel grants no less than {LEAST_CPUS}"
            );
        }
        if let Some(set) = &limits.cpuset
            && set.0.is_disjoint(&self.cpus.0)
        {
            bail!("{whose} cpuset {set} has no CPU of this host, which are {}", self.cpus);
        }
        let pids = limits.pids.map(|pids| pids.0);
        let (io_weight, cpuset) = (limits.io_weight.map(|weight| weight.0), limits.cpuset.clone());
        let bounds = Bounds { memory, swap, pids, cpus, io_weight, cpuset };
        warnings.extend(bounds.beyond(&self.all(), whose, "this host has"));
        Ok(bounds)
    }

    fn all(&self) -> Bounds {
        Bounds {
            memory: Some(self.memory),
            swap: Some(self.swap),
            pids: Some(self.pids),
            cpus: Some(self.cpus.0.len() as f64),
            io_weight: None,
            cpuset: Some(self.cpus.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::{Cpus, Memory, Pids};

    fn host() -> Host {
        Host { memory: 8 << 30, swap: 0, cpus: "0-3".parse().unwrap(), pids: 32768 }
    }

    #[test]
    fn shares_are_of_this_host() {
        let limits = Limits {
            memory: Some(Memory::Percent(50.0)),
            cpus: Some(Cpus::Percent(50.0)),
            ..Limits::default()
        };
        let mut warnings = Vec::new();
        let bounds = host().bounds(&limits, "the session's", &mut warnings).unwrap();
        assert_eq!((bounds.memory, bounds.cpus), (Some(4 << 30), Some(2.0)));
        assert_eq!(bounds.controllers(), BTreeSet::from([Controller::Memory, Controller::Cpu]));
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn what_a_part_cannot_have_in_its_session_is_said() {
        let session = Bounds {
            memory: Some(1 << 30),
            cpus: Some(1.0),
            cpuset: Some("0-1".parse().unwrap()),
            ..Bounds::default()
        };
        let part = Bounds {
            memory: Some(2 << 30),
            cpus: Some(1.0),
            pids: Some(7),
            cpuset: Some("1-2".parse().unwrap()),
            ..Bounds::default()
        };
        assert_eq!(
            part.beyond_session(&session, "service api's"),
            [
                "service api's limit of 2 GiB of memory is more than the whole session's (1 GiB)",
                "service api's limit of the CPUs 1,2 is more than the whole session's (0,1)"
            ]
        );
    }

    #[test]
    fn more_than_there_is_is_said_and_nothing_at_all_refused() {
        let limits = Limits {
            memory: Some(Memory::Bytes(16 << 30)),
            cpus: Some(Cpus::Count(4.5)),
            pids: Some(Pids(40_000)),
            cpuset: Some("3-4".parse().unwrap()),
            ..Limits::default()
        };
        let mut warnings = Vec::new();
        host().bounds(&limits, "the session's", &mut warnings).unwrap();
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert_eq!(warnings[0], "the session's limit of 16 GiB of memory is more than this host has (8 GiB)");
        for limits in [
            Limits { memory: Some(Memory::Percent(0.001)), ..Limits::default() },
            Limits { cpus: Some(Cpus::Percent(0.1)), ..Limits::default() },
            Limits { cpuset: Some("7".parse().unwrap()), ..Limits::default() },
        ] {
            assert!(host().bounds(&limits, "the session's", &mut warnings).is_err(), "{limits:?}");
        }
    }
}
