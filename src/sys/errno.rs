//! Error numbers that mean the same wherever they come from.

use std::io;

/// Whether the process or file is gone: reading about a process that has exited gives ENOENT or ESRCH
/// (proc(5)), and so does reading a file of a removed cgroup.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}
