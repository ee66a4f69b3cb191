//! What the engines that a session would use say of themselves.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::engine::{DOCKER, PODMAN, is_nobody};
use super::exchange::{Answer, Ask, JustWaiting, Limit, ask_all};
use super::no_upstream::NoUpstream;
use super::upstream::Upstreams;
use crate::runtime::clock;
use crate::sys::process::identity::Identity;

/// How long all of them together may take.
const PATIENCE: Duration = Duration::from_millis(700);
const LONGEST: usize = 64 << 10;
/// What podman calls itself.
const LIBPOD: &str = "Libpod";
/// What Docker calls itself. Whatever else stands before an engine has a version of its own.
const MOBY: &str = "Docker";

#[derive(Debug)]
pub(crate) struct Described {
    pub engine: &'static str,
    pub socket: PathBuf,
    pub version: io::Result<String>,
}

impl Upstreams {
    /// Asks each for its version, with the rights of the session's user. The header of a ping has it; for podman to answer
    /// `/version`, it runs other programs. One that refuses the connection is an error, as it is for a session.
    pub(crate) fn describe(&self, identity: Option<&Identity>) -> Result<Vec<Described>, NoUpstream> {
        let engines = self.engines();
        let asks: Vec<_> = engines.iter().map(|it| Ask::get(it, "/_ping", LONGEST)).collect();
        let limit = Limit::until(clock::now() + PATIENCE);
        let answers = ask_all(&asks, identity, limit, &mut JustWaiting);
        let described = engines.iter().zip(answers).map(|(engine, answer)| {
            let socket = engine.socket().to_path_buf();
            let answer = match answer {
                Err(error) if is_nobody(&error) => return Err(NoUpstream::Unreachable { socket, error }),
                answer => answer.and_then(version),
            };
            let (engine, version) = match answer {
                Ok((engine, version)) => (engine, Ok(version)),
                Err(error) => (engine.name(), Err(error)),
            };
            Ok(Described { engine, socket, version })
        });
        described.collect()
    }
}

fn version(answer: Answer) -> io::Result<(&'static str, String)> {
    let server = answer.server.clone().unwrap_or_default();
    answer.ok()?;
    parsed(&server)
}

/// The engine, whatever its socket is called, and its version: `Docker/28.0.1 (linux)`, `Libpod/4.3.1 (linux)`.
fn parsed(server: &str) -> io::Result<(&'static str, String)> {
    let (engine, rest) = match server.split_once('/') {
        Some((MOBY, rest)) => (DOCKER, rest),
        Some((LIBPOD, rest)) => (PODMAN, rest),
        _ => return Err(io::Error::other("it does not say its version")),
    };
    Ok((engine, rest.split(' ').next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_says_its_name_and_its_version() {
        assert_eq!(parsed("Docker/20.10.24+dfsg1 (linux)").unwrap(), ("docker", "20.10.24+dfsg1".into()));
        assert_eq!(parsed("Libpod/4.3.1 (linux)").unwrap(), ("podman", "4.3.1".into()));
        for other in ["", "Docker", "nginx/1.27.0"] {
            parsed(other).unwrap_err();
        }
    }

    #[test]
    fn an_engine_that_refuses_to_answer_is_a_problem_whatever_it_is() {
        let server = Some("Docker/28.0.1 (linux)".to_owned());
        let answer = |code| Answer { code, body: Vec::new(), server: server.clone() };
        assert_eq!(version(answer(200)).unwrap(), ("docker", "28.0.1".into()));
        assert_eq!(version(answer(403)).unwrap_err().to_string(), "it answers with HTTP 403");
    }
}
