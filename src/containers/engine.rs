//! The engines that a session can reach.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::request::{Request, get};
use crate::sys::connect::connect_unix_within;
use crate::sys::time::{Instant, since_1970, time_of_day};

/// The sockets of daemons that run as root.
const SOCKETS: [&str; 3] = ["/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock"];
/// The same for a user's own, in the directory for the user's sockets.
const OF_A_USER: [&str; 2] = ["docker.sock", "podman/podman.sock"];
/// Variables that name the socket of another.
const VARIABLES: [&str; 2] = ["DOCKER_HOST", "CONTAINER_HOST"];
/// The kernel would wait for room in the backlog of one that hangs.
const CONNECT: Duration = Duration::from_millis(500);

/// `{"type":["container"],"event":["start"]}`
const STARTS: &str = "%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%5D%7D";

/// What a session's processes see of it.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The values of `DOCKER_HOST` and `CONTAINER_HOST`.
    pub hosts: Vec<OsString>,
    /// `XDG_RUNTIME_DIR`
    pub runtime: Option<PathBuf>,
}

impl Surroundings {
    pub(crate) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        Self {
            hosts: VARIABLES.into_iter().filter_map(&variable).collect(),
            runtime: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
        }
    }

    fn sockets(&self) -> impl Iterator<Item = PathBuf> {
        let named = self.hosts.iter().filter_map(|host| {
            let path = host.as_bytes().strip_prefix(b"unix://")?;
            Some(PathBuf::from(OsStr::from_bytes(path)))
        });
        let of_user = self.runtime.iter().flat_map(|runtime| OF_A_USER.map(|name| runtime.join(name)));
        named.chain(of_user).chain(SOCKETS.map(PathBuf::from))
    }
}

/// An engine, by its socket.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
}

/// Two names can lead to the same one: podman can pass for docker.
pub(crate) fn reachable(surroundings: &Surroundings) -> Vec<Engine> {
    let mut seen = HashSet::new();
    let mut is_new = |path: &Path| {
        path.metadata().is_ok_and(|it| it.file_type().is_socket() && seen.insert((it.dev(), it.ino())))
    };
    surroundings.sockets().filter(|path| is_new(path)).map(|socket| Engine { socket }).collect()
}

/// Two requests on their way.
pub(super) struct Question {
    running: io::Result<Request>,
    starts: io::Result<Request>,
}

impl Engine {
    /// `None` if nobody is there, or the user has no right to ask.
    pub(super) fn ask(&self, began: SystemTime) -> Option<Question> {
        let running = match connect_unix_within(&self.socket, CONNECT) {
            Ok(stream) => get(stream, "/containers/json"),
            Err(error) if is_nobody(&error) => return None,
            Err(error) => Err(error),
        };
        // Later than now, and the engine would wait until then.
        let (since, until) = (timestamp(began), timestamp(time_of_day()));
        let path = format!("/events?since={since}&until={until}&filters={STARTS}");
        let starts = connect_unix_within(&self.socket, CONNECT).and_then(|stream| get(stream, &path));
        Some(Question { running, starts })
    }
}

fn timestamp(time: SystemTime) -> String {
    let since = since_1970(time);
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// Whether no engine listens, or it is not for us.
pub(super) fn is_nobody(error: &io::Error) -> bool {
    let nobody = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
    nobody.contains(&error.kind())
}

impl Question {
    /// The bodies of the two answers. An engine can lack a log of what it has started.
    pub(super) fn answer(self, deadline: Instant) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let running = self.running?.answer(deadline)?;
        let starts = self.starts.and_then(|request| request.answer(deadline)).unwrap_or_default();
        Ok((running, starts))
    }
}

/// `docker (/var/run/docker.sock)`
impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.socket.display())
    }
}

impl Engine {
    #[allow(dead_code, reason = "the proxy will use it")]
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn name(&self) -> &'static str {
        if self.is_podman() { "podman" } else { "docker" }
    }

    pub(super) fn is_podman(&self) -> bool {
        self.socket.as_os_str().as_bytes().windows(6).any(|it| it == b"podman")
    }
}
