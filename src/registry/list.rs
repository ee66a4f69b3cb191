//! The sessions whose cgroups exist on this host.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::entry::SessionEntry;
use crate::containment::{self, Mount, SessionId, Unavailable};

/// `None` if no cgroup2 file system is mounted, so no session can exist in it.
pub(crate) fn cgroup_mount() -> Result<Option<Mount>> {
    match Mount::find() {
        Ok(mount) => Ok(Some(mount)),
        Err(Unavailable::NotMounted) => Ok(None),
        Err(error) => Err(anyhow!(error.advice())),
    }
}

/// All sessions of the host, anywhere in the hierarchy.
pub(crate) fn list_sessions(mount: &Mount) -> Result<Vec<SessionEntry>> {
    let directories = containment::session_directories(&mount.point)?;
    Ok(directories.iter().filter_map(|path| SessionEntry::read(path)).collect())
}

/// The sessions next to the one that we would create. This is cheap, so every start can afford it.
pub(super) fn list_neighbours(mount: &Mount) -> Result<Vec<SessionEntry>> {
    let mut entries: Vec<_> = children(&mount.own)?.filter_map(|path| SessionEntry::read(&path)).collect();
    // Our systemd scopes lie next to each other.
    if let Some(parent) = mount.own.parent().filter(|_| is_scope(&mount.own)) {
        let scopes = children(parent).into_iter().flatten();
        for scope in scopes.filter(|path| is_scope(path) && *path != mount.own) {
            entries
                .extend(children(&scope).into_iter().flatten().filter_map(|path| SessionEntry::read(&path)));
        }
    }
    Ok(entries)
}

fn children(directory: &Path) -> Result<impl Iterator<Item = PathBuf> + use<>> {
    let entries = std::fs::read_dir(directory);
    let entries = entries.with_context(|| format!("cannot list {}", directory.display()))?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.path()))
}

fn is_scope(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix(".scope").is_some_and(|name| SessionId::of_directory(name).is_some())
}
