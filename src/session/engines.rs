//! The way from a session to its container engines, if it ends what it creates there.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::running_session::Session;
use crate::containers::labels::Labels;
use crate::containers::{
    Engine, Proxy, SessionContainers, Surroundings, UntilSignal, Waiting, published, resolve,
};
use crate::registry::stale_containers::end_stale_containers;
use crate::runtime::clock;
use crate::sys::port::Port;
use crate::sys::process::identity::ActingAs;
use crate::sys::time::Instant;

/// Where Testcontainers' own reaper, which runs in a container, finds the engine.
const OF_REAPER: &str = "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE";
/// With a Unix socket, clients refuse the first. The socket of the session takes precedence over the second.
const OVERRIDDEN: [&str; 2] = ["DOCKER_TLS_VERIFY", "DOCKER_CONTEXT"];
/// How often to ask for published ports, and how long to wait for the answer. Meanwhile nothing else is noticed.
const EVERY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_millis(500);
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The engines that a session reaches.
#[derive(Debug, Default)]
pub(super) struct Engines {
    all: Vec<Engine>,
    /// The ports that its containers publish, and when to ask again.
    published: Vec<Port>,
    ask_again: Option<Instant>,
    /// Where its programs would find engines without us.
    pub surroundings: Option<Surroundings>,
}

impl Engines {
    pub(super) fn published(&self) -> &[Port] {
        &self.published
    }
}

impl Session<'_> {
    /// Leads the session's programs to the engines, through a process that adds labels.
    ///
    /// Must be called while this process has a single thread.
    pub(super) fn lead_to_engines(&mut self) -> Result<()> {
        if !self.plan.containers {
            return Ok(());
        }
        let home = self.env.get("HOME").map(Path::new);
        let upstreams = {
            let _user = ActingAs::session_user(self.plan.identity.as_ref())
                .context("cannot switch to the session's user")?;
            let upstreams = resolve(|name| self.env.get(name).map(Into::into), home)?;
            upstreams.check()?;
            upstreams
        };
        let engines = upstreams.engines();
        // What it says is enough. The session has no part in it.
        let (identity, mut waiting) = (self.plan.identity.as_ref(), UntilSignal::new());
        if let Err(error) = end_stale_containers(&engines, identity, false, self.report, &mut waiting) {
            self.report.error(&format!("cannot determine which containers dead sessions have left: {error}"));
        }
        if waiting.is_urgent() {
            // The session begins with its end, and nothing is started that could use an engine.
            return Ok(());
        }
        let id = &self.context.containment.id;
        let labels = Labels::of(id).context("cannot label what the session creates in container engines")?;
        let proxy = Proxy::start(id, &labels, &upstreams, self.plan.identity.as_ref())
            .context("cannot start the proxy for the session's container engines")?;
        self.engines.surroundings = Some(Surroundings::new(|name| self.env.get(name).map(Into::into)));
        self.env = self.env.without(&OVERRIDDEN).with_all(proxy.variables().iter().cloned());
        if self.env.get(OF_REAPER).is_none() {
            self.env = self.env.with_all(upstreams.docker.clone().map(|it| (OF_REAPER, it)));
        }
        self.context.containment.spare(proxy.pid());
        self.context.proxy = Some(proxy);
        self.context.containers = Some(SessionContainers::new(
            engines.clone(),
            labels,
            self.plan.identity.clone(),
            self.plan.grace,
        ));
        self.engines.all = engines;
        Ok(())
    }

    /// Somebody else listens on a port that a service needs: perhaps an engine, for a container of the session.
    pub(super) fn look_for_published(&mut self) {
        let now = clock::now();
        if self.engines.all.is_empty() || self.engines.ask_again.is_some_and(|at| now < at) {
            return;
        }
        let Ok(_user) = ActingAs::session_user(self.plan.identity.as_ref()) else { return };
        let id = self.context.containment.id.to_string();
        let pause = match published(&self.engines.all, &id, now + PATIENCE) {
            Ok(ports) => {
                self.engines.published = ports;
                EVERY
            }
            Err(_) => AFTER_FAILURE,
        };
        self.engines.ask_again = Some(clock::now() + pause);
    }
}
