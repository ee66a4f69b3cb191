//! Removes a directory with everything in it, with the rights of its owner.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::{Errno, Result};
use rustix::process::geteuid;

use super::directory::{open_all, open_path};
use super::walk::Walk;
use crate::sys::process::identity::{ActingAs, Identity};
use crate::text::{counted, plain};

pub(super) const FILLED: &str = "something fills it while it is removed";

#[derive(Debug, Default)]
pub(super) struct Removed {
    pub files: u64,
    pub bytes: u64,
    /// What could not be removed, without what it is in.
    pub left: u64,
    /// The first of it, and why.
    pub first: Option<(String, String)>,
    /// It is not known how much is left: it took longer than this.
    pub unfinished_after: Option<Duration>,
    /// Why nothing could be removed at all.
    pub refused: Option<String>,
}

impl Removed {
    fn refused(why: impl Into<String>) -> Self {
        Self { refused: Some(why.into()), ..Self::default() }
    }

    pub(super) fn problem(&self) -> Option<String> {
        if self.refused.is_some() {
            return self.refused.clone();
        }
        let first = self.first.as_ref().map(|(name, why)| format!("{name}: {why}"));
        if let Some(limit) = self.unfinished_after {
            let removed = counted(self.files, "file");
            let first = first.map(|it| format!("; {it}")).unwrap_or_default();
            return Some(format!("gave up after {} s, with {removed} removed{first}", limit.as_secs()));
        }
        let others = match self.left {
            0 | 1 => String::new(),
            left => format!(", and {} more", left - 1),
        };
        first.map(|first| format!("{first}{others}"))
    }
}

/// What is left after `limit` stays.
pub(super) fn remove(path: &Path, owner: Option<&Identity>, limit: Duration) -> Removed {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Removed::refused("it is not in a directory");
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match openat(CWD, parent, flags, Mode::empty()) {
        // The session has removed it, or it was in a directory that went with the session.
        Err(Errno::NOENT | Errno::NOTDIR) => return Removed::default(),
        Err(error) => return Removed::refused(plain(&error.into())),
        Ok(parent) => parent,
    };
    let mut removed = {
        let user = match ActingAs::session_user(owner) {
            Ok(user) => user,
            Err(error) => {
                return Removed::refused(format!("cannot switch to the session's user: {error}"));
            }
        };
        let uid = owner.and_then(|it| it.user.as_ref()).map(|(user, _)| user.uid.as_raw());
        let removed = match open_own(&parent, name.as_bytes(), uid) {
            Ok(directory) => Walk::new(directory, limit).and_then(Walk::run),
            Err(Errno::NOENT) => Ok(Removed::default()),
            Err(Errno::LOOP | Errno::NOTDIR) => Ok(Removed::refused("something else is in its place")),
            Err(Errno::XDEV) => Ok(Removed::refused("another file system is mounted on it")),
            Err(Errno::NOSYS) => Ok(Removed::refused("this kernel cannot open a directory safely (openat2)")),
            Err(Errno::EXIST) => Ok(Removed::refused("another user's directory is in its place")),
            Err(error) => Err(error),
        };
        drop(user);
        removed.unwrap_or_else(|error| Removed::refused(plain(&error.into())))
    };
    if removed.problem().is_none() {
        // With our own rights, because its user may not be able to write to the directory that it is in.
        match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => removed.refused = Some(FILLED.into()),
            Err(error) => removed.refused = Some(plain(&error.into())),
        }
    }
    removed
}

/// Another user can have made one with this name after the session removed its own.
fn open_own(parent: &OwnedFd, name: &[u8], owner: Option<u32>) -> Result<OwnedFd> {
    let is_own =
        |directory: &OwnedFd| Ok(fstat(directory)?.st_uid == owner.unwrap_or_else(|| geteuid().as_raw()));
    // Before it is given any rights.
    if !is_own(&open_path(parent, name)?)? {
        return Err(Errno::EXIST);
    }
    let directory = open_all(parent, name)?;
    if is_own(&directory)? { Ok(directory) } else { Err(Errno::EXIST) }
}
