//! `cgrun check`: after a run, are the watched ports free, and is no dead session left?

use anyhow::{Context, Result};

use crate::ports::{self, Holding};
use crate::registry::{State, sessions};
use crate::report::Reporter;
use crate::runtime::exit_code::{Exit, NOT_CLEAN};

/// Says what is not clean. An error means that it is not known.
pub fn check(watched: &[u16], report: &Reporter) -> Result<Exit> {
    let mut found = Vec::new();
    let held =
        ports::listening_on(watched).context("cannot tell who listens on the watched ports (sock_diag)")?;
    found.extend(Holding::of(&held).iter().map(|holding| holding.to_string()));
    let left = crate::registry::mount()?.map_or(Ok(Vec::new()), |mount| sessions(&mount))?;
    for session in left {
        let path = session.path.display();
        match session.state {
            State::Live => continue,
            State::Stale => {}
            State::Unknown => {
                found
                    .push(format!("session {} may be left over, its owner is not known: {path}", session.id));
                continue;
            }
        }
        found.push(format!(
            "session {} is left over, its cgrun is dead: {path}; end it {}",
            session.id,
            session.how_to_sweep()
        ));
    }
    found.iter().for_each(|line| report.error(line));
    Ok(Exit::Code(if found.is_empty() { 0 } else { NOT_CLEAN }))
}
