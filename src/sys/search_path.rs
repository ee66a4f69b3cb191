//! The search path of this process.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

/// The programs of this name on our search path, in its order. A relative entry could be anybody's directory.
fn programs(name: &str) -> impl Iterator<Item = PathBuf> + '_ {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).filter(|it| it.is_absolute()).collect();
    directories.into_iter().map(move |it| it.join(name)).filter(|path| is_executable(path))
}

/// The first of them.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    programs(name).next()
}

/// One that only root can replace, if it is to run as root: a variable can name anybody's directory.
pub(crate) fn trusted_on_path(name: &str) -> Option<PathBuf> {
    programs(name).find(|path| !rustix::process::geteuid().is_root() || only_root_writes(path))
}

fn only_root_writes(path: &Path) -> bool {
    let is_roots = |path: &Path| path.metadata().is_ok_and(|it| it.uid() == 0 && it.mode() & 0o022 == 0);
    path.canonicalize().is_ok_and(|path| path.ancestors().all(is_roots))
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}
