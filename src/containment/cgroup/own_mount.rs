//! A cgroup2 mount of our own, for containers whose /sys/fs/cgroup is read-only or missing.
//!
//! The mount is attached to no directory, so other processes cannot see it. The supervisor and its guardian
//! reach it through its descriptor. `cgrun sweep` and `cgrun stop` make another one: in a container all
//! processes share one cgroup, so theirs shows the same sessions.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Access, access};

use crate::sys::process::cgroup_mount::mount_own_cgroup;
use crate::sys::process::namespace::needs_no_user;

/// The mount. Its root is the cgroup in which we were when it was made.
#[derive(Debug)]
pub(super) struct OwnMount(OwnedFd);

impl OwnMount {
    /// `None` if that is not permitted here, or if we cannot create cgroups in our own.
    pub(super) fn create() -> Option<Self> {
        let privileged = needs_no_user();
        let mount = Self(mount_own_cgroup(!privileged).ok()?);
        access(mount.root(), Access::WRITE_OK).is_ok().then_some(mount)
    }

    /// The path of its root directory, which only a process with this descriptor can use.
    pub(super) fn root(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

impl AsFd for OwnMount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
