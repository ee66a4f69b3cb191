//! Walks a cgroup and all cgroups below it, to list processes, inode numbers and sessions, or to remove them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::containment::error::ContainmentError;
use crate::containment::session_id::SessionId;
use crate::sys::errno::is_gone;
use crate::sys::small_file::read_list;

/// The cgroups of all sessions, anywhere below the mount.
pub(super) fn session_directories(mount: &Path) -> Result<Vec<PathBuf>, ContainmentError> {
    let mut found = Vec::new();
    walk(mount, &mut |directory| {
        if session_id(directory).is_some() {
            found.push(directory.to_path_buf());
        }
        Ok(())
    })?;
    Ok(found)
}

/// The sessions that are visible at `mount` or below it.
#[derive(Debug, Default)]
pub(crate) struct VisibleSessions {
    pub directories: Vec<PathBuf>,
    /// Cgroups that we are not permitted to list.
    pub hidden: Vec<PathBuf>,
}

pub(crate) fn visible_sessions(mount: &Path) -> Result<VisibleSessions, ContainmentError> {
    let mut found = VisibleSessions::default();
    let mut pending = vec![mount.to_path_buf()];
    while let Some(directory) = pending.pop() {
        match directories_in(&directory) {
            Ok(below) => pending.extend(below),
            Err(error) if is_gone(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                found.hidden.push(directory.clone())
            }
            Err(error) => return Err(ContainmentError::on("list", &directory)(error)),
        }
        if session_id(&directory).is_some() {
            found.directories.push(directory);
        }
    }
    Ok(found)
}

/// The id of the session whose cgroup this is.
pub(super) fn session_id(directory: &Path) -> Option<SessionId> {
    SessionId::of_directory(directory.file_name()?.to_str()?)
}

/// The processes in it and in all cgroups below it.
pub(super) fn members(path: &Path) -> Result<Vec<Pid>, ContainmentError> {
    members_where(path, |_| true)
}

/// The processes in the cgroups that are `wanted`. A process outside our PID namespace shows as 0, and is left
/// out.
pub(super) fn members_where(
    path: &Path,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<Pid>, ContainmentError> {
    let mut found = Vec::new();
    walk(path, &mut |directory| {
        if wanted(directory) {
            found.extend(processes_in(directory)?.into_iter().flatten());
        }
        Ok(())
    })?;
    Ok(found)
}

/// The processes of a session's cgroup, by leaf.
#[derive(Debug, Default)]
pub(crate) struct SessionMembers {
    /// The first path component below the session's cgroup, empty for the cgroup itself, and the processes there.
    pub by_leaf: Vec<(String, Vec<Pid>)>,
    /// How many are outside our PID namespace.
    pub hidden: usize,
}

pub(crate) fn session_members(path: &Path) -> Result<SessionMembers, ContainmentError> {
    let mut found = SessionMembers::default();
    walk(path, &mut |directory| {
        let (visible, hidden): (Vec<_>, Vec<_>) =
            processes_in(directory)?.into_iter().partition(Option::is_some);
        found.hidden += hidden.len();
        let below = directory.strip_prefix(path).unwrap_or(Path::new(""));
        let leaf = below.iter().next().unwrap_or_default().to_string_lossy().into_owned();
        found.by_leaf.push((leaf, visible.into_iter().flatten().collect()));
        Ok(())
    })?;
    Ok(found)
}

/// The processes in one cgroup, `None` for each that is outside our PID namespace.
fn processes_in(directory: &Path) -> Result<Vec<Option<Pid>>, ContainmentError> {
    let file = directory.join("cgroup.procs");
    match read_list(&file) {
        Ok(list) => {
            let text = String::from_utf8_lossy(&list);
            Ok(text.lines().filter_map(|line| Some(Pid::from_raw(line.parse().ok()?))).collect())
        }
        // A threaded cgroup lists its processes in the domain above it.
        Err(error) if is_gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(Vec::new()),
        Err(error) => Err(ContainmentError::on("read", &file)(error)),
    }
}

/// The inode numbers of the cgroup and of all below it, by which the kernel names the cgroup of a socket.
pub(super) fn inode_numbers(path: &Path) -> Result<Vec<u64>, ContainmentError> {
    let mut found = Vec::new();
    walk(path, &mut |directory| match std::fs::metadata(directory) {
        Ok(metadata) => {
            found.push(metadata.ino());
            Ok(())
        }
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(ContainmentError::on("inspect", directory)(error)),
    })?;
    Ok(found)
}

/// Removes it, leaves first. The kernel refuses while a process lives in it. Removing it twice is not an error.
pub(super) fn remove(path: &Path) -> Result<(), ContainmentError> {
    match std::fs::remove_dir(path) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        Err(error) if !is_gone(&error) => return Err(ContainmentError::on("remove", path)(error)),
        _ => return Ok(()),
    }
    let mut directories = Vec::new();
    walk(path, &mut |directory| {
        directories.push(directory.to_path_buf());
        Ok(())
    })?;
    // The walk visited parents before their children.
    for directory in directories.iter().rev() {
        match std::fs::remove_dir(directory) {
            Err(error) if !is_gone(&error) => {
                return Err(ContainmentError::on("remove", directory)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Visits a cgroup and all below it, parents first.
fn walk(
    path: &Path,
    visit: &mut dyn FnMut(&Path) -> Result<(), ContainmentError>,
) -> Result<(), ContainmentError> {
    let mut pending = vec![path.to_path_buf()];
    while let Some(directory) = pending.pop() {
        visit(&directory)?;
        match directories_in(&directory) {
            Ok(below) => pending.extend(below),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(ContainmentError::on("list", &directory)(error)),
        }
    }
    Ok(())
}

fn directories_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
