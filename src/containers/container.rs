//! A container, as its engine describes it.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use crate::sys::time::since_1970;

/// How many characters of an id are enough for people.
const SHORT: usize = 12;
/// The reaper of Testcontainers, which removes itself.
const REAPER: &str = "org.testcontainers.ryuk";

/// A container that runs, and was started while the session ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Container {
    pub engine: &'static str,
    pub id: String,
    pub name: String,
    pub image: String,
    /// The ports of the host that lead to it.
    pub ports: Vec<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    /// In seconds since 1970.
    #[serde(default)]
    created: i64,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    labels: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(default)]
    public_port: Option<u16>,
}

/// The running containers that are among `started` or, if that is not known, were created after `began`.
pub(super) fn started_since(
    engine: &Engine,
    began: SystemTime,
    running: &[u8],
    started: Option<&HashSet<String>>,
) -> io::Result<Vec<Container>> {
    let running: Vec<Listed> = serde_json::from_slice(running)
        .map_err(|error| io::Error::other(format!("its list of containers is unreadable: {error}")))?;
    let began = i64::try_from(since_1970(began).as_secs()).unwrap_or(i64::MAX);
    let is_started = |it: &Listed| started.is_some_and(|started| started.contains(&it.id));
    // The log of a busy engine can have forgotten, and a creation is known only to the second.
    let is_new =
        |it: &Listed| is_started(it) || it.created > began || it.created == began && started.is_none();
    let is_reaper = |it: &Listed| it.labels.as_ref().is_some_and(|labels| labels.contains_key(REAPER));
    Ok(running.into_iter().filter(|it| is_new(it) && !is_reaper(it)).map(|it| it.described(engine)).collect())
}

impl Listed {
    fn described(self, engine: &Engine) -> Container {
        let names = self.names.unwrap_or_default();
        // Both protocols, and both families of addresses, have an entry each.
        let ports: BTreeSet<u16> =
            self.ports.unwrap_or_default().iter().filter_map(|port| port.public_port).collect();
        Container {
            engine: engine.name(),
            id: self.id.chars().take(SHORT).collect(),
            name: names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
            image: self.image,
            ports: ports.into_iter().collect(),
        }
    }
}
