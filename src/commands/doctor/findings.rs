//! Finds out what this host offers, by trying it.

use std::path::PathBuf;
use std::time::Duration;

use caps::CapSet;
use serde::Serialize;

use super::build::Build;
use super::engines::EngineFindings;
use super::host::Host;
use crate::containment::{
    Container, Kind, Mount, NoNamespace, PidNamespace, SessionCgroup, Source, find_source, manager_socket,
    manages_this_host,
};
use crate::limits::{Controller, why_unavailable};
use crate::private;
use crate::sys::connect::connect_unix_within;
use crate::sys::kernel;
use crate::sys::process::identity::Identity;
use crate::sys::process::{fork, namespace};
use crate::sys::sockets;

/// Incremented when a change to the JSON breaks readers.
const SCHEMA_VERSION: u32 = 1;
/// How long the trial namespace may take to exit.
const KILL_WAIT: Duration = Duration::from_secs(2);
/// How long the service manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
pub(super) struct Findings {
    schema_version: u32,
    pub containment: Kind,
    pub guarantee: &'static str,
    pub build: Build,
    pub kernel: String,
    pub host: Host,
    pub user: String,
    pub cgroup: CgroupFindings,
    pub systemd: SystemdFindings,
    pub namespaces: NamespaceFindings,
    pub private: PrivateFindings,
    pub containers: EngineFindings,
    /// The names of our effective capabilities.
    pub capabilities: Vec<String>,
    /// The kind of container in which cgrun runs, if it can be recognized.
    pub container: Option<String>,
    /// Whether clone3(2) can create a process inside a cgroup. Otherwise each process joins its cgroup after
    /// it has started.
    pub clone3: bool,
    /// Whether sock_diag(7) shows which process listens on a port.
    pub sock_diag: bool,
    pub unavailable: Vec<UnavailableContainment>,
    pub next_step: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct CgroupFindings {
    pub layout: CgroupLayout,
    pub mount_point: Option<PathBuf>,
    /// The cgroup in which cgrun was started.
    pub current: Option<PathBuf>,
    /// The cgroup in which sessions would be created.
    pub session_parent: Option<PathBuf>,
    /// Why we are allowed to create sessions there.
    pub session_parent_source: Option<Source>,
    /// The controllers that the kernel offers to a session's cgroup.
    pub controllers: Vec<String>,
    /// The controllers whose limits a session can use.
    pub available_limits: Vec<&'static str>,
    pub unavailable_limits: Vec<UnavailableLimit>,
    /// The kernel has `cgroup.kill` (since Linux 5.14).
    pub cgroup_kill: bool,
    pub extended_attributes: bool,
}

/// A controller whose limits a session cannot use.
#[derive(Debug, Serialize)]
pub(super) struct UnavailableLimit {
    pub controller: &'static str,
    pub reason: String,
    pub remedy: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CgroupLayout {
    /// cgroup2 alone.
    Unified,
    /// cgroup2 next to version 1 hierarchies.
    Hybrid,
    Legacy,
    #[default]
    None,
}

#[derive(Debug, Serialize)]
pub(super) struct SystemdFindings {
    pub running: bool,
    /// The socket of our service manager, if it answers.
    pub manager_socket: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub(super) struct NamespaceFindings {
    pub pid: bool,
    pub user: bool,
}

/// Whether a session can have something of its own (`--private`).
#[derive(Debug, Serialize)]
pub(super) struct PrivateFindings {
    pub available: bool,
    /// Why not, with what to do.
    pub reason: Option<String>,
    /// Whether pasta is there, for net = "outbound" and forward.
    pub pasta: bool,
}

/// A containment that this host does not offer.
#[derive(Debug, Serialize)]
pub(super) struct UnavailableContainment {
    pub containment: Kind,
    pub reason: String,
    pub remedy: String,
}

/// `identity` is that of the sessions that would use a container engine.
pub(super) fn gather(identity: Option<&Identity>) -> Findings {
    let mut cgroup = current_cgroup();
    let unavailable_cgroup = try_cgroup(&mut cgroup).err();
    let unavailable_pidns = try_pid_namespace().err();
    let namespaces =
        NamespaceFindings { pid: unavailable_pidns.is_none(), user: namespace::can_make_user_namespace() };
    let reason = private::unavailable();
    let private = PrivateFindings { available: reason.is_none(), reason, pasta: private::has_pasta() };
    let containment = match (&unavailable_cgroup, &unavailable_pidns) {
        (None, _) => Kind::Cgroup,
        (Some(_), None) => Kind::Pidns,
        (Some(_), Some(_)) => Kind::Tree,
    };
    let unavailable: Vec<_> = unavailable_cgroup.into_iter().chain(unavailable_pidns).collect();
    Findings {
        schema_version: SCHEMA_VERSION,
        containment,
        guarantee: match containment {
            Kind::Cgroup if !cgroup.cgroup_kill => Kind::WITHOUT_CGROUP_KILL,
            other => other.guarantee(),
        },
        build: Build::of_this_program(),
        host: Host::examine(manages_this_host()),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        user: crate::sys::users::user_name(rustix::process::geteuid().as_raw()),
        cgroup,
        systemd: SystemdFindings {
            running: manages_this_host(),
            manager_socket: Some(manager_socket())
                .filter(|socket| connect_unix_within(socket, PATIENCE).is_ok()),
        },
        namespaces,
        private,
        containers: EngineFindings::of(identity),
        capabilities: capabilities(),
        container: Container::detect().map(|container| container.to_string()),
        clone3: fork::has_clone3(),
        sock_diag: sockets::listeners().is_ok(),
        next_step: next_step(&unavailable, containment),
        unavailable,
    }
}

/// The step that would improve this host most.
fn next_step(unavailable: &[UnavailableContainment], containment: Kind) -> Option<String> {
    let stronger = unavailable.first().filter(|first| first.containment > containment);
    let as_root = rustix::process::geteuid().is_root().then(|| {
        "tests run as root here; to run them with only an ordinary user's privileges: cgrun --user NAME"
            .to_string()
    });
    kernel::why_too_old().or(stronger.map(|first| first.remedy.clone())).or(as_root)
}

fn try_pid_namespace() -> Result<(), UnavailableContainment> {
    let tried = PidNamespace::create(None).and_then(|namespace| {
        namespace
            .end(KILL_WAIT)
            .map_err(|error| NoNamespace::Other { step: "ending it", source: error.source })
    });
    tried.map_err(|error| UnavailableContainment {
        containment: Kind::Pidns,
        reason: error.to_string(),
        remedy: error.remedy(),
    })
}

/// Examines our cgroup before systemd may move us into a scope.
fn current_cgroup() -> CgroupFindings {
    let mount = Mount::find().ok();
    CgroupFindings {
        layout: layout(),
        current: mount.as_ref().map(|mount| mount.own.clone()),
        mount_point: mount.map(|mount| mount.point),
        ..CgroupFindings::default()
    }
}

fn try_cgroup(found: &mut CgroupFindings) -> Result<(), UnavailableContainment> {
    let no_cgroup =
        |reason: String, remedy: String| UnavailableContainment { containment: Kind::Cgroup, reason, remedy };
    let (mount, source) = find_source().map_err(|error| no_cgroup(error.to_string(), error.remedy()))?;
    let controllers = std::fs::read_to_string(mount.own.join("cgroup.controllers"));
    found.controllers = controllers.unwrap_or_default().split_whitespace().map(str::to_string).collect();
    let for_limits = mount.clone().for_limits();
    for controller in Controller::ALL {
        match why_unavailable(&for_limits, controller) {
            None => found.available_limits.push(controller.name()),
            Some(refused) => found.unavailable_limits.push(UnavailableLimit {
                controller: controller.name(),
                reason: refused.to_string(),
                remedy: refused.remedy(),
            }),
        }
    }
    // Creating it also writes its metadata into extended attributes.
    let cgroup = SessionCgroup::create(&mount, b"cgrun doctor", &[])
        .map_err(|error| no_cgroup(error.to_string(), error.remedy()))?;
    found.extended_attributes = true;
    found.cgroup_kill = cgroup.is_killed_at_once();
    cgroup.remove().map_err(|error| no_cgroup(error.to_string(), "remove this cgroup".into()))?;
    found.session_parent_source = Some(source);
    found.session_parent = Some(mount.shown(&mount.own));
    Ok(())
}

fn layout() -> CgroupLayout {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    match (has("cgroup2"), has("cgroup")) {
        (true, false) => CgroupLayout::Unified,
        (true, true) => CgroupLayout::Hybrid,
        (false, true) => CgroupLayout::Legacy,
        (false, false) => CgroupLayout::None,
    }
}

fn capabilities() -> Vec<String> {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut names: Vec<_> = effective.into_iter().map(|capability| capability.to_string()).collect();
    names.sort();
    names
}
