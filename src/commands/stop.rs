//! `cgrun stop ID`: ends a live session through its supervisor, and waits for the end.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::containment::{Mount, Owner, SessionId};
use crate::registry::{Session, State, sessions, sweep};
use crate::report::Reporter;
use crate::runtime::events::Events;
use crate::runtime::exit_code::{Exit, NOT_PROVEN};
use crate::sys::pidfd::Process;

/// How often it is looked whether the session's cgroup is gone, once its supervisor is.
const LOOK: Duration = Duration::from_millis(5);
/// What a guardian may need to end what its supervisor left.
const GUARDIAN: Duration = Duration::from_secs(5);

/// Asks the supervisor to end, again after `grace`, and kills it after another `grace`: its guardian
/// or we end the session then.
pub fn stop(id: &str, grace: Duration, records: &Path, report: &Reporter) -> Result<Exit> {
    let Ok(wanted) = id.parse::<SessionId>() else { bail!("{id:?} is no session's id; see: cgrun sessions") };
    let mount = crate::registry::mount()?
        .with_context(|| format!("there is no session {id} in a cgroup: none is mounted here"))?;
    let session =
        find(&mount, &wanted)?.with_context(|| format!("there is no session {id}; see: cgrun sessions"))?;
    match session.state {
        State::Live => {}
        State::Stale => return end(session, &mount, records, report),
        State::Unknown => bail!(
            "whose session {id} is cannot be told from here (another PID namespace, or a hidden process)"
        ),
    }
    if let Some(owner) = session.owner() {
        end_supervisor(owner, grace)?;
    }
    let deadline = Instant::now() + GUARDIAN;
    while session.path.exists() && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    match find(&mount, &wanted)? {
        None => Ok(Exit::Code(0)),
        Some(left) => end(left, &mount, records, report),
    }
}

fn end_supervisor(owner: Owner, grace: Duration) -> Result<()> {
    let Some(supervisor) = Process::open(owner.pid)? else { return Ok(()) };
    // Asked after opening: only then is it surely the supervisor.
    if !owner.is_alive()? {
        return Ok(());
    }
    for signal in [Signal::SIGTERM, Signal::SIGTERM, Signal::SIGKILL] {
        // It may be stopped (Ctrl-Z), and could not answer.
        let sent = supervisor.signal(signal).and_then(|_| supervisor.signal(Signal::SIGCONT));
        sent.with_context(|| format!("cannot signal the supervisor, pid {}", owner.pid))?;
        if supervisor.wait(grace)? {
            return Ok(());
        }
    }
    bail!("the supervisor, pid {}, was killed but does not end", owner.pid)
}

fn find(mount: &Mount, id: &SessionId) -> Result<Option<Session>> {
    Ok(sessions(mount)?.into_iter().find(|session| session.id == *id))
}

fn end(session: Session, mount: &Mount, records: &Path, report: &Reporter) -> Result<Exit> {
    let verdict = sweep::end(session, mount, records, &Events::new()?)?;
    let Some(verdict) = verdict else { return Ok(Exit::Code(0)) };
    verdict.problems().iter().for_each(|problem| report.error(problem));
    Ok(Exit::Code(if verdict.is_proven() { 0 } else { NOT_PROVEN }))
}
