//! Turning controllers on, from the top of what is delegated to us down to the session's leaves, and
//! no further.
//!
//! A cgroup with processes of its own cannot have controllers in its children (cgroups(7), "no internal
//! processes"), unless it is the root of all. So we leave our own cgroup for a leaf beside the session,
//! the *seat*, and come back at the end.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limit::{Controller, Limit};
use super::size::CpuSet;
use crate::containment::ContainmentError;
use crate::containment::Mount;
use crate::containment::PREFIX;
use crate::containment::cgroup::metadata;
use crate::containment::cgroup::systemd;
use crate::containment::cgroup::{is_empty, write};
use crate::runtime::clock;
use crate::sys::proc::{self, ProcessInfo};

/// No session's id begins so.
const SEAT: &str = "supervisor-";
const CONTROL: &str = "cgroup.subtree_control";
const PROCS: &str = "cgroup.procs";
/// How many of those in the way are named.
const NAMED: usize = 3;
/// How long the guardian may take to leave the seat once it has said that it ends.
const LEAVING: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_micros(500);

/// Why a limit cannot be applied here.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the {} controller belongs to cgroup v1 on this host", .0.name())]
    Hybrid(Controller),
    #[error("this kernel has no {} controller", .0.name())]
    NotInKernel(Controller),
    #[error("the {} controller is not delegated to {}", controller.name(), path.display())]
    NotDelegated { controller: Controller, path: PathBuf },
    #[error("{} has processes of its own ({processes}), and cgroup v2 allows no limits below such a cgroup", path.display())]
    Occupied { path: PathBuf, processes: String },
    #[error("this session is held by a {0}, and only a cgroup has limits")]
    NoCgroup(crate::containment::Kind),
    #[error("{0}")]
    Unfit(String),
    #[error("this kernel has no {file}")]
    NoFile { limit: Limit, file: &'static str },
    #[error("the cgroups above grant it the CPUs {granted} only, and none of {asked}")]
    NotGranted { asked: CpuSet, granted: CpuSet },
    #[error("{source}")]
    NotSet { limit: Limit, source: ContainmentError },
    #[error(transparent)]
    Cgroup(#[from] ContainmentError),
}

impl Refused {
    /// What would help.
    pub fn remedy(&self) -> String {
        match self {
            Self::Hybrid(_) => {
                "boot with systemd.unified_cgroup_hierarchy=1, or cgroup_no_v1=all without systemd".into()
            }
            Self::NotInKernel(controller) => {
                format!("see that cgroup_disable={} is not in /proc/cmdline", controller.name())
            }
            Self::NotDelegated { .. } if rustix::process::geteuid().is_root() => {
                "start cgrun where it is, in a systemd unit by Delegate=yes".into()
            }
            Self::NotDelegated { controller, .. } => format!(
                "have it delegated: as root, systemctl edit user@.service with Delegate=memory pids cpu {} below \
                 [Service], and log in anew; or run sudo cgrun --user NAME",
                controller.name()
            ),
            Self::Occupied { .. } if systemd::manages_this_host() => format!(
                "give cgrun a scope of its own: systemd-run {}--scope -p Delegate=yes cgrun COMMAND",
                if rustix::process::geteuid().is_root() { "" } else { "--user " }
            ),
            Self::Occupied { .. } => "start cgrun alone in a cgroup of its own".into(),
            Self::NoCgroup(_) => "see how to get one: cgrun doctor".into(),
            Self::Unfit(_) => "write another".into(),
            Self::NoFile { limit, .. } => limit.where_missing().into(),
            Self::NotGranted { .. } if systemd::manages_this_host() => {
                "name some of these, or see AllowedCPUs= of the units above (systemctl show)".into()
            }
            Self::NotGranted { .. } => "name some of these, or see cpuset.cpus of the cgroups above".into(),
            Self::NotSet { source, .. } if source.is_denied() => {
                "see which rights this user has there".into()
            }
            Self::NotSet { limit, .. } => format!("write another value for {}", limit.name()),
            Self::Cgroup(_) => "see which rights this user has there".into(),
        }
    }
}

/// What was changed above a session so that it can have limits, to be undone.
#[derive(Debug, Default)]
pub struct Changes {
    /// In the order in which they were turned on.
    on: Vec<(PathBuf, Controller)>,
    seat: Option<Seat>,
}

/// Where we sit while controllers are on in the cgroup we came from.
#[derive(Debug)]
struct Seat {
    parent: PathBuf,
    path: PathBuf,
}

impl Changes {
    /// Sees to it that a session below our own cgroup can have these controllers; of `useful` it takes
    /// what is there. We may have to leave our own cgroup for that. After an error all is as before.
    pub fn enable(
        &mut self,
        mount: &Mount,
        needed: &BTreeSet<Controller>,
        useful: &[Controller],
    ) -> Result<(), Refused> {
        let enabled = self.try_enable(mount, needed, useful);
        if enabled.is_err() {
            self.undo();
        }
        enabled
    }

    fn try_enable(
        &mut self,
        mount: &Mount,
        needed: &BTreeSet<Controller>,
        useful: &[Controller],
    ) -> Result<(), Refused> {
        // Who is in the way is found before anything is changed.
        for &controller in needed {
            if let Some(refused) = why_not(mount, controller) {
                return Err(refused);
            }
        }
        for &controller in needed {
            for directory in to_pass_down(mount, controller)? {
                self.turn_on(directory, controller)?;
            }
        }
        let own = mount.own.as_path();
        let on = listed(own, CONTROL)?;
        if !needed.iter().all(|it| on.contains(it.name())) && !is_root_of_all(own) {
            self.seat = Some(Seat::take(own)?);
        }
        for &controller in needed {
            self.turn_on(own, controller)?;
        }
        let available = listed(own, "cgroup.controllers")?;
        // Nothing is lost without them but figures.
        let there = useful.iter().filter(|it| available.contains(it.name()));
        there.for_each(|it| drop(self.turn_on(own, *it)));
        Ok(())
    }

    fn turn_on(&mut self, directory: &Path, controller: Controller) -> Result<(), Refused> {
        if listed(directory, CONTROL)?.contains(controller.name()) {
            return Ok(());
        }
        match switch(directory, '+', controller) {
            Err(error) if error.is_busy() => return Err(occupied(directory)),
            other => other?,
        }
        // There it serves everybody, and nobody can be in its way.
        if !is_root_of_all(directory) {
            self.on.push((directory.to_path_buf(), controller));
        }
        Ok(())
    }

    /// Goes back to where we came from, and leaves all as it was. The session's cgroup is removed by
    /// then. The kernel keeps on what another session has taken up meanwhile; and where nobody is left to
    /// do it, the next who sweeps there clears our own cgroup.
    pub fn undo(&mut self) {
        for (directory, controller) in self.on.drain(..).rev() {
            let _ = switch(&directory, '-', controller);
        }
        if let Some(seat) = self.seat.take() {
            seat.give_back();
        }
    }
}

/// Turns on in a session's cgroup what its parent gives it, for its leaves.
pub fn pass_down(
    session: &Path,
    needed: &BTreeSet<Controller>,
    useful: &[Controller],
) -> Result<(), Refused> {
    for &controller in needed {
        switch(session, '+', controller)?;
    }
    let available = listed(session, "cgroup.controllers")?;
    turn_on_useful(session, &available, useful);
    Ok(())
}

/// Why a session below our own cgroup cannot have this controller, as far as that can be told without
/// turning it on.
pub fn why_not(mount: &Mount, controller: Controller) -> Option<Refused> {
    let own = mount.own.as_path();
    let is_on = || Ok::<_, Refused>(listed(own, CONTROL)?.contains(controller.name()));
    let tried = to_pass_down(mount, controller).and_then(|_| {
        if !is_on()? && !is_root_of_all(own) && is_shared(own)? { Err(occupied(own)) } else { Ok(()) }
    });
    tried.err()
}

/// Those above our own cgroup that do not pass this controller down yet and may, from the top.
fn to_pass_down(mount: &Mount, controller: Controller) -> Result<Vec<&Path>, Refused> {
    let mut at = mount.own.as_path();
    let mut passing = Vec::new();
    while !listed(at, "cgroup.controllers")?.contains(controller.name()) {
        if at == mount.point {
            return Err(missing_at_the_root(at, controller));
        }
        let above = at.parent().filter(|above| !metadata::is_marked_delegated(at) && may_control(above));
        let Some(above) = above else {
            return Err(lacking(mount, at, controller));
        };
        passing.push(above);
        at = above;
    }
    for &directory in &passing {
        if !is_root_of_all(directory) && !processes_in(directory)?.is_empty() {
            return Err(occupied(directory));
        }
    }
    passing.reverse();
    Ok(passing)
}

fn lacking(mount: &Mount, at: &Path, controller: Controller) -> Refused {
    match listed(&mount.point, "cgroup.controllers") {
        Ok(all) if !all.contains(controller.name()) && is_root_of_all(&mount.point) => {
            missing_at_the_root(&mount.point, controller)
        }
        _ if is_in_v1(controller) => Refused::Hybrid(controller),
        _ => Refused::NotDelegated { controller, path: at.to_path_buf() },
    }
}

fn missing_at_the_root(root: &Path, controller: Controller) -> Refused {
    match is_in_v1(controller) {
        true => Refused::Hybrid(controller),
        false if is_root_of_all(root) => Refused::NotInKernel(controller),
        false => Refused::NotDelegated { controller, path: root.to_path_buf() },
    }
}

/// `4:memory:/job` in `/proc/self/cgroup`. Its io was called blkio.
fn is_in_v1(controller: Controller) -> bool {
    let name = if controller == Controller::Io { "blkio" } else { controller.name() };
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines().any(|line| line.split(':').nth(1).is_some_and(|list| list.split(',').any(|it| it == name)))
}

fn may_control(directory: &Path) -> bool {
    rustix::fs::access(directory.join(CONTROL), rustix::fs::Access::WRITE_OK).is_ok()
}

/// The one cgroup that may have both processes and controllers has no type.
pub(super) fn is_root_of_all(directory: &Path) -> bool {
    !directory.join("cgroup.type").exists()
}

fn listed(directory: &Path, file: &str) -> Result<BTreeSet<String>, ContainmentError> {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).map_err(ContainmentError::on("read", &path))?;
    Ok(text.split_whitespace().map(str::to_string).collect())
}

/// Turned on where they are there; nothing is lost without them but figures.
fn turn_on_useful(directory: &Path, available: &BTreeSet<String>, useful: &[Controller]) {
    let there = useful.iter().filter(|it| available.contains(it.name()));
    there.for_each(|it| drop(switch(directory, '+', *it)));
}

fn switch(directory: &Path, sign: char, controller: Controller) -> Result<(), ContainmentError> {
    write(&directory.join(CONTROL), format!("{sign}{}", controller.name()).as_bytes())
}

/// Pids right in it, as the kernel lists them: 0 for one outside our PID namespace.
fn processes_in(directory: &Path) -> Result<Vec<i32>, ContainmentError> {
    let pids = listed(directory, PROCS)?;
    Ok(pids.iter().filter_map(|pid| pid.parse().ok()).collect())
}

/// Whether others than we are in it.
fn is_shared(directory: &Path) -> Result<bool, ContainmentError> {
    let us = std::process::id();
    Ok(processes_in(directory)?.iter().any(|pid| pid.unsigned_abs() != us))
}

fn occupied(path: &Path) -> Refused {
    let us = std::process::id();
    let others: Vec<_> = processes_in(path).unwrap_or_default();
    let others: Vec<_> = others.into_iter().filter(|pid| pid.unsigned_abs() != us).collect();
    let mut named: Vec<_> = others.iter().take(NAMED).map(|&pid| name(pid)).collect();
    if others.len() > named.len() {
        named.push(format!("{} more", others.len() - named.len()));
    }
    Refused::Occupied { path: path.to_path_buf(), processes: named.join(", ") }
}

fn name(pid: i32) -> String {
    match rustix::process::Pid::from_raw(pid).and_then(ProcessInfo::read) {
        Some(process) => format!("pid {pid}, {}", process.command_for_people(40)),
        None if pid > 0 => format!("pid {pid}"),
        None => "one that cannot be seen from here".into(),
    }
}

impl Seat {
    fn take(own: &Path) -> Result<Self, Refused> {
        if is_shared(own)? {
            return Err(occupied(own));
        }
        let us = std::process::id();
        let path = own.join(format!("{PREFIX}{SEAT}{us}"));
        match std::fs::create_dir(&path) {
            // Of a dead one that had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(ContainmentError::on("make the cgroup", &path))?,
        }
        let seat = Self { parent: own.to_path_buf(), path };
        if let Err(error) = join(&seat.path) {
            let _ = std::fs::remove_dir(&seat.path);
            return Err(error.into());
        }
        Ok(seat)
    }

    fn give_back(&self) {
        if join(&self.parent).is_err() {
            return;
        }
        let deadline = clock::now() + LEAVING;
        while !is_empty(&self.path) && clock::now() < deadline {
            // The guardian announces its end a moment too early.
            std::thread::sleep(LOOK);
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Who took the seat had found none of them on: they are all its own.
fn switch_all_off(directory: &Path) {
    let on = listed(directory, CONTROL).unwrap_or_default();
    let off: Vec<_> = on.iter().map(|name| format!("-{name}")).collect();
    let _ = write(&directory.join(CONTROL), off.join(" ").as_bytes());
}

fn join(directory: &Path) -> Result<(), ContainmentError> {
    write(&directory.join(PROCS), b"0")
}

/// Removes the seats that dead supervisors and guardians have left in a cgroup.
pub fn clear_seats(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let seats = entries.filter(|entry| {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|it| it.strip_prefix(PREFIX)?.strip_prefix(SEAT)?.parse().ok());
        pid.and_then(rustix::process::Pid::from_raw).is_some_and(|pid| proc::start_time(pid).is_none())
    });
    // With a process in it, it stays.
    let removed = seats.filter(|entry| std::fs::remove_dir(entry.path()).is_ok()).count();
    if removed > 0 && is_empty(directory) {
        switch_all_off(directory);
    }
}
