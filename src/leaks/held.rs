//! What a leaked process holds that outlives it: segments of shared memory, and files in directories that all share.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::sys::procfs::mappings::{Mapped, mapped};

/// As the kernel names them: without links.
pub(crate) const SHARED: [&str; 4] = ["/dev/shm", "/run/shm", "/tmp", "/var/tmp"];
/// So many of one process are noted.
const MOST: usize = 100;

#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// By their ids, in the IPC namespace of the process.
    pub segments: BTreeSet<i32>,
    /// Those that have a name.
    pub files: BTreeSet<PathBuf>,
}

impl Held {
    /// `descriptors` are the targets of its descriptors.
    pub(super) fn of(pid: Pid, descriptors: &[OsString]) -> Self {
        let is_named = |it: &&OsString| !it.as_bytes().ends_with(b" (deleted)");
        let open = descriptors.iter().filter(is_named).map(Path::new);
        let open = open.filter(|path| SHARED.iter().any(|it| path.starts_with(it)));
        let mut held =
            Self { segments: BTreeSet::new(), files: open.take(MOST).map(PathBuf::from).collect() };
        for it in mapped(pid, &SHARED).into_iter().take(MOST) {
            match it {
                Mapped::Segment(id) => _ = held.segments.insert(id),
                Mapped::File(path) => _ = held.files.insert(path),
            }
        }
        held
    }
}
