//! Where a session finds its sockets.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::containment::SessionId;

const OF_ROOT: &str = "/run";
const RUNTIME: &str = "XDG_RUNTIME_DIR";
/// What a path can have in a socket's address, with the final zero (unix(7)).
const LONGEST: usize = 108;

/// The directory of the sockets, until it is dropped.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes it where others find no way to replace it. Some hosts can be written only in /tmp.
    pub(super) fn create(session: &SessionId) -> io::Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let of_user = std::env::var_os(RUNTIME).map(PathBuf::from).filter(|path| path.is_absolute());
        let usual = if is_root { Some(PathBuf::from(OF_ROOT)) } else { of_user };
        let name = format!("{}-engines", session.directory());
        let mut result = Err(io::ErrorKind::NotFound.into());
        for parent in usual.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]) {
            let path = parent.join(&name);
            // The session's processes can have another user.
            let mode = if is_root { 0o755 } else { 0o700 };
            result = DirBuilder::new().mode(mode).create(&path);
            if result.is_ok() {
                return Ok(Self(path));
            }
        }
        result.map(|()| Self(PathBuf::new()))
    }

    /// A socket for whoever is allowed to use that of the engine.
    pub(super) fn listen(&self, name: &str, engine: &Path) -> io::Result<(UnixListener, PathBuf)> {
        let path = self.0.join(name);
        if path.as_os_str().len() >= LONGEST {
            let text =
                format!("the path {} is too long for a socket; set TMPDIR to a shorter one", path.display());
            return Err(io::Error::other(text));
        }
        let listener = UnixListener::bind(&path)?;
        let original = engine.metadata()?;
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(original.uid()), Some(original.gid()))?;
            std::fs::set_permissions(&path, Permissions::from_mode(original.mode() & 0o777))?;
        }
        Ok((listener, path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// Removes it with the sockets.
impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
