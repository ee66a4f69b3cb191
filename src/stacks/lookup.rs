//! Where a tool is.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::collect::Target;
use crate::sys::search_path::is_executable;

/// A program of this name in one of the directories that the process comes from. It has to belong to root or to the user
/// with whose rights it will run, and the process must see the same files as we do.
pub(super) fn beside(target: &Target, directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    let credentials = target.credentials.as_ref().filter(|it| it.is_plain)?;
    if !has_our_root(target) {
        return None;
    }
    let is_trusted = |path: &Path| {
        path.metadata().is_ok_and(|it| [0, credentials.uid].contains(&it.uid()) && it.mode() & 0o002 == 0)
    };
    directories
        .iter()
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| is_executable(path) && is_trusted(path))
}

fn has_our_root(target: &Target) -> bool {
    let identity = |path: &str| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let theirs = identity(&format!("/proc/{}/root/.", target.pid));
    theirs.is_some() && theirs == identity("/")
}
