//! The limits of one cgroup in the kernel's terms.

use std::collections::BTreeSet;

use super::cpuset::CpuSet;
use super::limit::{Controller, Limit, limits_set_in};
use crate::text::Bytes;

/// The bounds of one cgroup.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    pub memory: Option<u64>,
    pub swap: Option<u64>,
    pub pids: Option<u64>,
    pub cpus: Option<f64>,
    pub io_weight: Option<u16>,
    pub cpuset: Option<CpuSet>,
}

impl Bounds {
    /// The limits that are set.
    pub(crate) fn limits(&self) -> Vec<Limit> {
        limits_set_in!(self)
    }

    pub(crate) fn controllers(&self) -> BTreeSet<Controller> {
        self.limits().into_iter().map(Limit::controller).collect()
    }

    /// One sentence for each limit that exceeds `outer`. `whose` and `has` name the two cgroups for people.
    pub(crate) fn excess(&self, outer: &Self, whose: &str, has: &str) -> Vec<String> {
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
        let sentence = |(what, there)| format!("{whose} limit of {what} exceeds {has} ({there})");
        found.into_iter().flatten().map(sentence).collect()
    }

    /// The limits of a component that do not fit into those of its session.
    pub(crate) fn within(&self, session: &Self, whose: &str) -> Misfits {
        let warnings = self.excess(session, whose, "the whole session's");
        let cpusets = self.cpuset.as_ref().zip(session.cpuset.as_ref());
        let disjoint = cpusets.filter(|(ours, theirs)| ours.0.is_disjoint(&theirs.0));
        let impossible = disjoint.map(|(ours, theirs)| {
            (Limit::Cpuset, format!("{ours} contains none of the session's CPUs, which are {theirs}"))
        });
        Misfits { warnings, impossible: impossible.into_iter().collect() }
    }

    /// Removes this limit.
    pub(crate) fn give_up(&mut self, limit: Limit) {
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

/// Limits that do not fit.
#[derive(Debug, Default)]
pub(crate) struct Misfits {
    /// Limits above what is available, which do no harm.
    pub warnings: Vec<String>,
    /// Limits too low for anything to run, with the reason.
    pub impossible: Vec<(Limit, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_cannot_have_more_than_its_session() {
        let session = Bounds {
            memory: Some(1 << 30),
            cpus: Some(1.0),
            cpuset: Some("0-1".parse().unwrap()),
            ..Bounds::default()
        };
        let component = Bounds {
            memory: Some(2 << 30),
            cpus: Some(1.0),
            pids: Some(7),
            cpuset: Some("1-2".parse().unwrap()),
            ..Bounds::default()
        };
        let misfits = component.within(&session, "service api's");
        assert!(misfits.impossible.is_empty(), "{misfits:?}");
        assert_eq!(
            misfits.warnings,
            [
                "service api's limit of 2 GiB of memory exceeds the whole session's (1 GiB)",
                "service api's limit of the CPUs 1-2 exceeds the whole session's (0-1)"
            ]
        );
        let component = Bounds { cpuset: Some("2".parse().unwrap()), ..Bounds::default() };
        let misfits = component.within(&session, "service api's");
        let why = "2 contains none of the session's CPUs, which are 0-1";
        assert_eq!(misfits.impossible, [(Limit::Cpuset, why.to_string())]);
    }
}
