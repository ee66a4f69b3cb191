//! Error numbers that mean the same wherever they come from.

use std::io;

/// Whether the process or file has gone: reading about a process that ends meanwhile answers ENOENT or
/// ESRCH (proc(5)), and so does a file of a cgroup that was removed.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}
