//! Lists the processes directly in a cgroup. While there are any, its children cannot have controllers
//! (cgroups(7), "no internal processes").

use std::path::Path;

use rustix::process::Pid;

use super::refused::Refused;
use crate::containment::cgroup::files::read_words;
use crate::containment::{ContainmentError, Mount};
use crate::sys::procfs::process_info::ProcessInfo;

/// How many processes an error names.
const NAMED: usize = 3;

/// The pids of the processes directly in a cgroup. The kernel shows 0 for one outside our PID namespace.
pub(super) fn processes_in(directory: &Path) -> Result<Vec<i32>, ContainmentError> {
    let pids = read_words(directory, "cgroup.procs")?;
    Ok(pids.iter().filter_map(|pid| pid.parse().ok()).collect())
}

/// Whether any process other than cgrun's is in its own cgroup.
pub(super) fn is_shared(mount: &Mount) -> Result<bool, ContainmentError> {
    Ok(!others_in(&mount.own, &mount.aides)?.is_empty())
}

/// The refusal of cgrun's own cgroup, which names the processes in it.
pub(super) fn own_occupied(mount: &Mount) -> Refused {
    refusal(&mount.own, &mount.aides)
}

/// The same for another cgroup.
pub(super) fn occupied(path: &Path) -> Refused {
    refusal(path, &[])
}

fn others_in(path: &Path, aides: &[Pid]) -> Result<Vec<i32>, ContainmentError> {
    let us = std::process::id();
    let is_ours =
        |pid: i32| pid.unsigned_abs() == us || aides.iter().any(|it| it.as_raw_nonzero().get() == pid);
    Ok(processes_in(path)?.into_iter().filter(|&pid| !is_ours(pid)).collect())
}

fn refusal(path: &Path, aides: &[Pid]) -> Refused {
    let others = others_in(path, aides).unwrap_or_default();
    let mut named: Vec<_> = others.iter().take(NAMED).map(|&pid| name(pid)).collect();
    if others.len() > named.len() {
        named.push(format!("{} more", others.len() - named.len()));
    }
    Refused::Occupied { path: path.to_path_buf(), processes: named.join(", ") }
}

fn name(pid: i32) -> String {
    match Pid::from_raw(pid).and_then(ProcessInfo::read) {
        Some(process) => format!("pid {pid}, {}", process.command_for_people(40)),
        None if pid > 0 => format!("pid {pid}"),
        None => "one in another PID namespace".into(),
    }
}
