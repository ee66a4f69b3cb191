//! The search path of this process.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

/// The first program of this name on our search path. A relative entry could be anybody's directory.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| is_executable(path))
}

/// The same, but where only root can replace it, if it is to run as root: a variable can name anybody's directory.
pub(crate) fn trusted_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|directory| directory.join(name));
    let is_trusted = |path: &PathBuf| !rustix::process::geteuid().is_root() || only_root_writes(path);
    found.filter(|path| path.is_absolute() && is_executable(path)).find(is_trusted)
}

fn only_root_writes(path: &Path) -> bool {
    let is_roots = |path: &Path| path.metadata().is_ok_and(|it| it.uid() == 0 && it.mode() & 0o022 == 0);
    path.canonicalize().is_ok_and(|path| path.ancestors().all(is_roots))
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}
