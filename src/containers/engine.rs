//! The engines that a session can reach.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::address::Address;
use super::contexts::Contexts;
use super::sockets::{UserDirectories, set};

/// Beside the usual places: `/var/run` can be another directory than `/run`.
const ALSO: &str = "/run/docker.sock";
pub(super) const DOCKER: &str = "docker";
pub(super) const PODMAN: &str = "podman";
/// Variables that name the socket of another.
const VARIABLES: [&str; 2] = ["DOCKER_HOST", "CONTAINER_HOST"];

/// What a session's processes see of it.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The values of `DOCKER_HOST` and `CONTAINER_HOST`.
    hosts: Vec<Address>,
    contexts: Option<Contexts>,
    user: UserDirectories,
}

impl Surroundings {
    pub(crate) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let home = set(variable("HOME")).map(PathBuf::from);
        Self {
            hosts: VARIABLES.into_iter().filter_map(&variable).map(Address).collect(),
            contexts: Contexts::new(&variable, home.as_deref()),
            user: UserDirectories::new(&variable, home.as_deref()),
        }
    }

    /// Every context, and not only the current one: `docker --context` can have named any. What cannot be followed is
    /// left out.
    fn sockets(&self) -> impl Iterator<Item = PathBuf> {
        let contexts = self.contexts.as_ref().map(Contexts::all).unwrap_or_default();
        let of_contexts = contexts.into_iter().flatten().filter_map(|it| Address(it.host()?.into()).socket());
        let named = self.hosts.iter().filter_map(Address::socket);
        named.chain(of_contexts).chain(self.user.sockets()).chain([PathBuf::from(ALSO)])
    }
}

/// An engine, by its socket.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
}

pub(crate) fn reachable(surroundings: &Surroundings) -> Vec<Engine> {
    different(surroundings.sockets())
}

/// The engines at those of these paths that are sockets. Two can lead to the same one: podman can pass for docker.
pub(super) fn different(sockets: impl IntoIterator<Item = PathBuf>) -> Vec<Engine> {
    let mut seen = HashSet::new();
    let mut is_new = |path: &Path| {
        path.metadata().is_ok_and(|it| it.file_type().is_socket() && seen.insert((it.dev(), it.ino())))
    };
    sockets.into_iter().filter(|path| is_new(path)).map(|socket| Engine { socket }).collect()
}

/// As in "Docker's container web".
pub(crate) fn possessive(engine: &str) -> &'static str {
    if engine == PODMAN { "podman's" } else { "Docker's" }
}

/// Whether no engine listens, or it is not for us.
pub(super) fn is_nobody(error: &io::Error) -> bool {
    let nobody = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
    nobody.contains(&error.kind())
}

/// `docker (/var/run/docker.sock)`
impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.socket.display())
    }
}

impl Engine {
    #[cfg(any(test, fuzzing))]
    pub(super) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn name(&self) -> &'static str {
        if self.is_podman() { PODMAN } else { DOCKER }
    }

    pub(super) fn is_podman(&self) -> bool {
        self.socket.as_os_str().as_bytes().windows(6).any(|it| it == b"podman")
    }
}
