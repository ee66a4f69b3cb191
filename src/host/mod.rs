//! The sessions of this host, from outside: listed, stopped, swept, checked.

pub mod check;
pub mod list;
pub mod record;
pub mod stop;
pub mod sweep;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::containment::{self, Mount, Owner, Ownership, SessionId};

/// A session whose cgroup is there.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub path: PathBuf,
    pub ownership: Ownership,
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
    /// Its supervisor lives in another PID namespace, or has not signed yet: not ours to judge.
    Unknown,
}

impl Session {
    pub fn state(&self) -> State {
        match self.ownership {
            Ownership::Known(owner) if owner.is_alive() => State::Live,
            Ownership::Known(_) => State::Stale,
            Ownership::Foreign | Ownership::Unsigned => State::Unknown,
        }
    }

    pub fn owner(&self) -> Option<Owner> {
        match self.ownership {
            Ownership::Known(owner) => Some(owner),
            _ => None,
        }
    }
}

/// All sessions of the host, wherever in the hierarchy.
pub fn sessions() -> Result<Vec<Session>> {
    let directories = containment::session_directories(&Mount::find()?.point)?;
    Ok(directories.iter().filter_map(|path| look(path)).collect())
}

/// The sessions right below our own cgroup, where we would make one: quick to find.
pub fn neighbours() -> Result<Vec<Session>> {
    let parent = Mount::find()?.own_directory()?;
    let entries = std::fs::read_dir(&parent)?.filter_map(Result::ok);
    Ok(entries.filter_map(|entry| look(&entry.path())).collect())
}

/// `None` where it is no session's, or is one no more.
fn look(path: &Path) -> Option<Session> {
    let id = SessionId::of_directory(path.file_name()?.to_str()?)?;
    let uid = std::fs::metadata(path).ok()?.uid();
    let said = containment::read_metadata(path);
    Some(Session {
        id,
        uid,
        path: path.into(),
        ownership: said.ownership,
        command: said.command,
        ports: said.ports,
    })
}
