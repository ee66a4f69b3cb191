//! Finds the session that is meant: the one that we are in, the only one of this user, or the one with this id.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::Pid;

use super::entry::SessionState;
use super::list::{cgroup_mount, list_sessions};
use crate::containment::{MARKER, Ownership, SessionId, read_metadata};
use crate::guardian::record;
use crate::plan::Shard;
use crate::sys::procfs::environ::variable;
use crate::sys::procfs::stat::{self, ProcStat};
use crate::sys::procfs::walk::{all_pids, lineage};
use crate::text::{age, readable};

/// Bounded, because processes that fork and exit while we read may seem to form a cycle.
const MOST_ANCESTORS: usize = 1000;

#[derive(Debug)]
pub(crate) struct Session {
    pub id: SessionId,
    /// The directory of its cgroup, if we can see it.
    pub directory: Option<PathBuf>,
    /// `None` if it has a cgroup, and its supervisor is dead or in another PID namespace.
    pub root: Option<Root>,
}

impl Session {
    /// Which of several sessions of one command it is, if its cgroup says so.
    pub(crate) fn shard(&self) -> Option<Shard> {
        Shard::of_note(&read_metadata(self.directory.as_ref()?).shard?)
    }
}

/// What all processes of a session descend from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Root {
    Supervisor(Pid),
    /// The session is all that we can see: we are in its PID namespace, and the supervisor is not.
    Namespace,
}

impl Root {
    /// The process that has the environment with which cgrun was started.
    pub(crate) fn process(self) -> Pid {
        match self {
            Self::Supervisor(pid) => pid,
            // It is forked from the supervisor.
            Self::Namespace => Pid::INIT,
        }
    }
}

/// `verb` is the command of cgrun that asks, for messages. `records` is the directory with those of ended sessions.
pub(crate) fn find_session(
    id: Option<&str>,
    verb: &str,
    records: impl FnOnce() -> PathBuf,
) -> Result<Session> {
    let with_id = |id| with_id(&id, verb)?.map_or_else(|| no_session(&id, &records()), Ok);
    match (id, own_id()) {
        (Some(text), _) => match text.parse() {
            Ok(id) => with_id(id),
            Err(_) => bail!("invalid session ID {text:?}; list sessions with: cgrun sessions"),
        },
        (None, Some(id)) => with_id(id),
        (None, None) => the_only_one(verb),
    }
}

fn own_id() -> Option<SessionId> {
    std::env::var(MARKER).ok()?.parse().ok()
}

fn no_session(id: &SessionId, records: &Path) -> Result<Session> {
    if let Some(ended) = record::read_all(records).into_iter().find(|it| it.id == id.to_string()) {
        let by = readable(&ended.ended_by);
        bail!(
            "session {id} has ended: the {by} tore it down {} ago; for its result: cgrun sessions",
            age(ended.ago())
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "there is no session {id} that this user can see; list sessions with: cgrun sessions, or run as root"
        );
    }
    bail!("there is no session {id}; list sessions with: cgrun sessions")
}

/// `None` if there is none that we can see.
fn with_id(id: &SessionId, verb: &str) -> Result<Option<Session>> {
    // Without a mount that shows it, a session is found by its processes.
    let mount = cgroup_mount().ok().flatten();
    let own = mount.iter().flat_map(|mount| mount.own.ancestors());
    let is_its = |path: &PathBuf| path.file_name().is_some_and(|name| name == id.directory().as_str());
    if let Some(directory) = own.map(PathBuf::from).find(is_its) {
        return Ok(Some(in_cgroup(id.clone(), directory)));
    }
    let marked_above = |pid| lineage(pid).take(MOST_ANCESTORS).filter(|&pid| is_marked(pid, id)).last();
    if let Some(top) = marked_above(rustix::process::getpid()) {
        return below_supervisor(id, top, verb).map(Some);
    }
    let listed = mount.map(|mount| list_sessions(&mount)).transpose()?.unwrap_or_default();
    if let Some(entry) = listed.entries.into_iter().find(|entry| entry.id == *id) {
        return Ok(Some(in_cgroup(entry.id, entry.path)));
    }
    let found = all_pids()?.find(|&pid| is_marked(pid, id));
    found.map(|pid| below_supervisor(id, marked_above(pid).unwrap_or(pid), verb)).transpose()
}

fn in_cgroup(id: SessionId, directory: PathBuf) -> Session {
    let root = match read_metadata(&directory).ownership {
        Ownership::Known(owner) if owner.is_alive().unwrap_or(false) => Some(Root::Supervisor(owner.pid)),
        _ => None,
    };
    Session { id, directory: Some(directory), root }
}

/// `top` is a process of the session whose parent is not.
fn below_supervisor(id: &SessionId, top: Pid, verb: &str) -> Result<Session> {
    let root = match stat::parent(top) {
        Some(parent) if is_cgrun(parent) => Root::Supervisor(parent),
        None if !top.is_init() && !is_marked(Pid::INIT, id) => Root::Namespace,
        _ => bail!(
            "cannot find the supervisor of session {id}: it is dead, hidden, or outside of this PID namespace; run \
             cgrun {verb} where the session was started"
        ),
    };
    Ok(Session { id: id.clone(), directory: None, root: Some(root) })
}

/// A process that cannot be read is not ours, so it is not of our session.
fn is_marked(pid: Pid, id: &SessionId) -> bool {
    id.marks(pid).unwrap_or(false)
}

/// Whether the process looks like a supervisor, and not like the one that inherited the orphans of a dead one.
fn is_cgrun(pid: Pid) -> bool {
    let name = |pid| ProcStat::read(pid).map(|stat| stat.name);
    let found = name(pid);
    found.is_some() && found == name(rustix::process::getpid())
}

fn the_only_one(verb: &str) -> Result<Session> {
    let mut found = BTreeMap::new();
    let listed = match cgroup_mount().ok().flatten() {
        Some(mount) => list_sessions(&mount)?,
        None => Default::default(),
    };
    for entry in listed.entries.iter().filter(|it| it.state == SessionState::Live && it.is_ours()) {
        // A session within another is a part of that one.
        let is_inner =
            listed.entries.iter().any(|it| it.path != entry.path && entry.path.starts_with(&it.path));
        if !is_inner {
            found.insert(entry.id.to_string(), in_cgroup(entry.id.clone(), entry.path.clone()));
        }
    }
    for pid in all_pids()? {
        let Some(id) = variable(pid, MARKER).and_then(|id| id.to_str()?.parse::<SessionId>().ok()) else {
            continue;
        };
        let is_known = found.contains_key(&id.to_string()) || listed.entries.iter().any(|it| it.id == id);
        let parent =
            stat::parent(pid).filter(|&parent| !is_known && is_cgrun(parent) && is_of_our_user(parent));
        if let Some(parent) = parent.filter(|&parent| !is_marked(parent, &id)) {
            let root = Some(Root::Supervisor(parent));
            found.insert(id.to_string(), Session { id, directory: None, root });
        }
    }
    let ids: Vec<_> = found.keys().cloned().collect();
    let mut sessions = found.into_values();
    match (sessions.next(), &ids[..]) {
        (Some(session), [_]) => Ok(session),
        (None, _) => bail!("no session of this user is running; list sessions with: cgrun sessions"),
        _ => bail!("{} sessions are running; name one of them: cgrun {verb} {}", ids.len(), ids.join("|")),
    }
}

fn is_of_our_user(pid: Pid) -> bool {
    let owner = std::fs::metadata(format!("/proc/{pid}")).map(|metadata| metadata.uid());
    owner.context("gone").is_ok_and(|uid| uid == rustix::process::geteuid().as_raw())
}
