//! The open files of processes (`/proc/PID/fd`, proc_pid_fd(5)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;

use procfs::process::FDTarget;
use rustix::process::Pid;

use super::details::link_target;
use super::walk::all_pids;
use crate::sys::small_file::read_all;

/// At most this many descriptors of one process are read for a report.
const MOST_READ: usize = 1024;

/// The target of each descriptor of `pid` that we are allowed to see: a path, or a name such as
/// `socket:[4711]`.
pub(crate) fn descriptor_targets(pid: Pid) -> Vec<OsString> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.take(MOST_READ).filter_map(|entry| link_target(&entry.path().to_string_lossy())).collect()
}

/// One open file of a process.
#[derive(Clone, Debug)]
pub(crate) struct OpenFile {
    pub number: i32,
    /// A path, or a name such as `pipe:[4711]`.
    pub target: OsString,
}

/// At most `MOST_READ` of the open files of `pid`. An error if we are not allowed to see them.
pub(crate) fn open_files(pid: Pid) -> io::Result<Vec<OpenFile>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
    let open_file = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some(OpenFile { number, target: std::fs::read_link(entry.path()).ok()?.into_os_string() })
    };
    Ok(entries.take(MOST_READ).filter_map(open_file).collect())
}

/// Whether a descriptor of `pid` can be read from, and written to (proc_pid_fd(5)).
pub(crate) fn access(pid: Pid, number: i32) -> Option<(bool, bool)> {
    let link = std::fs::symlink_metadata(format!("/proc/{pid}/fd/{number}")).ok()?;
    Some((link.mode() & 0o400 != 0, link.mode() & 0o200 != 0))
}

/// What the kernel says of a descriptor (proc_pid_fdinfo(5)).
pub(crate) fn descriptor_info(pid: Pid, number: i32) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read_all(format!("/proc/{pid}/fdinfo/{number}"))?).into_owned())
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
