//! Kills and freezes the processes in a cgroup.

use std::io;
use std::path::Path;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::files::write;
use super::walk::members;
use crate::containment::error::ContainmentError;
use crate::runtime::failpoint;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::details::cgroup_of;

/// Kills every process in it at once (`cgroup.kill`). They exit after the call has returned. `name` is its
/// name in `/proc/PID/cgroup`.
pub(super) fn kill(path: &Path, name: &str) -> Result<(), ContainmentError> {
    match kill_at_once(path) {
        // The kernel is older than Linux 5.14, or the cgroup is threaded.
        Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => {
            kill_each(path, name)
        }
        // It has been removed, so it was empty.
        Err(error) if error.source.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

/// Since Linux 5.14. Writes `cgroup.kill`.
pub(super) fn kill_at_once(path: &Path) -> Result<(), ContainmentError> {
    if failpoint::is_absent("cgroup.kill") {
        return Err(ContainmentError::on("write to", path)(io::Error::from_raw_os_error(libc::ENOENT)));
    }
    write(&path.join("cgroup.kill"), b"1")
}

fn kill_each(path: &Path, name: &str) -> Result<(), ContainmentError> {
    for pid in members(path)? {
        // Checked after opening the pidfd: before that, the pid may have been reused.
        if let Ok(Some(process)) = Process::open(pid) {
            if is_in(pid, name).unwrap_or(false) {
                process.signal(Signal::SIGKILL).map_err(ContainmentError::on("kill a process of", path))?;
            }
        }
    }
    Ok(())
}

/// Freezes or thaws its processes. Takes effect a little later.
pub(super) fn freeze(path: &Path, frozen: bool) -> Result<(), ContainmentError> {
    write(&path.join("cgroup.freeze"), if frozen { b"1" } else { b"0" })
}

/// Whether the process is in the cgroup of this name, or in one below it.
pub(super) fn is_in(pid: Pid, name: &str) -> io::Result<bool> {
    let at = cgroup_of(pid)?;
    Ok(at.is_some_and(|at| Path::new(&at).starts_with(name)))
}
