//! What the engines that a session would use say of themselves.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::engine::{PODMAN, is_nobody};
use super::exchange::{Answer, Ask, JustWaiting, Limit, ask_all};
use super::no_upstream::NoUpstream;
use super::upstream::Upstreams;
use crate::runtime::clock;
use crate::sys::process::identity::Identity;

/// How long all of them together may take.
const PATIENCE: Duration = Duration::from_millis(700);
const LONGEST: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Described {
    pub engine: &'static str,
    pub socket: PathBuf,
    pub version: io::Result<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    #[serde(default)]
    name: String,
}

impl Upstreams {
    /// Asks each for its version, with the rights of the session's user. One that refuses the connection is an error, as it is
    /// for a session.
    pub(crate) fn describe(&self, identity: Option<&Identity>) -> Result<Vec<Described>, NoUpstream> {
        let engines = self.engines();
        let ask =
            |engine| Ask { engine, method: "GET", path: "/version".into(), longest: LONGEST, until: None };
        let asks: Vec<_> = engines.iter().map(ask).collect();
        let limit = Limit::until(clock::now() + PATIENCE);
        let answers = ask_all(&asks, identity, limit, &mut JustWaiting);
        let described = engines.iter().zip(answers).map(|(engine, answer)| {
            let socket = engine.socket().to_path_buf();
            let answer = match answer {
                Err(error) if is_nobody(&error) => return Err(NoUpstream::Unreachable { socket, error }),
                answer => answer.and_then(Answer::ok).and_then(|body| parsed(&body)),
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

/// The engine, whatever its socket is called, and its version.
fn parsed(body: &[u8]) -> io::Result<(&'static str, String)> {
    let said: Version = serde_json::from_slice(body)
        .map_err(|error| io::Error::other(format!("its version is unreadable: {error}")))?;
    let is_podman = said.components.iter().any(|it| it.name.to_lowercase().contains(PODMAN));
    Ok((if is_podman { PODMAN } else { "docker" }, said.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_says_so_in_its_components() {
        let docker = br#"{"Version":"28.0.1","Components":[{"Name":"Engine"},{"Name":"containerd"}]}"#;
        assert_eq!(parsed(docker).unwrap(), ("docker", "28.0.1".into()));
        let podman = br#"{"Version":"4.3.1","Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}"#;
        assert_eq!(parsed(podman).unwrap(), ("podman", "4.3.1".into()));
        parsed(b"{}").unwrap_err();
    }
}
