//! The resources of this host, and the bounds that configured limits mean on it.

use std::path::Path;

use anyhow::Result;

use super::bounds::{Bounds, Misfits};
use super::cpus::LEAST_CPUS;
use super::cpuset::CpuSet;
use super::limit::Limit;
use super::limits_config::Limits;
use super::memory::LEAST_MEMORY;
use crate::text::Bytes;

/// The resources of this host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    memory: u64,
    swap: u64,
    cpus: CpuSet,
    pids: u64,
}

impl Host {
    /// Reads `/proc` and `/sys`.
    pub(super) fn read() -> Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path).map_err(|error| {
                anyhow::anyhow!(
                    "cannot read this host's resources from {path}: {error}; are /proc and /sys mounted?"
                )
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

    /// The bounds that `limits` mean on this host, without those too low for anything to run. `whose` is for
    /// people.
    pub(super) fn bounds(&self, limits: &Limits, whose: &str) -> (Bounds, Misfits) {
        let mut bounds = Bounds {
            memory: limits.memory.map(|memory| memory.bytes(self.memory)),
            swap: limits.swap.map(|swap| swap.0.bytes(self.swap)),
            pids: limits.pids.map(|pids| pids.0),
            cpus: limits.cpus.map(|cpus| cpus.count(self.cpus.0.len())),
            io_weight: limits.io_weight.map(|weight| weight.0),
            cpuset: limits.cpuset.clone(),
        };
        let warnings = bounds.excess(&self.all(), whose, "what this host has");
        // The kernel refuses a set with a CPU that does not exist.
        if let Some(set) = &mut bounds.cpuset {
            set.0.retain(|cpu| self.cpus.0.contains(cpu));
        }
        let impossible = self.impossible(&bounds, limits);
        impossible.iter().for_each(|(limit, _)| bounds.give_up(*limit));
        (bounds, Misfits { warnings, impossible })
    }

    fn impossible(&self, bounds: &Bounds, limits: &Limits) -> Vec<(Limit, String)> {
        let mut found = Vec::new();
        if let Some(memory) = bounds.memory.filter(|memory| *memory < LEAST_MEMORY) {
            let (memory, least) = (Bytes(memory), Bytes(LEAST_MEMORY));
            let why = format!("it comes to {memory} here, less than a process needs to start ({least})");
            found.push((Limit::Memory, why));
        }
        if let Some(cpus) = bounds.cpus.filter(|cpus| *cpus < LEAST_CPUS) {
            let why =
                format!("it comes to {cpus} CPUs here, and the kernel grants no less than {LEAST_CPUS}");
            found.push((Limit::Cpus, why));
        }
        if let Some((set, asked)) = bounds.cpuset.as_ref().zip(limits.cpuset.as_ref()) {
            if set.0.is_empty() {
                let why = format!("{asked} contains none of this host's CPUs, which are {}", self.cpus);
                found.push((Limit::Cpuset, why));
            }
        }
        found
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
    use crate::limits::cpus::Cpus;
    use crate::limits::limit::Controller;
    use crate::limits::memory::Memory;
    use crate::limits::pids::Pids;
    use std::collections::BTreeSet;

    fn host() -> Host {
        Host { memory: 8 << 30, swap: 0, cpus: "0-3".parse().unwrap(), pids: 32768 }
    }

    #[test]
    fn shares_are_relative_to_this_host() {
        let limits = Limits {
            memory: Some(Memory::Percent(50.0)),
            cpus: Some(Cpus::Percent(50.0)),
            ..Limits::default()
        };
        let (bounds, misfits) = host().bounds(&limits, "the session's");
        assert!(misfits.impossible.is_empty(), "{misfits:?}");
        assert_eq!((bounds.memory, bounds.cpus), (Some(4 << 30), Some(2.0)));
        assert_eq!(bounds.controllers(), BTreeSet::from([Controller::Memory, Controller::Cpu]));
        assert_eq!(misfits.warnings, [""; 0]);
    }

    #[test]
    fn more_than_the_host_has_is_a_warning_and_too_little_to_run_is_impossible() {
        let limits = Limits {
            memory: Some(Memory::Bytes(16 << 30)),
            cpus: Some(Cpus::Count(4.5)),
            pids: Some(Pids(40_000)),
            cpuset: Some("3-4".parse().unwrap()),
            ..Limits::default()
        };
        let (bounds, misfits) = host().bounds(&limits, "the session's");
        assert!(misfits.impossible.is_empty(), "{misfits:?}");
        // The kernel would refuse the other CPU.
        assert_eq!(bounds.cpuset, Some("3".parse().unwrap()));
        assert_eq!(misfits.warnings.len(), 4, "{misfits:?}");
        assert_eq!(
            misfits.warnings[0],
            "the session's limit of 16 GiB of memory exceeds what this host has (8 GiB)"
        );
        for limits in [
            Limits { memory: Some(Memory::Percent(0.001)), ..Limits::default() },
            Limits { cpus: Some(Cpus::Percent(0.1)), ..Limits::default() },
            Limits { cpuset: Some("7".parse().unwrap()), ..Limits::default() },
        ] {
            let (bounds, misfits) = host().bounds(&limits, "the session's");
            assert_eq!((bounds, misfits.impossible.len()), (Bounds::default(), 1), "{limits:?}");
        }
    }
}
