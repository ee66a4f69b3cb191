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
        let mut warn = |what: String, has: String| {
            warnings.push(format!("{whose} limit of {what} is more than this host has ({has})"));
        };
        if let Some(memory) = memory.filter(|memory| *memory > self.memory) {
            warn(format!("{} of memory", in_units(memory)), in_units(self.memory).to_string());
        }
        if let Some(swap) = swap.filter(|swap| *swap > self.swap) {
            warn(format!("{} of swap", in_units(swap)), in_units(self.swap).to_string());
        }
        if let Some(cpus) = cpus.filter(|cpus| *cpus > online as f64) {
            warn(format!("{cpus} CPUs"), online.to_string());
        }
        if let Some(pids) = pids.filter(|pids| *pids > self.pids) {
            warn(format!("{pids} processes"), self.pids.to_string());
        }
        if let Some(set) = limits.cpuset.as_ref().filter(|set| !set.0.is_subset(&self.cpus.0)) {
            warn(format!("the CPUs {set}"), self.cpus.to_string());
        }
        let (io_weight, cpuset) = (limits.io_weight.map(|weight| weight.0), limits.cpuset.clone());
        Ok(Bounds { memory, swap, pids, cpus, io_weight, cpuset })
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
