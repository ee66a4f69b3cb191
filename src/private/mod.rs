//! What a session has of its own, instead of sharing it with the host.
//!
//! The supervisor itself enters, before it starts anything. So the guardian, the services, the command, the probes and the
//! checks are all inside, and the kernel removes the namespaces with the last of them: nothing has to be cleaned up.

mod covered;
mod directories;
mod kept;
mod kinds;
mod namespaces;
mod network;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};

use covered::Covered;
pub(crate) use kinds::Private;

use crate::plan::{SessionPlan, Verbosity};
use crate::report::Reporter;
use crate::sys::process::trial::in_a_child;
use crate::text::error_chain;

/// Enters what is to be private.
///
/// Must be called while this process has a single thread.
pub(crate) fn enter(plan: &SessionPlan, report: &Reporter) -> Result<()> {
    let private = plan.private;
    if private == Private::default() {
        return Ok(());
    }
    if plan.verbosity == Verbosity::Verbose {
        report.say(&format!("private to this session: {}", private.names()));
    }
    let covered = Covered::all(private);
    let kept = kept::entries(&covered, plan)?;
    set_up(private, &covered, &kept)?;
    if covered.is_empty() {
        return Ok(());
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
    Ok(())
}

fn set_up(private: Private, covered: &[Covered], kept: &BTreeSet<PathBuf>) -> Result<()> {
    namespaces::enter(private.namespaces()).context("the session cannot be private")?;
    if private.net {
        network::set_up().context("the session cannot have a network of its own")?;
    }
    if !covered.is_empty() {
        directories::set_up(covered, kept).context("the session cannot have directories of its own")?;
    }
    Ok(())
}

/// Why no session of this user can be private, tried in a child.
///
/// Must be called while this process has a single thread.
pub(crate) fn unavailable() -> Option<String> {
    let covered = Covered::all(Private::ALL);
    let kept = covered
        .iter()
        .filter_map(|it| it.path.read_dir().ok()?.flatten().next())
        .map(|it| it.path())
        .collect();
    let tried = in_a_child(|| set_up(Private::ALL, &covered, &kept).map_err(|error| error_chain(&error)));
    tried.unwrap_or_else(|error| Err(error.to_string())).err()
}
