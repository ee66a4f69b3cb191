//! Makes the directory, so that no other user can have put anything in its place.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fchown, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

use super::directory::open_in;
use crate::containment::SessionId;
use crate::sys::process::identity::{ActingAs, Identity};
use crate::text::plain;

/// How many names are tried. Each is random.
const ATTEMPTS: usize = 8;

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot make a temporary directory in {}: {}; set TMPDIR to a directory that the session's user can use, or omit \
     --tmp session",
    parent.display(),
    plain(source)
)]
pub(crate) struct NoScratch {
    parent: PathBuf,
    source: io::Error,
}

pub(super) fn create(
    parent: &Path,
    id: &SessionId,
    identity: Option<&Identity>,
) -> Result<PathBuf, NoScratch> {
    create_in(parent, id, identity).map_err(|source| NoScratch { parent: parent.into(), source })
}

fn create_in(parent: &Path, id: &SessionId, identity: Option<&Identity>) -> io::Result<PathBuf> {
    let directory = openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut name = id.directory();
    for _ in 0..ATTEMPTS {
        let made = match as_user(identity, || mkdirat(&directory, &name, Mode::RWXU))? {
            // Where the user cannot write, nobody can exchange it before it is handed over.
            Err(Errno::ACCESS) => {
                mkdirat(&directory, &name, Mode::RWXU).and_then(|()| hand_over(&directory, &name, identity))
            }
            made => made,
        };
        match made {
            // Another user may have taken the name.
            Err(Errno::EXIST) => name = format!("{}-{}", id.directory(), SessionId::random()?),
            Err(error) => return Err(error.into()),
            Ok(()) => {
                let path = parent.join(&name);
                // Its user cannot use it if a directory above it is closed.
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                return match as_user(identity, || openat(CWD, &path, flags, Mode::empty()))? {
                    Ok(_) => Ok(path),
                    Err(error) => {
                        let _ = unlinkat(&directory, &name, AtFlags::REMOVEDIR);
                        Err(error.into())
                    }
                };
            }
        }
    }
    Err(Errno::EXIST.into())
}

fn hand_over(
    parent: &impl std::os::fd::AsFd,
    name: &str,
    identity: Option<&Identity>,
) -> rustix::io::Result<()> {
    let Some((user, _)) = identity.and_then(|it| it.user.as_ref()) else { return Ok(()) };
    let directory = open_in(parent, name)?;
    let stat = fstat(&directory)?;
    if stat.st_uid != geteuid().as_raw() || FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Errno::EXIST);
    }
    let (user, group) = (Uid::from_raw(user.uid.as_raw()), Gid::from_raw(user.gid.as_raw()));
    fchown(&directory, Some(user), Some(group))
}

fn as_user<T>(identity: Option<&Identity>, act: impl FnOnce() -> T) -> io::Result<T> {
    let _user = ActingAs::session_user(identity)?;
    Ok(act())
}
