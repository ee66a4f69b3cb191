//! The sessions of this host, from outside: listed, stopped, swept, checked.

pub mod sweep;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use crate::containment::{self, Mount, Owner, Ownership, SessionId, Unavailable};

/// Whoever lives has signed its cgroup after this time.
const SIGNED: Duration = Duration::from_secs(1);

/// A session whose cgroup is there.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub path: PathBuf,
    ownership: Ownership,
    pub state: State,
    pub command: String,
    pub ports: Vec<u16>,
    pub uid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its supervisor runs.
    Live,
    /// Its supervisor is dead, and so should it be.
    Stale,
    /// Its supervisor lives in another PID namespace, is hidden from us, or has not signed: not ours to
    /// judge, and not clean.
    Unknown,
}

impl Session {
    pub fn owner(&self) -> Option<Owner> {
        match self.ownership {
            Ownership::Known(owner) => Some(owner),
            _ => None,
        }
    }

    pub fn is_ours(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }

    /// Only its user can end it.
    pub fn how_to_sweep(&self) -> String {
        match self.uid {
            _ if self.is_ours() => "with: cgrun sweep".into(),
            0 => "as root: sudo cgrun sweep".into(),
            uid => format!("as {}: cgrun sweep", crate::sys::proc::user(uid)),
        }
    }

    /// Pid of its supervisor.
    pub fn owner_pid(&self) -> Option<u32> {
        self.owner().map(|owner| owner.pid.as_raw_nonzero().get().unsigned_abs())
    }
}

/// The cgroup2 mount; `None` where there is none, so that no session can be left in it.
pub fn mount() -> Result<Option<Mount>> {
    match Mount::find() {
        Ok(mount) => Ok(Some(mount)),
        Err(Unavailable::NotMounted) => Ok(None),
        Err(error) => Err(anyhow!(error.advice())),
    }
}

/// All sessions of the host, wherever in the hierarchy.
pub fn sessions(mount: &Mount) -> Result<Vec<Session>> {
    let directories = containment::session_directories(&mount.point)?;
    Ok(directories.iter().filter_map(|path| look(path)).collect())
}

/// The sessions right below our own cgroup, where we would make one: quick to find.
pub fn neighbours(mount: &Mount) -> Result<Vec<Session>> {
    let list = |directory: &Path| {
        let entries = std::fs::read_dir(directory);
        let entries = entries.with_context(|| format!("cannot list {}", directory.display()))?;
        anyhow::Ok(entries.filter_map(Result::ok).map(|entry| entry.path()))
    };
    let mut found: Vec<_> = list(&mount.own)?.filter_map(|path| look(&path)).collect();
    // A scope that systemd gave us lies beside those that it gave to others of ours.
    if let Some(above) = mount.own.parent().filter(|_| is_scope(&mount.own)) {
        for scope in list(above).into_iter().flatten().filter(|path| is_scope(path) && *path != mount.own) {
            found.extend(list(&scope).into_iter().flatten().filter_map(|path| look(&path)));
        }
    }
    Ok(found)
}

fn is_scope(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix(".scope").is_some_and(|name| SessionId::of_directory(name).is_some())
}

fn state(ownership: Ownership, directory: &Path) -> State {
    match ownership {
        Ownership::Known(owner) => match owner.is_alive() {
            Ok(true) => State::Live,
            Ok(false) => State::Stale,
            Err(_) => State::Unknown,
        },
        // Signing takes microseconds: whoever made it died before.
        Ownership::Unsigned if is_old(directory) && containment::is_empty(directory) => State::Stale,
        Ownership::Unsigned | Ownership::Foreign => State::Unknown,
    }
}

fn is_old(directory: &Path) -> bool {
    let made = std::fs::metadata(directory).and_then(|metadata| metadata.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > SIGNED))
}

/// `None` where it is no session's, or is one no more.
fn look(path: &Path) -> Option<Session> {
    let id = SessionId::of_directory(path.file_name()?.to_str()?)?;
    let uid = std::fs::metadata(path).ok()?.uid();
    let said = containment::read_metadata(path);
    let state = state(said.ownership, path);
    let (ownership, command, ports) = (said.ownership, said.command, said.ports);
    Some(Session { id, path: path.into(), ownership, state, command, ports, uid })
}
