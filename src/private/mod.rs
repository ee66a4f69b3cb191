//! What a session has of its own, instead of sharing it with the host.
//!
//! The supervisor itself enters, before it starts anything. So the guardian, the services, the command, the probes and the
//! checks are all inside, and the kernel removes the namespaces with the last of them: nothing has to be cleaned up.

mod directories;
mod kept;
mod kinds;
mod namespaces;
mod network;

use anyhow::{Context, Result};

pub(crate) use kinds::Private;

use crate::plan::{Environment, SessionPlan, Verbosity};
use crate::report::Reporter;
use crate::sys::process::trial::in_a_child;

/// Enters what is to be private.
///
/// Must be called while this process has a single thread.
pub(crate) fn enter(plan: &SessionPlan, env: &Environment, report: &Reporter) -> Result<()> {
    let private = plan.private;
    if private == Private::default() {
        return Ok(());
    }
    if plan.verbosity == Verbosity::Verbose {
        report.say(&format!("private to this session: {}", private.names()));
    }
    let covered = directories::covered(private);
    let kept = kept::paths(&covered, plan, env)?;
    namespaces::enter(private.namespaces()).context("the session cannot be private")?;
    if private.net {
        network::set_up().context("the session cannot have a network of its own")?;
    }
    if !covered.is_empty() {
        directories::set_up(&covered, &kept, plan, env)
            .context("the session cannot have directories of its own")?;
    }
    Ok(())
}

/// Why no session of this user can be private, tried in a child.
///
/// Must be called while this process has a single thread.
pub(crate) fn unavailable() -> Option<String> {
    let tried = in_a_child(|| {
        let network = |()| Ok(network::set_up()?);
        let entered = namespaces::enter(Private::ALL.namespaces()).map_err(anyhow::Error::from);
        entered.and_then(network).map_err(|error: anyhow::Error| error.to_string())
    });
    tried.unwrap_or_else(|error| Err(error.to_string())).err()
}
