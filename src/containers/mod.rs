//! Containers that a container engine started while a session ran. The engine's daemon starts them outside of the session, so
//! they are found by asking it (Docker's API over a Unix socket, which podman's service has too).

mod address;
mod container;
mod contexts;
mod described;
mod ending;
mod engine;
mod exchange;
#[cfg(fuzzing)]
#[path = "../../tests/fuzz/inside/containers.rs"]
pub mod fuzzing;
mod ghosts;
mod images;
pub(crate) mod labels;
mod listing;
mod log_lines;
pub(crate) mod monitors;
mod no_upstream;
mod object;
mod pods;
mod program;
mod proxy;
mod published;
mod session_containers;
mod sockets;
mod starts;
mod stopping;
mod tags;
mod until_signal;
mod upstream;
#[cfg(test)]
mod upstream_tests;

use std::time::{Duration, SystemTime};

pub(crate) use container::Container;
use container::started_since;
pub(crate) use described::Described;
pub(crate) use ending::{Ending, Manner};
pub(crate) use engine::{Engine, Surroundings, possessive, reachable};
use exchange::{Ask, LONGEST_LIST, get_all};
pub(crate) use exchange::{JustWaiting, Waiting};
pub(crate) use no_upstream::NoUpstream;
pub(crate) use object::{EngineObject, ObjectType};
pub(crate) use program::{CONTAINER, program};
pub(crate) use proxy::Proxy;
pub(crate) use published::published;
pub(crate) use session_containers::{SessionContainers, find_stale};
pub(crate) use until_signal::UntilSignal;
pub(crate) use upstream::resolve;

use crate::sys::time::Instant;

/// How long all engines together may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the engines of a host say.
#[derive(Debug, Default)]
pub(crate) struct Started {
    pub containers: Vec<Container>,
    /// Why it is not known what an engine has started.
    pub unknown: Vec<String>,
}

/// The containers that were started after `began`, and still run.
pub(crate) fn started_after(began: SystemTime, surroundings: &Surroundings) -> Started {
    let engines = engine::reachable(surroundings);
    let deadline = Instant::now() + PATIENCE;
    let paths = |it: &Engine| ["/containers/json".to_owned(), starts::path(it.is_podman(), began)];
    let asks = engines.iter().flat_map(|it| paths(it).map(|path| Ask::get(it, path, LONGEST_LIST)));
    let mut answers = get_all(&asks.collect::<Vec<_>>(), deadline).into_iter();
    let mut found = Started::default();
    for engine in &engines {
        let (Some(running), Some(starts)) = (answers.next(), answers.next()) else { break };
        // Nobody is there, or the user has no right to ask.
        if running.as_ref().is_err_and(engine::is_nobody) {
            continue;
        }
        let answer = running.and_then(|running| {
            // An engine can lack the second.
            let started = starts.ok().and_then(|starts| starts::since(engine, began, &starts, deadline));
            started_since(engine, began, &running, started.as_ref())
        });
        match answer {
            Ok(containers) => found.containers.extend(containers),
            Err(error) => found.unknown.push(unknown(engine, &error)),
        }
    }
    found
}

#[cfg(test)]
pub(crate) use object::tests;

fn unknown(engine: &Engine, error: &std::io::Error) -> String {
    format!(
        "cannot determine which containers {engine} started while the session ran: {}",
        crate::text::plain(error)
    )
}
