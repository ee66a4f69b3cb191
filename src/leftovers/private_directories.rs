//! How much is in the private `/tmp` and `/var/tmp`, by the counters of their file systems.

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::leftover::Leftover;

#[derive(Debug)]
pub(super) struct PrivateDirectory {
    path: PathBuf,
    /// What cgrun itself has put there.
    bytes: u64,
    files: u64,
}

impl PrivateDirectory {
    pub(super) fn all() -> Vec<Self> {
        let mut paths: Vec<_> =
            ["/tmp", "/var/tmp"].iter().filter_map(|it| Path::new(it).canonicalize().ok()).collect();
        paths.dedup();
        paths
            .into_iter()
            .filter_map(|path| used(&path).map(|(bytes, files)| Self { path, bytes, files }))
            .collect()
    }

    /// What was made in it since. `None` if that is nothing.
    pub(super) fn leftover(&self) -> Option<Leftover> {
        let (bytes, files) = used(&self.path)?;
        let files = files.saturating_sub(self.files);
        (files > 0).then(|| Leftover::directory(&self.path, bytes.saturating_sub(self.bytes), files))
    }
}

/// Bytes, and files and directories.
fn used(path: &Path) -> Option<(u64, u64)> {
    let it = statvfs(path).ok()?;
    let bytes = it.f_blocks.saturating_sub(it.f_bfree).saturating_mul(it.f_frsize);
    Some((bytes, it.f_files.saturating_sub(it.f_ffree)))
}
