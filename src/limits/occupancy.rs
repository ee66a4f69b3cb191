//! Lists the processes directly in a cgroup. While there are any, its children cannot have controllers
//! (cgroups(7), "no internal processes").

use std::path::Path;

use super::refused::Refused;
use crate::containment::ContainmentError;
use crate::containment::cgroup::files::read_words;
use crate::sys::procfs::process_info::ProcessInfo;

/// How many processes an error names.
const NAMED: usize = 3;

/// The pids of the processes directly in a cgroup. The kernel shows 0 for one outside our PID namespace.
pub(super) fn processes_in(directory: &Path) -> Result<Vec<i32>, ContainmentError> {
    let pids = read_words(directory, "cgroup.procs")?;
    Ok(pids.iter().filter_map(|pid| pid.parse().ok()).collect())
}

/// Whether any process other than this one is in it.
pub(super) fn is_shared(directory: &Path) -> Result<bool, ContainmentError> {
    let us = std::process::id();
    Ok(processes_in(directory)?.iter().any(|pid| pid.unsigned_abs() != us))
}

/// The refusal, which names the processes in the cgroup.
pub(super) fn occupied(path: &Path) -> Refused {
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
        None => "one in another PID namespace".into(),
    }
}
