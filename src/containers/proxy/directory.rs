//! Where a session finds its sockets.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::{NAMES, abandoned};
use crate::containment::SessionId;
use crate::sys::process::identity::Identity;

const OF_ROOT: &str = "/run";
const RUNTIME: &str = "XDG_RUNTIME_DIR";
/// What a path can have in a socket's address, with the final zero (unix(7)).
const LONGEST: usize = 108;
const LONGEST_NAME: &str = NAMES[1];
/// Follows the name that the session's cgroup has too.
pub(super) const SUFFIX: &str = "-engines";

/// The directory of the sockets, until it is dropped.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes it where others find no way to replace it. Some hosts can be written only in /tmp. Only one user can enter it,
    /// because a directory can protect the engine's own socket, whatever its mode.
    pub(super) fn create(session: &SessionId) -> io::Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let of_user = std::env::var_os(RUNTIME).map(PathBuf::from).filter(|path| path.is_absolute());
        let usual = if is_root { Some(PathBuf::from(OF_ROOT)) } else { of_user };
        let name = format!("{}{SUFFIX}", session.directory());
        let mut result = Err(io::ErrorKind::NotFound.into());
        for parent in usual.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]) {
            abandoned::remove(&parent);
            let path = parent.join(&name);
            if path.join(LONGEST_NAME).as_os_str().len() >= LONGEST {
                result =
                    Err(io::Error::other(format!("{} is too long for the path of a socket", path.display())));
                continue;
            }
            result = DirBuilder::new().mode(0o700).create(&path);
            if result.is_ok() {
                return Ok(Self(path));
            }
        }
        result.map(|()| Self(PathBuf::new()))
    }

    pub(super) fn listen(&self, name: &str) -> io::Result<(UnixListener, PathBuf)> {
        let path = self.0.join(name);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok((listener, path))
    }

    /// Gives it to the session's user, with these sockets. From then on, the user can replace what is in it, and nothing is
    /// done to its files by name.
    pub(super) fn hand_over(&self, sockets: &[PathBuf], identity: Option<&Identity>) -> io::Result<()> {
        let Some((user, _)) = identity.and_then(|it| it.user.as_ref()) else { return Ok(()) };
        let all = sockets.iter().chain([&self.0]);
        all.into_iter().try_for_each(|path| chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())))
    }

    pub(super) fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes it with the sockets.
impl Drop for Directory {
    fn drop(&mut self) {
        self.remove();
    }
}
