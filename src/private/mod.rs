//! What a session has of its own, instead of sharing it with the host.
//!
//! The supervisor itself enters, before it starts anything. So the guardian, the services, the command, the probes and the
//! checks are all inside, and the kernel removes the namespaces with the last of them: nothing has to be cleaned up.

mod covered;
mod directories;
mod kept;
mod namespaces;
mod network;
mod resolver;
mod way_out;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sched::CloneFlags;

use covered::Covered;
use resolver::Servers;
use way_out::WayOut;
pub(crate) use way_out::has_pasta;

use crate::config::{Network, Private};
use crate::plan::{PrivatePlan, SessionPlan, Verbosity};
use crate::report::Reporter;
use crate::sys::process::keeper::Kept;
use crate::sys::process::trial::in_a_child;
use crate::text::error_chain;

/// Enters what is to be private. Returns what connects it to the outside, if anything does.
///
/// Must be called while this process has a single thread.
pub(crate) fn enter(plan: &SessionPlan, report: &Reporter) -> Result<Option<Kept>> {
    let private = plan.private.kinds;
    if private == Private::default() {
        return Ok(None);
    }
    if plan.verbosity == Verbosity::Verbose {
        report.say(&format!("private to this session: {}", private.names()));
    }
    let covered = Covered::all(private);
    let kept = kept::entries(&covered, plan)?;
    let way_out = set_up(&plan.private, &covered, &kept)?;
    if covered.is_empty() {
        return Ok(way_out);
    }
    let user = plan.identity.as_ref().and_then(|it| it.user.as_ref()).map(|(user, _)| user);
    for path in kept::TEMPORARY.into_iter().filter_map(std::env::var_os).map(PathBuf::from) {
        directories::make_temporary(&path, &covered, user)?;
    }
    // Until here, it is the one that is hidden now.
    if covered.iter().any(|it| plan.cwd.canonicalize().is_ok_and(|cwd| cwd.starts_with(&it.path))) {
        std::env::set_current_dir(&plan.cwd)
            .with_context(|| format!("cannot enter {}", plan.cwd.display()))?;
    }
    Ok(way_out)
}

fn set_up(plan: &PrivatePlan, covered: &[Covered], kept: &BTreeSet<PathBuf>) -> Result<Option<Kept>> {
    const NO_NETWORK: &str = "the session cannot have a network of its own";
    let PrivatePlan { kinds: private, forward, size } = plan;
    let is_outbound = private.net == Network::Outbound;
    let servers = if is_outbound { Servers::of_host() } else { Servers::Reachable };
    let mut namespaces =
        namespaces::of_kinds(*private) | namespaces::of_user().context("the session cannot be private")?;
    if servers == Servers::Unreachable {
        namespaces |= CloneFlags::CLONE_NEWNS;
    }
    let mut way_out = None;
    if is_outbound || !forward.is_empty() {
        let user = namespaces & CloneFlags::CLONE_NEWUSER;
        way_out = Some(WayOut { is_outbound, forward, servers }.enter(user).context(NO_NETWORK)?);
        namespaces -= user | CloneFlags::CLONE_NEWNET;
    }
    namespaces::enter(namespaces).context("the session cannot be private")?;
    if private.has_network() {
        network::set_up().context(NO_NETWORK)?;
    }
    if servers == Servers::Unreachable {
        resolver::replace().context(NO_NETWORK)?;
    }
    if !covered.is_empty() {
        directories::set_up(covered, kept, *size)
            .context("the session cannot have directories of its own")?;
    }
    Ok(way_out)
}

/// Why no session of this user can be private, tried in a child.
///
/// Must be called while this process has a single thread.
pub(crate) fn unavailable() -> Option<String> {
    let plan = PrivatePlan { kinds: Private::ALL, forward: Vec::new(), size: None };
    let covered = Covered::all(plan.kinds);
    let kept = covered
        .iter()
        .filter_map(|it| it.path.read_dir().ok()?.flatten().next())
        .map(|it| it.path())
        .collect();
    let tried = in_a_child(|| set_up(&plan, &covered, &kept).map(drop).map_err(|error| error_chain(&error)));
    tried.unwrap_or_else(|error| Err(error.to_string())).err()
}
