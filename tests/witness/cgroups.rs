//! Reads the contents of cgroups: see cgroups(7), and `cgroup.procs` in the kernel's cgroup-v2.rst.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{at, unless_gone};

/// Fails if this is not a cgroup, which would otherwise look like an empty one.
pub(crate) fn require(path: &Path) -> io::Result<()> {
    let file = path.join("cgroup.procs");
    std::fs::metadata(&file).map(drop).map_err(at(&file))
}

/// The processes in this cgroup and in those below it.
pub(crate) fn members(path: &Path) -> io::Result<Vec<u32>> {
    let mut found = own_members(path)?;
    for path in descendants(path)? {
        found.extend(own_members(&path)?);
    }
    Ok(found)
}

/// The processes in this cgroup itself.
pub(crate) fn own_members(path: &Path) -> io::Result<Vec<u32>> {
    let mut file = path.join("cgroup.procs");
    let mut text = std::fs::read_to_string(&file);
    if matches!(&text, Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error())) {
        // A threaded cgroup lists threads only.
        file = path.join("cgroup.threads");
        text = std::fs::read_to_string(&file);
    }
    let text = unless_gone(text).map_err(at(&file))?.unwrap_or_default();
    let parse = |line: &str| line.parse().map_err(io::Error::other);
    text.lines().map(parse).collect::<io::Result<_>>().map_err(at(&file))
}

/// The cgroups directly below this one.
pub(crate) fn children(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in unless_gone(std::fs::read_dir(path)).map_err(at(path))?.into_iter().flatten() {
        let Some(entry) = unless_gone(entry).map_err(at(path))? else { continue };
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The cgroups below this one, at any depth; each comes after the one that contains it.
pub(crate) fn descendants(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = children(path)?;
    let mut next = 0;
    while next < found.len() {
        let below = children(&found[next])?;
        found.extend(below);
        next += 1;
    }
    Ok(found)
}
