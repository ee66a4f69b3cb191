//! Ending sessions whose supervisor is dead. Live ones, and other users', are left alone.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::record::Record;
use super::{Session, State};
use crate::containment::SessionCgroup;
use crate::events::Events;
use crate::exit_code::{Exit, NOT_PROVEN};
use crate::plan::KILL_WAIT;
use crate::report::Reporter;
use crate::teardown::{Cause, Remains, Verdict, tear_down};

/// `cgrun sweep`: ends all stale sessions of ours on this host.
pub fn sweep(records: &Path, dry_run: bool, report: &Reporter) -> Result<Exit> {
    let mut proven = true;
    let events = Events::new()?;
    for session in super::sessions()?.into_iter().filter(is_ours_to_end) {
        let what = format!("session {} ({}), whose cgrun is dead", session.id, session.command);
        if dry_run {
            report.say(&format!("would end {what}"));
            continue;
        }
        let verdict = end(session, records, &events)?;
        verdict.survivors.iter().chain(&verdict.unknown).for_each(|problem| report.error(problem));
        report.say(&format!("{} {what}", if verdict.is_proven() { "ended" } else { "could not end" }));
        proven &= verdict.is_proven();
    }
    Ok(Exit::Code(if proven { 0 } else { NOT_PROVEN }))
}

/// What a starting session does: ends the stale ones of those that it was given.
pub fn end_stale(sessions: Vec<Session>, records: &Path, events: &Events, report: &Reporter) {
    for session in sessions.into_iter().filter(is_ours_to_end) {
        let id = session.id.clone();
        match end(session, records, events) {
            Ok(verdict) if verdict.is_proven() => {
                report.say(&format!("ended session {id}, which a dead cgrun had left"))
            }
            Ok(verdict) => {
                report.error(&format!("session {id}, left by a dead cgrun: {}", verdict.survivors.join("; ")))
            }
            Err(error) => {
                report.error(&format!("session {id}, left by a dead cgrun, could not be ended: {error:#}"))
            }
        }
    }
}

fn is_ours_to_end(session: &Session) -> bool {
    session.state() == State::Stale && session.uid == rustix::process::geteuid().as_raw()
}

/// Ends one session by force: whoever could have asked it is dead.
pub fn end(session: Session, records: &Path, events: &Events) -> Result<Verdict> {
    let owner = session.owner().ok_or_else(|| anyhow!("nobody knows whose session {} is", session.id))?;
    let record = Record::new(
        records,
        &session.id,
        owner.pid.as_raw_nonzero().get().unsigned_abs(),
        &session.command,
        "sweep",
    );
    let mut remains = Remains {
        cgroup: SessionCgroup::adopt(session.id, session.path)?,
        parts: Vec::new(),
        watched: session.ports,
        held_before: Vec::new(),
        grace: Duration::ZERO,
        kill_wait: KILL_WAIT,
        settle: Duration::ZERO,
        reclaim_ports: false,
    };
    let verdict = tear_down(&mut remains, &Cause::SupervisorDied, events, &|_| ());
    record.write(&verdict);
    Ok(verdict)
}
