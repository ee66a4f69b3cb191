//! Errors of the containment, which always name the operation and the path.

use std::io;
use std::path::{Path, PathBuf};

use crate::text::plain;

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {}", path.display(), plain(source))]
pub(crate) struct ContainmentError {
    pub operation: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl ContainmentError {
    /// For `map_err`: adds the operation and its object.
    pub(crate) fn on<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self { operation, path: path.to_path_buf(), source: source.into() }
    }

    /// A process or a cgroup is in the way.
    pub(crate) fn is_busy(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EBUSY)
    }

    /// We do not have permission.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
    }

    pub(crate) fn is_not_there(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}
