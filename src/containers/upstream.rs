//! Which engines the clients in a session would reach.
//!
//! Docker's command line takes `DOCKER_HOST`, then the context of `DOCKER_CONTEXT`, then the one of its `config.json`, then
//! the usual socket. Everything that is set is followed or refused: a session that silently reached another engine than
//! without cgrun would be worse than none.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::Address;
use super::contexts::{Contexts, DEFAULT};
use super::engine::{Engine, different};
use super::no_upstream::{Chosen, NoUpstream};
use super::sockets::{UserDirectories, is_socket, set};
use crate::sys::connect::connect_unix_within;

/// The kernel would wait for room in the backlog of one that hangs.
const CONNECT: Duration = Duration::from_secs(5);

/// The sockets of the engines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upstreams {
    /// For clients of Docker. It can be podman's service.
    pub docker: Option<PathBuf>,
    /// For podman, if it is to be remote: without `CONTAINER_HOST` it uses no service.
    pub podman: Option<PathBuf>,
}

/// `variable` and `home` are those of the session's processes. Files are read with the rights of the caller.
pub(crate) fn resolve(
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<&Path>,
) -> Result<Upstreams, NoUpstream> {
    let podman = of_variable("CONTAINER_HOST", &variable)?;
    let docker = match of_variable("DOCKER_HOST", &variable)? {
        Some(socket) => Some(socket),
        None => of_context(&variable, home)?,
    };
    if docker.is_some() {
        return Ok(Upstreams { docker, podman });
    }
    let usual = UserDirectories::new(&variable, home).sockets();
    match usual.iter().find(|path| is_socket(path)) {
        None if podman.is_none() => Err(NoUpstream::NoEngine { sockets: usual }),
        docker => Ok(Upstreams { docker: docker.cloned(), podman }),
    }
}

impl Upstreams {
    pub(crate) fn engines(&self) -> Vec<Engine> {
        different(self.docker.iter().chain(&self.podman).cloned())
    }

    /// Connects once to each, as a client would.
    pub(crate) fn check(&self) -> Result<(), NoUpstream> {
        for socket in self.docker.iter().chain(&self.podman) {
            connect_unix_within(socket, CONNECT)
                .map_err(|error| NoUpstream::Unreachable { socket: socket.clone(), error })?;
        }
        Ok(())
    }
}

fn of_variable(
    name: &'static str,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<PathBuf>, NoUpstream> {
    let Some(value) = set(variable(name)) else { return Ok(None) };
    let address = Address(value);
    let Some(socket) = address.socket() else {
        return Err(NoUpstream::VariableNotFollowed { variable: name, address });
    };
    match is_there(&socket) {
        Ok(()) => Ok(Some(socket)),
        Err(error) => Err(NoUpstream::NoSocketOfVariable { variable: name, address, error }),
    }
}

/// `None` if it is the default one.
fn of_context(
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<&Path>,
) -> Result<Option<PathBuf>, NoUpstream> {
    let contexts = Contexts::new(&variable, home);
    let (name, chosen) = match (set(variable("DOCKER_CONTEXT")), &contexts) {
        (Some(name), _) => (name.to_string_lossy().into_owned(), Chosen::Variable("DOCKER_CONTEXT")),
        (None, Some(contexts)) => match contexts.current()? {
            Some(name) => (name, Chosen::File(contexts.config())),
            None => return Ok(None),
        },
        (None, None) => return Ok(None),
    };
    if name == DEFAULT {
        return Ok(None);
    }
    let context = contexts.map(|it| it.find(&name)).transpose()?.flatten();
    let Some(context) = context else { return Err(NoUpstream::NoSuchContext { name, chosen }) };
    let Some(host) = context.host() else { return Ok(None) };
    let address = Address(host.into());
    let Some(socket) = address.socket() else {
        return Err(NoUpstream::ContextNotFollowed { name, chosen, address });
    };
    match is_there(&socket) {
        Ok(()) => Ok(Some(socket)),
        Err(error) => Err(NoUpstream::NoSocketOfContext { name, chosen, address, error }),
    }
}

fn is_there(path: &Path) -> io::Result<()> {
    if path.metadata()?.file_type().is_socket() {
        return Ok(());
    }
    Err(io::Error::other("it is not a socket"))
}
