//! Where a session finds its sockets.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::User;

use crate::containment::SessionId;
use crate::sys::process::identity::Identity;

const OF_ROOT: &str = "/run";
const RUNTIME: &str = "XDG_RUNTIME_DIR";
/// What a path can have in a socket's address, with the final zero (unix(7)).
const LONGEST: usize = 108;
const LONGEST_NAME: &str = "podman.sock";

/// The directory of the sockets, until it is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Whose it is, if not ours.
    user: Option<User>,
}

impl Directory {
    /// Makes it where others find no way to replace it. Some hosts can be written only in /tmp. Only the session's user can
    /// use it, as if each socket were in a directory as closed as that of the engine's can be.
    pub(super) fn create(session: &SessionId, identity: Option<&Identity>) -> io::Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let of_user = std::env::var_os(RUNTIME).map(PathBuf::from).filter(|path| path.is_absolute());
        let usual = if is_root { Some(PathBuf::from(OF_ROOT)) } else { of_user };
        let name = format!("{}-engines", session.directory());
        let mut result = Err(io::ErrorKind::NotFound.into());
        for parent in usual.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]) {
            let path = parent.join(&name);
            if path.join(LONGEST_NAME).as_os_str().len() >= LONGEST {
                result =
                    Err(io::Error::other(format!("{} is too long for the path of a socket", path.display())));
                continue;
            }
            result = DirBuilder::new().mode(0o700).create(&path);
            if result.is_ok() {
                let user = identity.and_then(|it| it.user.as_ref()).map(|(user, _)| user.clone());
                let directory = Self { path, user };
                directory.hand_over(&directory.path)?;
                return Ok(directory);
            }
        }
        result.map(|()| Self { path: PathBuf::new(), user: None })
    }

    pub(super) fn listen(&self, name: &str) -> io::Result<(UnixListener, PathBuf)> {
        let path = self.path.join(name);
        let listener = UnixListener::bind(&path)?;
        self.hand_over(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok((listener, path))
    }

    fn hand_over(&self, path: &Path) -> io::Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
    }

    pub(super) fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes it with the sockets.
impl Drop for Directory {
    fn drop(&mut self) {
        self.remove();
    }
}
