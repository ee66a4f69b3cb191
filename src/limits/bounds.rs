//! Limits in the kernel's own terms, on this host.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::limit::{Controller, Limit};
use super::size::{CpuSet, LEAST_CPUS, LEAST_MEMORY};
use crate::config::Limits;
use crate::text::Bytes;

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
    /// What is limited here.
    pub fn limits(&self) -> Vec<Limit> {
        let wanted = [
            (self.memory.is_some(), Limit::Memory),
            (self.swap.is_some(), Limit::Swap),
            (self.pids.is_some(), Limit::Pids),
            (self.cpus.is_some(), Limit::Cpus),
            (self.io_weight.is_some(), Limit::IoWeight),
            (self.cpuset.is_some(), Limit::Cpuset),
        ];
        wanted.into_iter().filter_map(|(wanted, limit)| wanted.then_some(limit)).collect()
    }

    pub fn controllers(&self) -> BTreeSet<Controller> {
        self.limits().into_iter().map(Limit::controller).collect()
    }

    /// What of this is more than there is in `outer`; `has` says whose that is.
    fn beyond(&self, outer: &Self, whose: &str, has: &str) -> Vec<String> {
        let bytes = |what: &str, ours: Option<u64>, theirs: Option<u64>| {
            let (ours, theirs) = ours.zip(theirs).filter(|(ours, theirs)| ours > theirs)?;
            Some((format!("{} of {what}", Bytes(ours)), Bytes(theirs).to_string()))
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

    /// What a part asks for beyond what the session it is in may use, and what it cannot have at all.
    pub fn within(&self, session: &Self, whose: &str, warnings: &mut Vec<String>) -> Option<Unfit> {
        warnings.extend(self.beyond(session, whose, "the whole session's"));
        let (ours, theirs) = self.cpuset.as_ref().zip(session.cpuset.as_ref())?;
        let why = format!("{ours} has no CPU of the whole session's, which are {theirs}");
        ours.0.is_disjoint(&theirs.0).then_some(Unfit { limit: Limit::Cpuset, why })
    }

    /// Does without it.
    pub fn give_up(&mut self, limit: Limit) {
        match limit {
            Limit::Memory => self.memory = None,
            Limit::Swap => self.swap = None,
            Limit::Pids => self.pids = None,
            Limit::Cpus => self.cpus = None,
            Limit::IoWeight => self.io_weight = None,
            Limit::Cpuset => self.cpuset = None,
        }
    }
}

/// A limit that nothing could live within here.
#[derive(Debug)]
pub struct Unfit {
    pub limit: Limit,
    pub why: String,
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

    /// What `limits` mean here, without those that nothing could live within. Where they are more than
    /// there is, that is said; `whose` is for people.
    pub fn bounds(&self, limits: &Limits, whose: &str, warnings: &mut Vec<String>) -> (Bounds, Vec<Unfit>) {
        let mut bounds = Bounds {
            memory: limits.memory.map(|memory| memory.of(self.memory)),
            swap: limits.swap.map(|swap| swap.0.of(self.swap)),
            pids: limits.pids.map(|pids| pids.0),
            cpus: limits.cpus.map(|cpus| cpus.of(self.cpus.0.len())),
            io_weight: limits.io_weight.map(|weight| weight.0),
            cpuset: limits.cpuset.clone(),
        };
        warnings.extend(bounds.beyond(&self.all(), whose, "this host has"));
        // The kernel refuses a set with one that is not there.
        if let Some(set) = &mut bounds.cpuset {
            set.0.retain(|cpu| self.cpus.0.contains(cpu));
        }
        let unfit = self.unfit(&bounds, limits);
        unfit.iter().for_each(|it| bounds.give_up(it.limit));
        (bounds, unfit)
    }

    fn unfit(&self, bounds: &Bounds, limits: &Limits) -> Vec<Unfit> {
        let mut unfit = Vec::new();
        if let Some(memory) = bounds.memory.filter(|memory| *memory < LEAST_MEMORY) {
            let (memory, least) = (Bytes(memory), Bytes(LEAST_MEMORY));
            let why = format!("it comes to {memory} here, less than a process needs to start ({least})");
            unfit.push(Unfit { limit: Limit::Memory, why });
        }
        if let Some(cpus) = bounds.cpus.filter(|cpus| *cpus < LEAST_CPUS) {
            let why =
                format!("it comes to {cpus} CPUs here, and the kernel grants no less than {LEAST_CPUS}");
            unfit.push(Unfit { limit: Limit::Cpus, why });
        }
        if let Some((set, asked)) = bounds.cpuset.as_ref().zip(limits.cpuset.as_ref())
            && set.0.is_empty()
        {
            let why = format!("{asked} has no CPU of this host, which are {}", self.cpus);
            unfit.push(Unfit { limit: Limit::Cpuset, why });
        }
        unfit
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
    use crate::limits::size::{Cpus, Memory, Pids};

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
        let (bounds, unfit) = host().bounds(&limits, "the session's", &mut warnings);
        assert!(unfit.is_empty(), "{unfit:?}");
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
        let mut warnings = Vec::new();
        assert!(part.within(&session, "service api's", &mut warnings).is_none());
        assert_eq!(
            warnings,
            [
                "service api's limit of 2 GiB of memory is more than the whole session's (1 GiB)",
                "service api's limit of the CPUs 1-2 is more than the whole session's (0-1)"
            ]
        );
        let part = Bounds { cpuset: Some("2".parse().unwrap()), ..Bounds::default() };
        let unfit = part.within(&session, "service api's", &mut warnings).unwrap();
        assert_eq!(unfit.why, "2 has no CPU of the whole session's, which are 0-1");
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
        let (bounds, unfit) = host().bounds(&limits, "the session's", &mut warnings);
        assert!(unfit.is_empty(), "{unfit:?}");
        // The kernel would refuse the other.
        assert_eq!(bounds.cpuset, Some("3".parse().unwrap()));
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert_eq!(warnings[0], "the session's limit of 16 GiB of memory is more than this host has (8 GiB)");
        for limits in [
            Limits { memory: Some(Memory::Percent(0.001)), ..Limits::default() },
            Limits { cpus: Some(Cpus::Percent(0.1)), ..Limits::default() },
            Limits { cpuset: Some("7".parse().unwrap()), ..Limits::default() },
        ] {
            let (bounds, unfit) = host().bounds(&limits, "the session's", &mut warnings);
            assert_eq!((bounds, unfit.len()), (Bounds::default(), 1), "{limits:?}");
        }
    }
}
