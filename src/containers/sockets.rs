//! Where engines listen if nobody says otherwise.

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

const DOCKER: &str = "/var/run/docker.sock";
const PODMAN: &str = "/run/podman/podman.sock";

/// The directories of a user in which engines without root listen.
#[derive(Debug, Default)]
pub(super) struct UserDirectories {
    /// `XDG_RUNTIME_DIR`
    pub runtime: Option<PathBuf>,
    pub home: Option<PathBuf>,
}

impl UserDirectories {
    pub(super) fn new(variable: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Self {
        let runtime = set(variable("XDG_RUNTIME_DIR")).map(PathBuf::from);
        Self { runtime, home: home.map(Path::to_path_buf) }
    }

    /// The usual sockets, in the order in which a client of Docker should try them. podman's service has Docker's API too.
    pub(super) fn sockets(&self) -> Vec<PathBuf> {
        let of_runtime = |name: &str| self.runtime.as_ref().map(|it| it.join(name));
        let of_home = self.home.as_ref().map(|it| it.join(".docker/run/docker.sock"));
        let docker = [Some(PathBuf::from(DOCKER)), of_runtime("docker.sock"), of_home];
        let podman = [of_runtime("podman/podman.sock"), Some(PathBuf::from(PODMAN))];
        docker.into_iter().chain(podman).flatten().filter(|it| it.is_absolute()).collect()
    }
}

/// Clients take an empty variable for one that is not set.
pub(super) fn set(value: Option<OsString>) -> Option<OsString> {
    value.filter(|it| !it.is_empty())
}

pub(super) fn is_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.file_type().is_socket())
}
