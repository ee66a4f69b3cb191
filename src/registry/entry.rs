//! One session, read from its cgroup.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::containment::{self, Owner, Ownership, SessionId};
use crate::sys::port::Port;
use crate::sys::time::time_of_day;

/// A live supervisor has signed its cgroup before the cgroup reaches this age. Signing takes microseconds.
pub(super) const SIGNED_BY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct SessionEntry {
    pub id: SessionId,
    /// The directory of its cgroup.
    pub path: PathBuf,
    ownership: Ownership,
    pub state: SessionState,
    pub command: String,
    pub ports: Vec<Port>,
    pub uid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SessionState {
    /// Its supervisor is alive.
    Live,
    /// Its supervisor is dead, so the session should be torn down.
    Stale,
    /// Its supervisor is in another PID namespace, is hidden from us, or has not signed the cgroup. We must
    /// not stop it, and cannot call it clean.
    Unknown,
}

impl SessionEntry {
    /// `None` if the directory is not a session's cgroup, or is gone.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let id = SessionId::of_directory(path.file_name()?.to_str()?)?;
        let uid = std::fs::metadata(path).ok()?.uid();
        let metadata = containment::read_metadata(path);
        let state = state(metadata.ownership, path);
        let (ownership, command, ports) = (metadata.ownership, metadata.command, metadata.ports);
        Some(Self { id, path: path.into(), ownership, state, command, ports, uid })
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        match self.ownership {
            Ownership::Known(owner) => Some(owner),
            _ => None,
        }
    }

    /// Whether its supervisor may be about to sign it.
    pub(super) fn is_new(&self) -> bool {
        self.ownership == Ownership::Unsigned && self.path.exists() && !is_old(&self.path)
    }

    pub(crate) fn supervisor_pid(&self) -> Option<u32> {
        self.owner().map(|owner| owner.pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Whether it belongs to our user.
    pub(crate) fn is_ours(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }

    /// Completes the sentence "end it ...". Only the session's user can do so.
    pub(crate) fn how_to_sweep(&self) -> String {
        match self.uid {
            _ if self.is_ours() => "with: cgrun sweep".into(),
            0 => "as root: sudo cgrun sweep".into(),
            uid => format!("as {}: cgrun sweep", crate::sys::users::user_name(uid)),
        }
    }
}

fn state(ownership: Ownership, directory: &Path) -> SessionState {
    match ownership {
        Ownership::Known(owner) => match owner.is_alive() {
            Ok(true) => SessionState::Live,
            Ok(false) => SessionState::Stale,
            Err(_) => SessionState::Unknown,
        },
        // Its supervisor died before it could sign.
        Ownership::Unsigned if is_old(directory) && containment::is_empty(directory) => SessionState::Stale,
        Ownership::Unsigned | Ownership::Foreign => SessionState::Unknown,
    }
}

fn is_old(directory: &Path) -> bool {
    let modified = std::fs::metadata(directory).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| time_of_day().duration_since(modified).is_ok_and(|age| age > SIGNED_BY))
}
