//! The sessions whose cgroups exist on this host.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::entry::SessionEntry;
use crate::containment::{self, Mount, SessionId, Unavailable};

/// `None` if no cgroup2 file system is mounted, so that no session can have a cgroup.
pub(crate) fn cgroup_mount() -> Result<Option<Mount>> {
    match Mount::find_any() {
        Ok(mount) => Ok(Some(mount)),
        Err(Unavailable::NotMounted) => Ok(None),
        Err(error) => Err(anyhow!(error.advice())),
    }
}

/// The sessions of the host, anywhere in the hierarchy.
#[derive(Debug, Default)]
pub(crate) struct SessionList {
    pub entries: Vec<SessionEntry>,
    /// Cgroups that we cannot list. They could contain sessions.
    hidden: Vec<PathBuf>,
}

impl SessionList {
    /// A warning if the list may be incomplete.
    pub(crate) fn gap(&self) -> Option<String> {
        let first = self.hidden.first()?.display();
        let others = match self.hidden.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        Some(format!(
            "cannot look for sessions in {first}{others}: permission denied; run as root to see them all"
        ))
    }
}

/// Lists the sessions that we can see.
pub(crate) fn list_sessions(mount: &Mount) -> Result<SessionList> {
    let visible = containment::visible_sessions(&mount.point)?;
    let entries = visible.directories.iter().filter_map(|path| SessionEntry::read(path)).collect();
    Ok(SessionList { entries, hidden: visible.hidden })
}

/// The same, but waits until those that have just been made are signed, old enough to be, or gone. Sessions that are made
/// meanwhile are not listed: that could go on forever.
pub(crate) fn list_signed_sessions(mount: &Mount) -> Result<SessionList> {
    let mut list = list_sessions(mount)?;
    list.entries = list.entries.into_iter().filter_map(SessionEntry::once_signed).collect();
    list.hidden.retain(|directory| directory.try_exists().unwrap_or(true));
    Ok(list)
}

/// The sessions next to the one that we would create. This is cheap, so every start can afford it.
pub(super) fn list_neighbours(mount: &Mount) -> Result<Vec<SessionEntry>> {
    let neighbours = match children(&mount.own) {
        // If we cannot list it, we cannot create anything in it either.
        Err(error) if is_denied(&error) => return Ok(Vec::new()),
        neighbours => neighbours?,
    };
    let mut entries: Vec<_> = neighbours.filter_map(|path| SessionEntry::read(&path)).collect();
    // With limits, it would be elsewhere.
    let limited = mount.clone().for_limits();
    if limited.own != mount.own {
        let there = children(&limited.own).into_iter().flatten();
        entries.extend(there.filter_map(|path| SessionEntry::read(&path)));
    }
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

fn is_denied(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn is_scope(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix(".scope").is_some_and(|name| SessionId::of_directory(name).is_some())
}
