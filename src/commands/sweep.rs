//! `cgrun sweep`: tears down the stale sessions of our user on this host, and what stale sessions have left in the container
//! engines that we can reach. Leaves live sessions and other users' sessions alone.

use std::path::Path;

use anyhow::{Context, Result};

use crate::containers::{Surroundings, UntilSignal, reachable};
use crate::containment::Mount;
use crate::registry::stale_containers::end_stale_containers;
use crate::registry::sweep::end_session;
use crate::registry::{SessionEntry, SessionState, cgroup_mount, list_sessions};
use crate::report::Reporter;
use crate::runtime::events::Events;
use crate::runtime::exit_code::{Exit, NOT_PROVEN};

pub(crate) fn sweep(records: &Path, dry_run: bool, reporter: &Reporter) -> Result<Exit> {
    let events = Events::new()?;
    let mount = cgroup_mount()?;
    let sweep = |mount| sweep_sessions(mount, records, dry_run, &events, reporter);
    let mut all_proven = mount.as_ref().map_or(Ok(true), sweep)?;
    // After the processes, which could create more.
    let engines = reachable(&Surroundings::new(|name| std::env::var_os(name)));
    let mut waiting = UntilSignal::new();
    let ended = end_stale_containers(&engines, None, dry_run, reporter, &mut waiting);
    all_proven &= ended.context("cannot determine which containers dead sessions have left")?;
    Ok(match waiting.signal() {
        Some(signal) if !all_proven => Exit::Signal(signal),
        _ => Exit::Code(if all_proven { 0 } else { NOT_PROVEN }),
    })
}

/// Returns whether it is known that nothing of our stale sessions is left.
fn sweep_sessions(
    mount: &Mount,
    records: &Path,
    dry_run: bool,
    events: &Events,
    reporter: &Reporter,
) -> Result<bool> {
    let mut all_proven = true;
    let sessions = list_sessions(mount)?;
    sessions.gap().iter().for_each(|gap| reporter.say(gap));
    let stale = sessions.entries.into_iter().filter(|session| session.state == SessionState::Stale);
    let (ours, others): (Vec<_>, Vec<_>) = stale.partition(SessionEntry::is_ours);
    for session in others {
        let (id, how) = (&session.id, session.how_to_sweep());
        reporter.say(&format!("session {id} belongs to another user; end it {how}"));
    }
    for session in ours {
        let name =
            format!("session {} ({}), left behind by a cgrun process that died", session.id, session.command);
        if dry_run {
            reporter.say(&format!("would end {name}"));
            continue;
        }
        let verdict = match end_session(session, mount, records, events, reporter) {
            Ok(Some(verdict)) => verdict,
            Ok(None) => continue,
            Err(error) => {
                reporter.error(&format!("cannot end {name}: {error:#}"));
                all_proven = false;
                continue;
            }
        };
        verdict.problems().iter().for_each(|problem| reporter.error(problem));
        let result = if verdict.is_proven() { "ended" } else { "could not end" };
        reporter.say(&format!("{result} {name}"));
        all_proven &= verdict.is_proven();
    }
    Ok(all_proven)
}
