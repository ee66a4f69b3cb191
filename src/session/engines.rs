//! The way from a session to its container engines, if it ends what it creates there.

use std::path::Path;

use anyhow::{Context, Result};

use super::running_session::Session;
use crate::containers::labels::Labels;
use crate::containers::{Proxy, resolve};
use crate::sys::process::identity::ActingAs;

/// Where Testcontainers' own reaper, which runs in a container, finds the engine.
const OF_REAPER: &str = "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE";
/// With a Unix socket, clients refuse the first. The socket of the session takes precedence over the second.
const OVERRIDDEN: [&str; 2] = ["DOCKER_TLS_VERIFY", "DOCKER_CONTEXT"];

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
        let id = &self.context.containment.id;
        let labels = Labels::of(id).context("cannot label what the session creates in container engines")?;
        let proxy = Proxy::start(id, &labels, &upstreams, self.plan.identity.as_ref())
            .context("cannot start what leads the session to its container engines")?;
        self.env = self.env.without(&OVERRIDDEN).with_all(proxy.variables().iter().cloned());
        if self.env.get(OF_REAPER).is_none() {
            self.env = self.env.with_all(upstreams.docker.map(|it| (OF_REAPER, it)));
        }
        self.context.containment.spare(proxy.pid());
        self.context.proxy = Some(proxy);
        Ok(())
    }
}
