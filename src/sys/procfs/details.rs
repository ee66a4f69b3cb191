//! The cgroup, the program and the working directory of a process.

use std::ffi::OsString;
use std::io;

use rustix::process::Pid;

use super::status::Status;
use crate::sys::errno::is_gone;
use crate::sys::small_file::read_single;

/// The path of the process's cgroup in the cgroup2 hierarchy, as seen from our cgroup namespace. `None` if
/// the process has exited.
pub(crate) fn cgroup_of(pid: Pid) -> io::Result<Option<String>> {
    match read_single(format!("/proc/{pid}/cgroup")) {
        Ok(bytes) => Ok(unified_path(&String::from_utf8_lossy(&bytes))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The path in the `0::` line of a `/proc/PID/cgroup` (cgroups(7)).
pub(crate) fn unified_path(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_string)
}

/// Whether the process is the first one of a PID namespace inside ours (`NSpid`, proc_pid_status(5)).
pub(crate) fn is_inner_init(pid: Pid) -> bool {
    let pids = pids_in_namespaces(pid);
    pids.len() > 1 && pids.last() == Some(&1)
}

/// The pid of the process in its own PID namespace.
pub(crate) fn inner_pid(pid: Pid) -> Option<i32> {
    pids_in_namespaces(pid).last().copied()
}

/// The pid of the process in our PID namespace, and in each one below that it is in.
pub(crate) fn pids_in_namespaces(pid: Pid) -> Vec<i32> {
    Status::of(pid).and_then(|status| status.numbers("NSpid")).unwrap_or_default()
}

/// The program that `pid` executes. `None` if we are not allowed to see it.
pub(crate) fn executable(pid: Pid) -> Option<OsString> {
    link_target(&format!("/proc/{pid}/exe"))
}

/// `None` if we are not allowed to see it.
pub(crate) fn working_directory(pid: Pid) -> Option<OsString> {
    link_target(&format!("/proc/{pid}/cwd"))
}

pub(super) fn link_target(path: &str) -> Option<OsString> {
    std::fs::read_link(path).ok().map(std::path::PathBuf::into_os_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locates_the_running_test() {
        let us = rustix::process::getpid();
        assert!(cgroup_of(us).unwrap().is_some());
        assert_eq!(executable(us), std::env::current_exe().ok().map(Into::into));
        assert_eq!(working_directory(us), std::env::current_dir().ok().map(Into::into));
    }
}
