//! Which container engines the sessions of a user would use (`--containers`).

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::containers::{Described, NoUpstream, resolve};
use crate::plan::Environment;
use crate::sys::process::identity::{ActingAs, Identity};
use crate::text::{plain, readable};

#[derive(Debug, Serialize)]
pub(super) struct EngineFindings {
    /// Whether sessions could use them.
    pub available: bool,
    /// Why not.
    pub reason: Option<String>,
    pub engines: Vec<EngineFound>,
}

#[derive(Debug, Serialize)]
pub(super) struct EngineFound {
    pub engine: &'static str,
    pub socket: PathBuf,
    pub version: Option<String>,
    /// Why the version is not known.
    pub problem: Option<String>,
}

impl EngineFindings {
    /// Asks where a session would ask, and with the rights that it would have.
    pub(super) fn of(identity: Option<&Identity>) -> Self {
        match find(identity) {
            Ok(found) => {
                let engines = found.into_iter().map(EngineFound::from).collect();
                Self { available: true, reason: None, engines }
            }
            Err(reason) => Self { available: false, reason: Some(reason), engines: Vec::new() },
        }
    }
}

fn find(identity: Option<&Identity>) -> Result<Vec<Described>, String> {
    let env = Environment::for_session(false, identity);
    let upstreams = {
        let _user = ActingAs::session_user(identity)
            .map_err(|errno| format!("cannot switch to the session's user: {errno}"))?;
        resolve(|name| env.get(name).map(Into::into), env.get("HOME").map(Path::new))
    };
    let found = upstreams.and_then(|it| it.describe(identity));
    found.map_err(|error: NoUpstream| error.without_names())
}

impl From<Described> for EngineFound {
    fn from(found: Described) -> Self {
        let Described { engine, socket, version } = found;
        match version {
            Ok(version) => Self { engine, socket, version: Some(version), problem: None },
            Err(error) => Self { engine, socket, version: None, problem: Some(plain(&error)) },
        }
    }
}

/// `docker 28.0.1 at /run/docker.sock`
pub(super) fn as_text(found: &EngineFindings) -> String {
    if let Some(reason) = &found.reason {
        return format!("none for --containers: {reason}");
    }
    let engine = |it: &EngineFound| {
        let socket = readable(&it.socket.to_string_lossy());
        match (&it.version, &it.problem) {
            (Some(version), _) => format!("{} {} at {socket}", it.engine, readable(version)),
            (None, problem) => {
                let problem = problem.as_deref().unwrap_or("its version is not known");
                format!("{} at {socket}, but {}", it.engine, readable(problem))
            }
        }
    };
    found.engines.iter().map(engine).collect::<Vec<_>>().join("; ")
}
