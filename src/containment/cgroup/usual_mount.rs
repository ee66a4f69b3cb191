//! Looks for the cgroup2 hierarchy where it is usually mounted. This is faster than reading
//! `/proc/self/mountinfo`, which the kernel writes anew for all mounts of the host.

use std::path::Path;

use rustix::fs::{StatVfsMountFlags, stat, statfs, statvfs};

use super::metadata::namespace;

/// On hosts with cgroup v2 only, and on hybrid hosts.
const POINTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// The cgroup namespace of the host (`PROC_CGROUP_INIT_INO`, include/linux/proc_ns.h).
const NAMESPACE_OF_THE_HOST: &str = "4026531835";
/// The inode of a hierarchy's root directory (`kernfs_create_root`, fs/kernfs/dir.c).
const ROOT: u64 = 1;

/// The directory in which the whole hierarchy of the host is mounted and writable. `None` if it is mounted in another
/// way, or if we are in a cgroup namespace, which shows only a part of it.
pub(super) fn point_of_whole_hierarchy() -> Option<&'static Path> {
    if namespace("cgroup").ok()? != NAMESPACE_OF_THE_HOST {
        return None;
    }
    POINTS.into_iter().find(|point| shows_whole_hierarchy(point)).map(Path::new)
}

fn shows_whole_hierarchy(point: &str) -> bool {
    statfs(point).is_ok_and(|found| found.f_type == libc::CGROUP2_SUPER_MAGIC)
        && statvfs(point).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::RDONLY))
        && stat(point).is_ok_and(|found| found.st_ino == ROOT)
}
