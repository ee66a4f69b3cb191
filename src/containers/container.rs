//! A container, as its engine describes it.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::labels::Place;
use super::program::{COMPOSE_SERVICE, program};
use super::tags::{LabelMap, Tags};
use crate::sys::port::{Port, Protocol};
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
    /// The key by which other runs recognize what it runs.
    pub program: String,
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
    ports: Option<Vec<Published>>,
    #[serde(default)]
    pub labels: LabelMap,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Published {
    #[serde(default)]
    public_port: Option<u16>,
    #[serde(default)]
    r#type: String,
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
    let place = Place::here()?;
    // Those of a session end with it, or have been reported with it, unless nobody is there to do that. Those of another
    // boot have their labels from an image.
    let is_ended = |labels: &LabelMap| {
        Tags::of(labels).is_some_and(|tags| place.is_boot(tags.boot) && !tags.is_abandoned(&place))
    };
    let is_expected = |it: &Listed| is_reaper(&it.labels) || is_ended(&it.labels);
    let new = running.into_iter().filter(|it| is_new(it) && !is_expected(it));
    Ok(new.map(|it| it.described(engine.name())).collect())
}

fn label<'a>(labels: &'a LabelMap, name: &str) -> Option<&'a str> {
    labels.as_ref()?.get(name)?.as_str()
}

pub(super) fn is_reaper(labels: &LabelMap) -> bool {
    label(labels, REAPER).is_some()
}

impl Listed {
    /// Whether processes of it can be alive.
    pub(super) fn is_running(&self) -> bool {
        !["created", "exited", "stopped", "configured", "dead", "removing", "initialized"]
            .contains(&self.state.as_str())
    }

    /// The ports of the host that lead to it.
    pub(super) fn published(&self) -> impl Iterator<Item = Port> {
        self.ports.iter().flatten().filter_map(|it| {
            let protocol = if it.r#type == "udp" { Protocol::Udp } else { Protocol::Tcp };
            Some(Port { number: it.public_port.filter(|&number| number > 0)?, protocol })
        })
    }

    /// Whether the engine says that it has begun to remove it.
    pub(super) fn is_being_removed(&self) -> bool {
        ["removing", "dead"].contains(&self.state.as_str())
    }

    pub(super) fn described(&self, engine: &'static str) -> Container {
        let running = self.is_running();
        let name = self.names.iter().flatten().next();
        // Both protocols, and both families of addresses, have an entry each.
        let ports: BTreeSet<u16> = self.published().map(|port| port.number).collect();
        Container {
            engine,
            id: self.id.chars().take(SHORT).collect(),
            name: name.map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
            image: self.image.clone(),
            program: program(&self.image, label(&self.labels, COMPOSE_SERVICE)),
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
