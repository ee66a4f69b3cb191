//! The sessions of this host, from outside: listed, stopped, swept, checked.

pub mod check;
pub mod list;
pub mod record;
pub mod stop;
pub mod sweep;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::containment::{self, Mount, Owner, Ownership, SessionId};

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

    /// Pid of its supervisor.
    pub fn owner_pid(&self) -> Option<u32> {
        self.owner().map(|owner| owner.pid.as_raw_nonzero().get().unsigned_abs())
    }
}

/// All sessions of the host, wherever in the hierarchy.
pub fn sessions(mount: &Mount) -> Result<Vec<Session>> {
    let directories = containment::session_directories(&mount.point)?;
    Ok(directories.iter().filter_map(|path| look(path)).collect())
}

/// The sessions right below our own cgroup, where we would make one: quick to find.
pub fn neighbours(mount: &Mount) -> Result<Vec<Session>> {
    let entries =
        std::fs::read_dir(&mount.own).with_context(|| format!("cannot list {}", mount.own.display()))?;
    Ok(entries.filter_map(Result::ok).filter_map(|entry| look(&entry.path())).collect())
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
