//! Limits of a session and its services: from what was asked for to what its cgroups have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::bounds::{Bounds, Host};
use super::controllers::{self, Changes, Refused};
use super::disks;
use super::limit::{Controller, Limit};
use super::set::set;
use super::usage::readable;
use crate::config::Limits;
use crate::containment::Containment;
use crate::containment::Kind;
use crate::containment::Mount;
use crate::runtime::clock;

/// The processes of ours that a PID namespace takes: its first one, and the one that makes another in it.
const HELPERS: u64 = 2;
/// Turned on besides what is asked for, where they are there: for the figures.
const USEFUL: [Controller; 4] = [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Io];

/// What was asked for.
pub struct Wanted<'a> {
    pub session: &'a Limits,
    /// By the name of the service's leaf.
    pub leaves: Vec<(String, &'a Limits)>,
    /// What cannot be applied is a warning.
    pub best_effort: bool,
}

impl Wanted<'_> {
    pub fn is_nothing(&self) -> bool {
        let none = Limits::default();
        *self.session == none && self.leaves.iter().all(|(_, limits)| **limits == none)
    }
}

/// What a session and its leaves are limited to.
#[derive(Debug, Default)]
pub struct Limited {
    pub session: Bounds,
    leaves: BTreeMap<String, Bounds>,
    best_effort: bool,
    since: Option<Instant>,
    changes: Changes,
}

impl Limited {
    pub fn leaf(&self, name: &str) -> Option<&Bounds> {
        self.leaves.get(name)
    }

    /// For how long.
    pub fn lasted(&self) -> Duration {
        self.since.map(clock::since).unwrap_or_default()
    }

    pub fn is_nothing(&self) -> bool {
        self.controllers().is_empty()
    }

    /// See [`Changes::undo`].
    pub fn give_back(&mut self) {
        self.changes.undo();
    }

    #[cfg(test)]
    pub fn of(session: Bounds, leaf: &str, bounds: Bounds) -> Self {
        Self { session, leaves: [(leaf.to_string(), bounds)].into(), ..Self::default() }
    }

    fn controllers(&self) -> BTreeSet<Controller> {
        std::iter::once(&self.session).chain(self.leaves.values()).flat_map(Bounds::controllers).collect()
    }

    /// Does without what this controller would do.
    fn give_up(&mut self, controller: Controller) {
        for bounds in std::iter::once(&mut self.session).chain(self.leaves.values_mut()) {
            let limits = bounds.limits().into_iter().filter(|limit| limit.controller() == controller);
            limits.for_each(|limit| bounds.give_up(limit));
        }
    }
}

/// Limits a session in which nothing runs yet. What is to be said about that goes to `warnings`. After
/// an error, remove the session, and then call [`Containment::give_back`].
pub fn limit(
    containment: &mut Containment,
    mount: Option<&Mount>,
    wanted: &Wanted<'_>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let (kind, session) = (containment.kind(), containment.path().map(Path::to_path_buf));
    let limited = &mut containment.limited;
    *limited = bounds(wanted, warnings)?;
    let (Some(mount), Some(session)) = (mount, session) else {
        let names: Vec<_> = limited.controllers().into_iter().map(Controller::name).collect();
        *limited = Limited::default();
        if names.is_empty() {
            return Ok(());
        }
        return refuse(&names.join(", "), &Refused::NoCgroup(kind), wanted.best_effort, warnings);
    };
    enable(mount, &session, limited, warnings)?;
    if limited.controllers().contains(&Controller::Io) {
        warnings.extend(disks::ignore_weights(&mount.point, Path::new("/sys")));
    }
    let helpers = if kind == Kind::CgroupAndPidns { HELPERS } else { 0 };
    apply(&mut limited.session, &session, "", helpers, wanted.best_effort, warnings)
}

/// Limits a leaf in which nothing runs yet, as [`limit`] the session.
pub fn limit_leaf(containment: &mut Containment, leaf: &str, warnings: &mut Vec<String>) -> Result<()> {
    let directory = containment.path().map(|session| session.join(leaf));
    // The namespace's first process has a leaf of its own.
    let helpers = if containment.kind() == Kind::CgroupAndPidns { HELPERS - 1 } else { 0 };
    let limited = &mut containment.limited;
    match directory.zip(limited.leaves.get_mut(leaf)) {
        Some((directory, bounds)) => apply(bounds, &directory, leaf, helpers, limited.best_effort, warnings),
        None => Ok(()),
    }
}

/// What was asked for, on this host.
fn bounds(wanted: &Wanted<'_>, warnings: &mut Vec<String>) -> Result<Limited> {
    let host = Host::look()?;
    let (session, unfit) = host.bounds(wanted.session, "the session's", warnings);
    for it in unfit {
        refuse(it.limit.name(), &Refused::Unfit(it.why), wanted.best_effort, warnings)?;
    }
    let mut leaves = BTreeMap::new();
    for (leaf, limits) in &wanted.leaves {
        let whose = format!("{}'s", readable(leaf));
        let (mut bounds, mut unfit) = host.bounds(limits, &whose, warnings);
        unfit.extend(bounds.within(&session, &whose, warnings));
        for it in unfit {
            refuse(&of(it.limit, leaf), &Refused::Unfit(it.why), wanted.best_effort, warnings)?;
            bounds.give_up(it.limit);
        }
        leaves.insert(leaf.clone(), bounds);
    }
    let since = Some(clock::now());
    Ok(Limited { session, leaves, best_effort: wanted.best_effort, since, ..Limited::default() })
}

/// Writes the limits of one cgroup. With best effort, those that the kernel takes.
fn apply(
    bounds: &mut Bounds,
    directory: &Path,
    leaf: &str,
    helpers: u64,
    best_effort: bool,
    warnings: &mut Vec<String>,
) -> Result<()> {
    for limit in bounds.limits() {
        match set(bounds, limit, directory, helpers) {
            Ok(less) => warnings.extend(less.map(|less| format!("{}: {less}", of(limit, leaf)))),
            Err(refused) => {
                refuse(&of(limit, leaf), &refused, best_effort, warnings)?;
                bounds.give_up(limit);
            }
        }
    }
    Ok(())
}

/// `memory`, `memory of service web`.
fn of(limit: Limit, leaf: &str) -> String {
    match leaf {
        "" => limit.name().into(),
        leaf => format!("{} of {}", limit.name(), readable(leaf)),
    }
}

/// Turns on what is needed. With best effort, all that can be had of it.
fn enable(mount: &Mount, session: &Path, limited: &mut Limited, warnings: &mut Vec<String>) -> Result<()> {
    loop {
        let needed = limited.controllers();
        if needed.is_empty() {
            return Ok(());
        }
        let enabled = limited.changes.enable(mount, &needed, &USEFUL);
        let enabled = enabled.and_then(|()| controllers::pass_down(session, &needed, &USEFUL));
        let refused = match enabled {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        // One controller's absence says nothing about the others.
        let missing = match &refused {
            Refused::Hybrid(one) | Refused::NotInKernel(one) => BTreeSet::from([*one]),
            Refused::NotDelegated { controller, .. } => BTreeSet::from([*controller]),
            _ => needed,
        };
        let names: Vec<_> = missing.iter().map(|it| it.name()).collect();
        refuse(&names.join(", "), &refused, limited.best_effort, warnings)?;
        missing.into_iter().for_each(|controller| limited.give_up(controller));
    }
}

fn refuse(what: &str, refused: &Refused, best_effort: bool, warnings: &mut Vec<String>) -> Result<()> {
    let remedy = refused.remedy();
    if !best_effort {
        bail!(
            "cannot limit {what}: {refused}; {remedy}, leave the limit out, or go on without it by \
             --limits-best-effort"
        );
    }
    warnings.push(format!("without a limit of {what}: {refused}; {remedy}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_refused_by_name_and_given_up_alone() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids.max");
        std::fs::write(&pids, "").unwrap();
        let asked = Bounds { pids: Some(50), io_weight: Some(7), swap: Some(0), ..Bounds::default() };
        let mut warnings = Vec::new();
        let mut bounds = asked.clone();
        let error = apply(&mut bounds, directory.path(), "service.web", 0, false, &mut warnings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot limit swap of service web: this kernel has no memory.swap.max; use a kernel with CONFIG_SWAP, \
             booted without swapaccount=0, leave the limit out, or go on without it by --limits-best-effort"
        );
        let mut bounds = asked;
        apply(&mut bounds, directory.path(), "", 2, true, &mut warnings).unwrap();
        assert_eq!(bounds, Bounds { pids: Some(50), ..Bounds::default() });
        assert_eq!(std::fs::read_to_string(&pids).unwrap(), "52");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[1].starts_with("without a limit of io_weight: this kernel has no io.weight; "));
    }

    #[test]
    fn a_cpuset_is_what_the_cgroups_above_grant_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let try_with = |effective: &str| {
            let (mut warnings, mut bounds) = (Vec::new(), Bounds::default());
            bounds.cpuset = Some("1-2".parse().unwrap());
            std::fs::write(directory.path().join("cpuset.cpus"), "").unwrap();
            std::fs::write(directory.path().join("cpuset.cpus.effective"), effective).unwrap();
            apply(&mut bounds, directory.path(), "", 0, false, &mut warnings).map(|()| warnings)
        };
        assert!(try_with("1-2\n").unwrap().is_empty());
        assert_eq!(try_with("2\n").unwrap(), ["cpuset: of the CPUs 1-2 the cgroups above grant 2 only"]);
        let error = try_with("0,3\n").unwrap_err().to_string();
        assert!(error.contains("the cgroups above grant it the CPUs 0,3 only, and none of 1-2"), "{error}");
    }
}
