//! Ending sessions whose supervisor is dead. Live ones, and other users', are left alone.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Session, State};
use crate::containment::{Containment, Mount, SessionCgroup};
use crate::guardian::record::Record;
use crate::limits::clear_seats;
use crate::plan::KILL_WAIT;
use crate::report::Reporter;
use crate::runtime::events::Events;
use crate::runtime::exit_code::{Exit, NOT_PROVEN};
use crate::teardown::{Cause, Context, Verdict, tear_down};

/// `cgrun sweep`: ends all stale sessions of ours on this host.
pub fn sweep(records: &Path, dry_run: bool, report: &Reporter) -> Result<Exit> {
    let mut proven = true;
    let events = Events::new()?;
    // Where there is no cgroup, nothing can be left in one.
    let Some(mount) = super::mount()? else { return Ok(Exit::Code(0)) };
    let (ours, others): (Vec<_>, Vec<_>) = super::sessions(&mount)?
        .into_iter()
        .filter(|session| session.state == State::Stale)
        .partition(Session::is_ours);
    for session in others {
        report.say(&format!("session {} is not ours to end; end it {}", session.id, session.how_to_sweep()));
    }
    for session in ours {
        let what = format!("session {} ({}), whose cgrun is dead", session.id, session.command);
        if dry_run {
            report.say(&format!("would end {what}"));
            continue;
        }
        let verdict = match end(session, &mount, records, &events) {
            Ok(Some(verdict)) => verdict,
            Ok(None) => continue,
            Err(error) => {
                report.error(&format!("could not end {what}: {error:#}"));
                proven = false;
                continue;
            }
        };
        verdict.problems().iter().for_each(|problem| report.error(problem));
        report.say(&format!("{} {what}", if verdict.is_proven() { "ended" } else { "could not end" }));
        proven &= verdict.is_proven();
    }
    Ok(Exit::Code(if proven { 0 } else { NOT_PROVEN }))
}

/// What a starting session does: ends the stale ones right beside it.
pub fn end_neighbours(mount: &Mount, records: &Path, events: &Events, report: &Reporter) -> Result<()> {
    for session in super::neighbours(mount)?.into_iter().filter(is_ours_to_end) {
        let id = session.id.clone();
        match end(session, mount, records, events) {
            Ok(None) => {}
            Ok(Some(verdict)) if verdict.is_proven() => {
                report.say(&format!("ended session {id}, which a dead cgrun had left"))
            }
            Ok(Some(verdict)) => report
                .error(&format!("session {id}, left by a dead cgrun: {}", verdict.problems().join("; "))),
            Err(error) => {
                report.error(&format!("session {id}, left by a dead cgrun, could not be ended: {error:#}"))
            }
        }
    }
    Ok(())
}

fn is_ours_to_end(session: &Session) -> bool {
    session.state == State::Stale && session.is_ours()
}

/// Ends one session by force: whoever could have asked it is dead. `None` where it is gone meanwhile,
/// by its guardian, or with a session around it.
pub fn end(session: Session, mount: &Mount, records: &Path, events: &Events) -> Result<Option<Verdict>> {
    let owner = session.owner_pid().unwrap_or_default();
    let record = Record::new(records, &session.id, owner, &session.command, "sweep");
    let cgroup = match SessionCgroup::open(mount, session.id, session.path.clone()) {
        Err(_) if !session.path.exists() => return Ok(None),
        opened => opened?,
    };
    let mut context = Context {
        containment: Containment::cgroup(cgroup, None),
        components: Vec::new(),
        watched: session.ports,
        held_before: Vec::new(),
        preexisting: Vec::new(),
        had_preexisting: false,
        guardian: None,
        grace: Duration::ZERO,
        kill_wait: KILL_WAIT,
        settle: Duration::ZERO,
        allow: Vec::new(),
        lost_orphans: false,
        measure: false,
    };
    let verdict = tear_down(&mut context, &Cause::SUPERVISOR_DIED, events, &|_| (), &mut |_| ());
    record.write(&verdict);
    session.path.parent().into_iter().for_each(clear_seats);
    Ok(Some(verdict))
}
