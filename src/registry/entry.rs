//! One session, read from its cgroup.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::containment::{self, Owner, Ownership, SessionId};
use crate::plan::Shard;
use crate::sys::directory_watch::DirectoryWatch;
use crate::sys::port::Port;
use crate::sys::time::{self, Instant, time_of_day};

/// A live supervisor has signed its cgroup before the cgroup reaches this age. Signing takes microseconds.
const SIGNED_BY: Duration = Duration::from_secs(1);
/// How often to look if no event can be awaited. Signing takes microseconds.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct SessionEntry {
    pub id: SessionId,
    /// The directory of its cgroup.
    pub path: PathBuf,
    ownership: Ownership,
    pub state: SessionState,
    pub command: String,
    pub ports: Vec<Port>,
    pub shard: Option<Shard>,
    pub uid: u32,
    /// Whether its supervisor may be about to sign it.
    is_new: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
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
        let is_old = is_old(path);
        let state = settled_state(metadata.ownership, is_old, path)?;
        let (ownership, command, ports) = (metadata.ownership, metadata.command, metadata.ports);
        let shard = metadata.shard.and_then(|note| Shard::of_note(&note));
        let is_new = ownership == Ownership::Unsigned && !is_old;
        Some(Self { id, path: path.into(), ownership, state, command, ports, shard, uid, is_new })
    }

    /// Waits until its supervisor has signed it, or should have. `None` if it ends meanwhile.
    pub(super) fn once_signed(self) -> Option<Self> {
        if !self.is_new {
            return Some(self);
        }
        let deadline = Instant::now() + SIGNED_BY + LOOK;
        let watch = DirectoryWatch::of(&self.path);
        loop {
            let entry = Self::read(&self.path)?;
            let rest = deadline - Instant::now();
            if !entry.is_new || rest.is_zero() {
                return Some(entry);
            }
            match &watch {
                Ok(watch) => _ = watch.wait(rest),
                // The user has no more inotify instances.
                Err(_) => time::sleep(LOOK),
            }
        }
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        match self.ownership {
            Ownership::Known(owner) => Some(owner),
            _ => None,
        }
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

/// The state of the session; `None` if it has ended. A supervisor removes its cgroup before it exits. So if it is dead or
/// unknown, a second look at the directory tells whether it ended as it should while we looked.
fn settled_state(ownership: Ownership, is_old: bool, directory: &Path) -> Option<SessionState> {
    let state = state(ownership, is_old, directory);
    // If that cannot be determined, it may still be there.
    let is_there = || directory.try_exists().unwrap_or(true);
    (state == SessionState::Live || is_there()).then_some(state)
}

fn state(ownership: Ownership, is_old: bool, directory: &Path) -> SessionState {
    match ownership {
        Ownership::Known(owner) => match owner.is_alive() {
            Ok(true) => SessionState::Live,
            Ok(false) => SessionState::Stale,
            Err(_) => SessionState::Unknown,
        },
        // Its supervisor died before it could sign.
        Ownership::Unsigned if is_old && containment::is_empty(directory) => SessionState::Stale,
        Ownership::Unsigned | Ownership::Foreign => SessionState::Unknown,
    }
}

fn is_old(directory: &Path) -> bool {
    let modified = std::fs::metadata(directory).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| time_of_day().duration_since(modified).is_ok_and(|age| age > SIGNED_BY))
}

#[cfg(test)]
mod tests {
    use rustix::process::Pid;

    use super::*;

    /// What is read before and after the removal of a cgroup does not fit together.
    #[test]
    fn a_session_that_ends_while_we_look_is_neither_stale_nor_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let (there, gone) = (directory.path(), directory.path().join("gone"));
        let dead = Owner { pid: Pid::from_raw(i32::MAX).unwrap(), start_time: 1 };
        for (ownership, expected) in [
            (Ownership::Known(dead), SessionState::Stale),
            (Ownership::Unsigned, SessionState::Unknown),
            (Ownership::Foreign, SessionState::Unknown),
        ] {
            for is_old in [false, true] {
                assert_eq!(settled_state(ownership, is_old, there), Some(expected));
                assert_eq!(settled_state(ownership, is_old, &gone), None);
            }
        }
    }
}
