//! The leaf that the supervisor moves to while controllers are on in its original cgroup.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::occupancy::{is_shared, own_occupied};
use super::refused::Refused;
use crate::containment::cgroup::files::{read_words, write};
use crate::containment::{ContainmentError, Mount, PREFIX, is_empty};
use crate::runtime::clock;
use crate::sys::procfs::stat;
use crate::sys::time;

/// No session's cgroup has a name that starts like this.
const NAME: &str = "supervisor-";
/// How long the guardian may take to leave the leaf after it announced its exit.
const LEAVING: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_micros(500);

/// A leaf beside the session's cgroup, with this process in it.
#[derive(Debug)]
pub(super) struct SupervisorLeaf {
    parent: PathBuf,
    path: PathBuf,
}

impl SupervisorLeaf {
    /// Makes the leaf in our own cgroup, and moves this process and its aides there.
    pub(super) fn enter(mount: &Mount) -> Result<Self, Refused> {
        if is_shared(mount)? {
            return Err(own_occupied(mount));
        }
        let own = mount.own.as_path();
        let us = std::process::id();
        let path = own.join(format!("{PREFIX}{NAME}{us}"));
        match std::fs::create_dir(&path) {
            // A dead supervisor with the same pid left it behind.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(ContainmentError::on("create the cgroup", &path))?,
        }
        let leaf = Self { parent: own.to_path_buf(), path };
        // One that has died needs no place.
        mount.aides.iter().for_each(|pid| _ = write(&procs(&leaf.path), pid.to_string().as_bytes()));
        if let Err(error) = join(&leaf.path) {
            let _ = std::fs::remove_dir(&leaf.path);
            return Err(error.into());
        }
        Ok(leaf)
    }

    /// Moves back to our original cgroup, and removes the leaf.
    pub(super) fn leave(&self) {
        if join(&self.parent).is_err() {
            return;
        }
        let deadline = clock::now() + LEAVING;
        while !is_empty(&self.path) && clock::now() < deadline {
            // The guardian announces its exit a moment before it is gone.
            time::sleep(POLL);
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Removes the leaves that dead supervisors and guardians left in a cgroup.
pub(crate) fn clear_supervisor_leaves(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let left = entries.filter(|entry| {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|it| it.strip_prefix(PREFIX)?.strip_prefix(NAME)?.parse().ok());
        pid.and_then(rustix::process::Pid::from_raw).is_some_and(|pid| stat::start_time(pid).is_none())
    });
    // The kernel refuses to remove a leaf that contains a process.
    let removed = left.filter(|entry| std::fs::remove_dir(entry.path()).is_ok()).count();
    if removed > 0 && is_empty(directory) {
        switch_all_off(directory);
    }
}

/// Turns off all controllers. None was on when the supervisor created the leaf, so it turned on all of them.
fn switch_all_off(directory: &Path) {
    let control = "cgroup.subtree_control";
    let on = read_words(directory, control).unwrap_or_default();
    let off: Vec<_> = on.iter().map(|name| format!("-{name}")).collect();
    let _ = write(&directory.join(control), off.join(" ").as_bytes());
}

fn join(directory: &Path) -> Result<(), ContainmentError> {
    write(&procs(directory), b"0")
}

fn procs(directory: &Path) -> PathBuf {
    directory.join("cgroup.procs")
}
