//! Reads a cgroup's `cgroup.events`.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::containment::error::ContainmentError;

/// An open `cgroup.events` file.
#[derive(Debug)]
pub(super) struct CgroupEvents {
    path: PathBuf,
    file: File,
}

impl CgroupEvents {
    pub(super) fn open(directory: &Path) -> Result<Self, ContainmentError> {
        let path = directory.join("cgroup.events");
        let file = File::open(&path).map_err(ContainmentError::on("open", &path))?;
        Ok(Self { path, file })
    }

    /// Whether any process lives in the cgroup or below it. Zombies do not count.
    pub(super) fn is_populated(&self) -> Result<bool, ContainmentError> {
        self.has_line("populated 1")
    }

    /// Whether all its processes are frozen.
    pub(super) fn is_frozen(&self) -> Result<bool, ContainmentError> {
        self.has_line("frozen 1")
    }

    /// Whether the file has this line. A removed cgroup (ENODEV) has no process and no line.
    fn has_line(&self, line: &str) -> Result<bool, ContainmentError> {
        // Read at an offset: the guardian shares our open file description.
        let mut text = [0u8; 256];
        match self.file.read_at(&mut text, 0) {
            Ok(length) => Ok(String::from_utf8_lossy(&text[..length]).lines().any(|it| it == line)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
            Err(error) => Err(ContainmentError::on("read", &self.path)(error)),
        }
    }
}

/// Readable for priority data (`POLLPRI`) after a change. The kernel delays that by 10 to 15 ms.
impl AsFd for CgroupEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether no process lives in the cgroup. `false` if that cannot be read.
pub(crate) fn is_empty(directory: &Path) -> bool {
    CgroupEvents::open(directory).is_ok_and(|events| events.is_populated().is_ok_and(|populated| !populated))
}
