//! flock(2): each process holds a lock for as long as it lives, so a free lock proves that it has exited.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{at, unless_gone};

/// The files of this directory that a process has locked.
pub(crate) fn held(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        let Some(file) = unless_gone(File::open(&path)).map_err(at(&path))? else { continue };
        // A shared lock delays a process that is about to take its own lock only for a moment.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => found.push(path),
            Err(errno) => return Err(at(&path)(errno.into())),
        }
    }
    Ok(found)
}
