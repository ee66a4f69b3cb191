//! Why there is no engine that a session's clients would reach, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::address::Address;
use super::contexts::Unreadable;
use crate::text::{plain, readable};

#[derive(Debug, thiserror::Error)]
pub(crate) enum NoUpstream {
    #[error(
        "{variable} is {address}, but --containers needs an engine on a Unix socket (unix:///PATH); unset it, or pass --containers=false"
    )]
    VariableNotFollowed { variable: &'static str, address: Address },
    #[error(
        "{variable} is {address}, but this socket cannot be used ({}); start the engine, unset the variable, or pass --containers=false",
        plain(error)
    )]
    NoSocketOfVariable { variable: &'static str, address: Address, error: io::Error },
    #[error(
        "the Docker context {} (named in {chosen}) leads to {address}, but --containers needs an engine on a Unix socket (unix:///PATH); use another one (docker context use NAME), or pass --containers=false",
        readable(name)
    )]
    ContextNotFollowed { name: String, chosen: Chosen, address: Address },
    #[error(
        "the Docker context {} (named in {chosen}) leads to {address}, but this socket cannot be used ({}); start the engine, use another context (docker context use NAME), or pass --containers=false",
        readable(name),
        plain(error)
    )]
    NoSocketOfContext { name: String, chosen: Chosen, address: Address, error: io::Error },
    #[error(
        "the Docker context {} (named in {chosen}) does not exist; choose one with docker context use NAME (docker context ls lists them), or pass --containers=false",
        readable(name)
    )]
    NoSuchContext { name: String, chosen: Chosen },
    #[error(
        "cannot determine the Docker context from {}: {}; repair it, set DOCKER_HOST to the engine's socket, or pass --containers=false",
        readable(&path.to_string_lossy()),
        plain(error)
    )]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "no container engine listens at {}; start one (for podman: systemctl --user start podman.socket; podman run itself needs none), or pass --containers=false",
        listed(sockets)
    )]
    NoEngine { sockets: Vec<PathBuf> },
    #[error(
        "cannot connect to the container engine at {}: {}; start it, let the user connect to it (for Docker: add the user to the group docker, which gives root's rights), or pass --containers=false",
        readable(&socket.to_string_lossy()),
        plain(error)
    )]
    Unreachable { socket: PathBuf, error: io::Error },
}

impl NoUpstream {
    /// Without names of hosts and of contexts, for a text that is posted in public.
    pub(crate) fn without_names(&self) -> String {
        match self {
            Self::VariableNotFollowed { variable, .. } => {
                format!("{variable} does not lead to a Unix socket")
            }
            Self::ContextNotFollowed { chosen, .. } => {
                format!("the Docker context that is named in {chosen} does not lead to a Unix socket")
            }
            Self::NoSocketOfContext { chosen, error, .. } => {
                format!(
                    "the socket of the Docker context that is named in {chosen} cannot be used ({})",
                    plain(error)
                )
            }
            Self::NoSuchContext { chosen, .. } => {
                format!("the Docker context that is named in {chosen} does not exist")
            }
            other => other.to_string(),
        }
    }
}

/// What names a context.
#[derive(Clone, Debug)]
pub(crate) enum Chosen {
    /// `DOCKER_CONTEXT`
    Variable(&'static str),
    /// Docker's `config.json`
    File(PathBuf),
}

impl std::fmt::Display for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => f.write_str(&readable(&path.to_string_lossy())),
        }
    }
}

impl From<Unreadable> for NoUpstream {
    fn from(Unreadable { path, error }: Unreadable) -> Self {
        Self::Unreadable { path, error }
    }
}

fn listed(sockets: &[PathBuf]) -> String {
    let texts: Vec<_> = sockets.iter().map(|it: &PathBuf| readable(&Path::to_string_lossy(it))).collect();
    texts.join(", ")
}
