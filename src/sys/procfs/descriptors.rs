//! The open files of processes (`/proc/PID/fd`, proc_pid_fd(5)).

use std::ffi::{OsStr, OsString};

use procfs::process::FDTarget;
use rustix::process::Pid;

use super::details::link_target;
use super::walk::all_pids;

/// At most this many descriptors of one process are read for a report.
const MOST_READ: usize = 1024;

/// The target of each descriptor of `pid` that we are allowed to see: a path, or a name such as
/// `socket:[4711]`.
pub(crate) fn descriptor_targets(pid: Pid) -> Vec<OsString> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.take(MOST_READ).filter_map(|entry| link_target(&entry.path().to_string_lossy())).collect()
}

/// The targets of our own standard streams, which the command inherits.
pub(crate) fn own_streams() -> [Option<OsString>; 3] {
    [0, 1, 2].map(|number| link_target(&format!("/proc/self/fd/{number}")))
}

/// The inode of the socket that a descriptor refers to.
pub(crate) fn socket_inode(target: &OsStr) -> Option<u32> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Whether we are allowed to see which files `pid` has open.
pub(crate) fn are_descriptors_visible(pid: Pid) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok()
}

/// Every process that has one of these sockets open. Walks over all descriptors of the host, so use it only
/// once something is wrong. Leaves out processes that we are not allowed to inspect.
pub(crate) fn socket_holders(inodes: &[u32]) -> Vec<Pid> {
    all_pids().into_iter().flatten().filter(|&pid| holds_socket(pid, inodes)).collect()
}

/// Whether `pid` has one of these sockets open. Also `false` if we are not allowed to see it.
pub(crate) fn holds_socket(pid: Pid, inodes: &[u32]) -> bool {
    let is_one = |target| matches!(target, FDTarget::Socket(inode) if inodes.contains(&(inode as u32)));
    let process = procfs::process::Process::new(pid.as_raw_nonzero().get());
    process.and_then(|process| process.fd()).is_ok_and(|mut descriptors| {
        descriptors.any(|descriptor| descriptor.is_ok_and(|descriptor| is_one(descriptor.target)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_socket_behind_a_descriptor() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let targets = descriptor_targets(rustix::process::getpid());
        assert!(targets.iter().any(|target| socket_inode(target).is_some()), "{targets:?}");
        drop(listener);
        assert_eq!(socket_inode("pipe:[1]".as_ref()), None);
    }
}
