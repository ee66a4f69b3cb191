//! Applies the configured limits to the session's cgroups.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};

use super::applied_limits::AppliedLimits;
use super::bounds::Bounds;
use super::controllers;
use super::host::Host;
use super::limit::{Controller, Limit};
use super::limits_config::Limits;
use super::profile_limits::ProfileLimits;
use super::refused::Refused;
use super::{cpus, cpuset, io_weight, memory, pids};
use crate::containment::{Containment, Kind, LeafName, Mount};
use crate::runtime::clock;

/// The number of our own processes in a PID namespace: its first process, and a helper that starts each
/// program in it.
const HELPERS: u64 = 2;
/// Controllers that are also turned on if available, for the usage figures.
const USEFUL: [Controller; 4] = [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Io];

/// The limits that were configured.
pub(crate) struct ConfiguredLimits<'a> {
    pub session: &'a Limits,
    pub leaves: Vec<(LeafName, &'a Limits)>,
    /// Those of the session that come from a profile.
    pub of_profile: Option<&'a ProfileLimits>,
    /// A limit that cannot be applied is a warning, not an error.
    pub best_effort: bool,
}

impl ConfiguredLimits<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        let none = Limits::default();
        *self.session == none && self.leaves.iter().all(|(_, limits)| **limits == none)
    }
}

impl AppliedLimits {
    /// Limits a session in which nothing runs yet. After an error, remove the session, and then call
    /// [`restore`](Self::restore).
    pub(crate) fn apply(
        &mut self,
        configured: &ConfiguredLimits<'_>,
        containment: &Containment,
        mount: Option<&Mount>,
    ) -> Result<()> {
        self.best_effort = configured.best_effort;
        self.of_profile = configured.of_profile.cloned();
        self.set_bounds(configured)?;
        let (Some(mount), Some(session)) = (mount, containment.path()) else {
            let names: Vec<_> = self.controllers().into_iter().map(Controller::name).collect();
            let limits = self.session.limits();
            (self.session, self.leaves) = Default::default();
            return match names.is_empty() {
                true => Ok(()),
                false => self.refuse(&names.join(", "), &limits, &Refused::NoCgroup(containment.kind())),
            };
        };
        self.enable(mount, session)?;
        if self.controllers().contains(&Controller::Io) {
            self.warnings.extend(io_weight::why_ineffective(&mount.point, Path::new("/sys")));
        }
        let helpers = if containment.kind() == Kind::CgroupAndPidns { HELPERS } else { 0 };
        let mut bounds = std::mem::take(&mut self.session);
        let applied = self.write(&mut bounds, session, None, helpers);
        self.session = bounds;
        applied
    }

    /// Limits a leaf in which nothing runs yet.
    pub(crate) fn apply_to_leaf(&mut self, leaf: &LeafName, containment: &Containment) -> Result<()> {
        let directory = containment.path().map(|session| session.join(leaf.to_string()));
        let Some((directory, mut bounds)) = directory.zip(self.leaves.get(leaf).cloned()) else {
            return Ok(());
        };
        // The namespace's first process has a leaf of its own.
        let helpers = if containment.kind() == Kind::CgroupAndPidns { HELPERS - 1 } else { 0 };
        let applied = self.write(&mut bounds, &directory, Some(leaf), helpers);
        self.leaves.insert(leaf.clone(), bounds);
        applied
    }

    /// Converts the configured limits to bounds on this host.
    fn set_bounds(&mut self, configured: &ConfiguredLimits<'_>) -> Result<()> {
        let host = Host::read()?;
        let (session, misfits) = host.bounds(configured.session, "the session's");
        self.warnings.extend(misfits.warnings);
        for (limit, why) in misfits.impossible {
            self.refuse(limit.name(), &[limit], &Refused::Impossible(why))?;
        }
        for (leaf, limits) in &configured.leaves {
            let whose = format!("{}'s", leaf.title());
            let (mut bounds, mut misfits) = host.bounds(limits, &whose);
            let inside = bounds.within(&session, &whose);
            misfits.warnings.extend(inside.warnings);
            misfits.impossible.extend(inside.impossible);
            self.warnings.extend(misfits.warnings);
            for (limit, why) in misfits.impossible {
                self.refuse(&name_of(limit, Some(leaf)), &[], &Refused::Impossible(why))?;
                bounds.give_up(limit);
            }
            self.leaves.insert(leaf.clone(), bounds);
        }
        self.session = session;
        self.since = Some(clock::now());
        Ok(())
    }

    /// Writes the limits of one cgroup. With best effort, skips those that the kernel refuses.
    fn write(
        &mut self,
        bounds: &mut Bounds,
        directory: &Path,
        leaf: Option<&LeafName>,
        helpers: u64,
    ) -> Result<()> {
        for limit in bounds.limits() {
            match set(bounds, limit, directory, helpers) {
                Ok(less) => {
                    self.warnings.extend(less.map(|less| format!("{}: {less}", name_of(limit, leaf))));
                }
                Err(refused) => {
                    let of_session = if leaf.is_none() { &[limit][..] } else { &[] };
                    self.refuse(&name_of(limit, leaf), of_session, &refused)?;
                    bounds.give_up(limit);
                }
            }
        }
        Ok(())
    }

    /// Turns on the required controllers. With best effort, skips those that are unavailable.
    fn enable(&mut self, mount: &Mount, session: &Path) -> Result<()> {
        loop {
            let needed = self.controllers();
            if needed.is_empty() {
                return Ok(());
            }
            let enabled = self.delegation.enable(mount, &needed, &USEFUL);
            let enabled = enabled.and_then(|()| controllers::pass_down(session, &needed, &USEFUL));
            let refused = match enabled {
                Ok(()) => return Ok(()),
                Err(refused) => refused.shown_in(mount),
            };
            // The absence of one controller says nothing about the others.
            let missing = match &refused {
                Refused::Hybrid(one) | Refused::NotInKernel(one) => BTreeSet::from([*one]),
                Refused::NotDelegated { controller, .. } => BTreeSet::from([*controller]),
                _ => needed,
            };
            let names: Vec<_> = missing.iter().map(|it| it.name()).collect();
            let mut limits = self.session.limits();
            limits.retain(|limit| missing.contains(&limit.controller()));
            self.refuse(&names.join(", "), &limits, &refused)?;
            missing.into_iter().for_each(|controller| self.give_up(controller));
        }
    }

    /// Returns an error, or with best effort adds a warning. `of_session` are the limits of the session that it is about.
    fn refuse(&mut self, what: &str, of_session: &[Limit], refused: &Refused) -> Result<()> {
        let remedy = refused.remedy();
        let what =
            what.to_string() + &self.of_profile.as_ref().map(|it| it.note(of_session)).unwrap_or_default();
        if !self.best_effort {
            bail!(
                "cannot limit {what}: {refused}; {remedy}, remove the limit, or pass --limits-best-effort to run \
                 without it"
            );
        }
        self.warnings.push(format!("running without a limit on {what}: {refused}; {remedy}"));
        Ok(())
    }
}

/// Writes one limit of a cgroup and checks that the kernel accepted it. `helpers` is the number of our own
/// processes in the cgroup. Returns a sentence if less was granted than requested.
fn set(bounds: &Bounds, limit: Limit, directory: &Path, helpers: u64) -> Result<Option<String>, Refused> {
    let set = match limit {
        Limit::Memory => bounds.memory.map(|bytes| memory::set_memory(directory, bytes, bounds.swap)),
        Limit::Swap => bounds.swap.map(|bytes| memory::set_swap(directory, bytes)),
        Limit::Pids => bounds.pids.map(|count| pids::set_pids(directory, count + helpers)),
        Limit::Cpus => bounds.cpus.map(|cpus| cpus::set_cpus(directory, cpus)),
        Limit::IoWeight => bounds.io_weight.map(|weight| io_weight::set_io_weight(directory, weight)),
        Limit::Cpuset => {
            return bounds.cpuset.as_ref().map_or(Ok(None), |set| cpuset::set_cpuset(directory, set));
        }
    };
    set.unwrap_or(Ok(())).map(|()| None)
}

/// `memory`, `memory of service web`.
fn name_of(limit: Limit, leaf: Option<&LeafName>) -> String {
    match leaf {
        None => limit.name().into(),
        Some(leaf) => format!("{} of {}", limit.name(), leaf.title()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_the_kernel_refuses_is_named_and_given_up_alone() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids.max");
        std::fs::write(&pids, "").unwrap();
        let asked = Bounds { pids: Some(50), io_weight: Some(7), swap: Some(0), ..Bounds::default() };
        let mut strict = AppliedLimits::default();
        let web = LeafName::Service("web".into());
        let error = strict.write(&mut asked.clone(), directory.path(), Some(&web), 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot limit swap of service web: this kernel has no memory.swap.max; use a kernel with CONFIG_SWAP, \
             booted without swapaccount=0, remove the limit, or pass --limits-best-effort to run without it"
        );
        let mut lenient = AppliedLimits { best_effort: true, ..AppliedLimits::default() };
        let mut bounds = asked;
        lenient.write(&mut bounds, directory.path(), None, 2).unwrap();
        assert_eq!(bounds, Bounds { pids: Some(50), ..Bounds::default() });
        assert_eq!(std::fs::read_to_string(&pids).unwrap(), "52");
        let warnings = lenient.take_warnings();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(
            warnings[1].starts_with("running without a limit on io_weight: this kernel has no io.weight; ")
        );
    }

    #[test]
    fn a_cpuset_is_reduced_to_what_the_cgroups_above_grant() {
        let directory = tempfile::tempdir().unwrap();
        let try_with = |effective: &str| {
            let (mut limits, mut bounds) = (AppliedLimits::default(), Bounds::default());
            bounds.cpuset = Some("1-2".parse().unwrap());
            std::fs::write(directory.path().join("cpuset.cpus"), "").unwrap();
            std::fs::write(directory.path().join("cpuset.cpus.effective"), effective).unwrap();
            limits.write(&mut bounds, directory.path(), None, 0).map(|()| limits.take_warnings())
        };
        assert!(try_with("1-2\n").unwrap().is_empty());
        assert_eq!(try_with("2\n").unwrap(), ["cpuset: of CPUs 1-2, the cgroups above grant only 2"]);
        let error = try_with("0,3\n").unwrap_err().to_string();
        assert!(error.contains("the cgroups above grant only CPUs 0,3 and none of 1-2"), "{error}");
    }
}
