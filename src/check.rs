//! `cgrun check`: after a run, are the watched ports free, and is no dead session left?

use anyhow::{Context, Result};

use crate::containment::{Mount, stale_sessions};
use crate::exit_code::{Exit, NOT_CLEAN};
use crate::plan::Volume;
use crate::ports::{self, Holding};
use crate::report::Reporter;

/// Says what is not clean. An error means that it is not known.
pub fn check(watched: &[u16]) -> Result<Exit> {
    let mut found = Vec::new();
    let held =
        ports::listening_on(watched).context("cannot tell who listens on the watched ports (sock_diag)")?;
    found.extend(Holding::of(&held).iter().map(|holding| holding.to_string()));
    for path in stale_sessions(&Mount::find()?)? {
        found.push(format!("session {} is left over: its cgrun is dead", path.display()));
    }
    let report = Reporter::new(Volume::Normal);
    found.iter().for_each(|line| report.error(line));
    Ok(Exit::Code(if found.is_empty() { 0 } else { NOT_CLEAN }))
}
