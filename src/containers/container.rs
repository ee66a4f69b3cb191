//! A container, as its engine describes it.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::labels;
use crate::sys::time::{since_1970, time_of_day};

/// How many characters of an id are enough for people.
const SHORT: usize = 12;
/// The reaper of Testcontainers, which removes itself.
const REAPER: &str = "org.testcontainers.ryuk";

/// A container that was started while the session ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Container {
    pub engine: &'static str,
    pub id: String,
    pub name: String,
    pub image: String,
    /// The ports of the host that lead to it.
    pub ports: Vec<u16>,
    /// Whether it was running when it was found.
    pub running: bool,
    /// How long ago it was created.
    pub age_seconds: Option<u64>,
    /// The end of what it has written, if that was read.
    pub log: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(rename = "ImageID", default)]
    pub image_id: String,
    /// In seconds since 1970.
    #[serde(default)]
    created: i64,
    #[serde(default)]
    state: String,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    pub labels: LabelMap,
}

/// The labels of an object. Engines say `null` if there are none.
pub(super) type LabelMap = Option<serde_json::Map<String, serde_json::Value>>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(default)]
    public_port: Option<u16>,
}

/// One line of the log. Docker's has the id at two places, podman's at one.
#[derive(Debug, Deserialize)]
struct Start {
    #[serde(default)]
    id: String,
    #[serde(rename = "Actor", default)]
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "ID", default)]
    id: String,
}

/// The running containers that were created after `began`, or that the log says were started. The log of a busy engine can
/// have forgotten.
pub(super) fn started_since(
    engine: &Engine,
    began: SystemTime,
    running: &[u8],
    starts: &[u8],
) -> io::Result<Vec<Container>> {
    let running: Vec<Listed> = serde_json::from_slice(running)
        .map_err(|error| io::Error::other(format!("its list of containers is unreadable: {error}")))?;
    let started: HashSet<String> = serde_json::Deserializer::from_slice(starts)
        .into_iter::<Start>()
        .map_while(Result::ok)
        .flat_map(|start| [start.id, start.actor.id])
        .collect();
    let began = i64::try_from(since_1970(began).as_secs()).unwrap_or(i64::MAX);
    // Only to the second. Docker's log knows better; podman can have none.
    let created_since = |it: &Listed| it.created > began || it.created == began && engine.is_podman();
    let is_new = |it: &Listed| started.contains(&it.id) || created_since(it);
    // Those of a session end with it, or have been reported with it.
    let is_expected = |it: &Listed| is_reaper(&it.labels) || has_label(&it.labels, labels::SESSION);
    let new = running.into_iter().filter(|it| is_new(it) && !is_expected(it));
    Ok(new.map(|it| it.described(engine.name())).collect())
}

fn has_label(labels: &LabelMap, name: &str) -> bool {
    labels.as_ref().is_some_and(|labels| labels.contains_key(name))
}

pub(super) fn is_reaper(labels: &LabelMap) -> bool {
    has_label(labels, REAPER)
}

impl Listed {
    /// Whether processes of it can be alive.
    pub(super) fn is_running(&self) -> bool {
        !["created", "exited", "stopped", "configured", "dead", "removing", "initialized"]
            .contains(&self.state.as_str())
    }

    pub(super) fn described(&self, engine: &'static str) -> Container {
        let running = self.is_running();
        let name = self.names.iter().flatten().next();
        // Both protocols, and both families of addresses, have an entry each.
        let ports: BTreeSet<u16> = self.ports.iter().flatten().filter_map(|port| port.public_port).collect();
        Container {
            engine,
            id: self.id.chars().take(SHORT).collect(),
            name: name.map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
            image: self.image.clone(),
            ports: ports.into_iter().collect(),
            running,
            age_seconds: u64::try_from(self.created)
                .ok()
                .filter(|&created| created > 0)
                .map(|created| since_1970(time_of_day()).as_secs().saturating_sub(created)),
            log: Vec::new(),
        }
    }
}
