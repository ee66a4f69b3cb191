//! Limits of a session and its services: the boundary to `cgroups-rs`.
//!
//! Of that crate only the setters of single controllers are used, which say whether they worked; what
//! was set is read back. What it cannot do, or does without a word, is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail};
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{MaxValue, error::Error};

use super::bounds::{Bounds, Controller, Host};
use super::cgroup::write;
use super::controllers::{self, Refused, Seat};
use super::error::ContainmentError;
use super::held::Containment;
use super::source::Mount;
use crate::config::Limits;
use crate::size::CpuSet;

/// In which so much processor time is granted, in microseconds; the kernel's own choice.
const PERIOD: u64 = 100_000;
/// The kernel counts memory in pages, which are no larger than this.
const PAGE: u64 = 64 << 10;
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
    seat: Option<Seat>,
}

impl Limited {
    pub fn leaf(&self, name: &str) -> Option<&Bounds> {
        self.leaves.get(name)
    }

    pub fn is_nothing(&self) -> bool {
        self.controllers().is_empty()
    }

    /// See [`Seat::give_back`].
    pub fn give_back(&mut self) {
        if let Some(seat) = self.seat.take() {
            seat.give_back();
        }
    }

    fn controllers(&self) -> BTreeSet<Controller> {
        std::iter::once(&self.session).chain(self.leaves.values()).flat_map(Bounds::controllers).collect()
    }

    fn give_up(&mut self, controller: Controller) {
        std::iter::once(&mut self.session)
            .chain(self.leaves.values_mut())
            .for_each(|bounds| bounds.give_up(controller));
    }
}

/// Limits a session in which nothing runs yet. Returns what is to be said about that. After an error,
/// remove the session, and then call [`Containment::give_back`].
pub fn limit(
    containment: &mut Containment,
    mount: Option<&Mount>,
    wanted: &Wanted<'_>,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let host = Host::look()?;
    let mut limited = Limited {
        session: host.bounds(wanted.session, "the session's", &mut warnings)?,
        ..Limited::default()
    };
    for (leaf, limits) in &wanted.leaves {
        let whose = format!("{}'s", leaf.replacen('.', " ", 1));
        let bounds = host.bounds(limits, &whose, &mut warnings)?;
        warnings.extend(bounds.beyond_session(&limited.session, &whose));
        limited.leaves.insert(leaf.clone(), bounds);
    }
    let kind = containment.kind();
    let session = containment.path().map(Path::to_path_buf);
    let (Some(mount), Some(session)) = (mount, session) else {
        let refused = Refused::NoCgroup(kind);
        let names: Vec<_> = limited.controllers().into_iter().map(Controller::name).collect();
        refuse(&names.join(", "), &refused, wanted.best_effort, &mut warnings)?;
        return Ok(warnings);
    };
    let enabled = enable(mount, &session, &mut limited, wanted.best_effort, &mut warnings);
    let set = enabled.and_then(|()| Ok(limited.session.set(&session)?));
    containment.limited = limited;
    set.map(|()| warnings)
}

/// Turns on what is needed. With best effort, all that can be had of it.
fn enable(
    mount: &Mount,
    session: &Path,
    limited: &mut Limited,
    best_effort: bool,
    warnings: &mut Vec<String>,
) -> Result<()> {
    loop {
        let needed = limited.controllers();
        if needed.is_empty() {
            return Ok(());
        }
        let refused = match try_enable(mount, session, &needed, &mut limited.seat) {
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
        refuse(&names.join(", "), &refused, best_effort, warnings)?;
        missing.into_iter().for_each(|controller| limited.give_up(controller));
    }
}

fn try_enable(
    mount: &Mount,
    session: &Path,
    needed: &BTreeSet<Controller>,
    seat: &mut Option<Seat>,
) -> Result<(), Refused> {
    if let Some(taken) = controllers::enable(mount, needed, &USEFUL)? {
        *seat = Some(taken);
    }
    controllers::pass_down(session, needed, &USEFUL)
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

impl Bounds {
    /// Limits the cgroup, and sees that it is limited.
    pub fn set(&self, directory: &Path) -> Result<(), ContainmentError> {
        // Their second argument is of no use with cgroup v2.
        let path = || directory.to_path_buf();
        if let Some(bytes) = self.memory {
            let set = MemController::new(path(), path(), true).set_limit(signed(bytes));
            check(directory, "memory.max", set, |text| is_about(text, bytes))?;
            // A session half of which is gone would limp on.
            set_own(directory, "memory.oom.group", "1", |text| text == "1")?;
        }
        if let Some(bytes) = self.swap {
            set_own(directory, "memory.swap.max", &bytes.to_string(), |text| is_about(text, bytes))?;
        }
        if let Some(count) = self.pids {
            let set = PidController::new(path(), path(), true).set_pid_max(MaxValue::Value(signed(count)));
            check(directory, "pids.max", set, |text| text == count.to_string())?;
        }
        if let Some(cpus) = self.cpus {
            let quota = (cpus * PERIOD as f64).round() as i64;
            let controller = CpuController::new(path(), path(), true);
            let set = controller.set_cfs_quota_and_period(Some(quota), Some(PERIOD));
            check(directory, "cpu.max", set, |text| text == format!("{quota} {PERIOD}"))?;
        }
        if let Some(weight) = self.io_weight {
            let expected = format!("default {weight}");
            set_own(directory, "io.weight", &expected, |text| text.lines().any(|line| line == expected))?;
        }
        if let Some(set) = &self.cpuset {
            let is_set = |text: &str| text.parse::<CpuSet>().is_ok_and(|it| it == *set);
            set_own(directory, "cpuset.cpus", &set.to_string(), is_set)?;
        }
        Ok(())
    }
}

/// Sizes are made sure to fit when they are read.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn is_about(text: &str, bytes: u64) -> bool {
    // More than the kernel can count reads `max`.
    text.parse::<u64>().map_or(text == "max", |set| set <= bytes && bytes - set < PAGE)
}

fn set_own(
    directory: &Path,
    file: &str,
    value: &str,
    is_set: impl Fn(&str) -> bool,
) -> Result<(), ContainmentError> {
    write(&directory.join(file), value.as_bytes())?;
    read_back(directory, file, is_set)
}

/// The crate's error, in our words: its source is the kernel's.
fn check(
    directory: &Path,
    file: &str,
    set: Result<(), Error>,
    is_set: impl Fn(&str) -> bool,
) -> Result<(), ContainmentError> {
    use std::error::Error as _;
    set.map_err(|error| {
        let source = error.source().and_then(|it| it.downcast_ref::<std::io::Error>());
        let source = source.and_then(std::io::Error::raw_os_error).map(std::io::Error::from_raw_os_error);
        let source = source.unwrap_or_else(|| std::io::Error::other(error.to_string()));
        ContainmentError::on("write to", &directory.join(file))(source)
    })?;
    read_back(directory, file, is_set)
}

fn read_back(directory: &Path, file: &str, is_set: impl Fn(&str) -> bool) -> Result<(), ContainmentError> {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).map_err(ContainmentError::on("read", &path))?;
    if is_set(text.trim()) {
        return Ok(());
    }
    let other = std::io::Error::other(format!("the kernel has {:?} there", text.trim()));
    Err(ContainmentError::on("set the limit in", &path)(other))
}
