//! `cgrun stop ID`: stops a live session through its supervisor, and waits until it is gone.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::containment::{Mount, Owner, SessionId};
use crate::registry::sweep::end_session;
use crate::registry::{SessionEntry, SessionState, cgroup_mount, list_sessions};
use crate::report::Reporter;
use crate::runtime::events::Events;
use crate::runtime::exit_code::{Exit, NOT_PROVEN};
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::time::{self, Instant};

/// How often to check whether the session's cgroup is gone after its supervisor has exited.
const POLL: Duration = Duration::from_millis(5);
/// How long the guardian may take to tear down the session of a killed supervisor.
const GUARDIAN_WAIT: Duration = Duration::from_secs(5);

/// Asks the supervisor to stop, asks again after `grace`, and kills it after another `grace`. Its guardian,
/// or else this process, then tears down the session.
pub(crate) fn stop(id: &str, grace: Duration, records: &Path, reporter: &Reporter) -> Result<Exit> {
    let Ok(wanted) = id.parse::<SessionId>() else {
        bail!("invalid session ID {id:?}; list sessions with: cgrun sessions")
    };
    let mount = cgroup_mount()?
        .with_context(|| format!("there is no session {id}: no cgroup file system is mounted here"))?;
    let session = session_with_id(&mount, &wanted)?
        .with_context(|| format!("there is no session {id}; list sessions with: cgrun sessions"))?;
    match session.state {
        SessionState::Live => {}
        SessionState::Stale => return end_stale(session, &mount, records, reporter),
        SessionState::Unknown => bail!(
            "cannot determine who owns session {id}: its supervisor is in another PID namespace or hidden from \
             this user; run cgrun stop where the session was started"
        ),
    }
    if let Some(owner) = session.owner() {
        end_supervisor(owner, session.uid, grace)?;
    }
    let deadline = Instant::now() + GUARDIAN_WAIT;
    while session.path.exists() && Instant::now() < deadline {
        time::sleep(POLL);
    }
    match session_with_id(&mount, &wanted)? {
        None => Ok(Exit::Code(0)),
        Some(session) => end_stale(session, &mount, records, reporter),
    }
}

/// `uid` is the owner of the session's cgroup, who could have written any pid there.
fn end_supervisor(owner: Owner, uid: u32, grace: Duration) -> Result<()> {
    let Some(supervisor) = Process::open(owner.pid)? else { return Ok(()) };
    // Checked after opening the pidfd: before that, the pid may have been reused.
    if !owner.is_alive()? {
        return Ok(());
    }
    if ProcessInfo::read(owner.pid).and_then(|it| it.uid).is_some_and(|it| it != uid) {
        bail!(
            "the supervisor (pid {}) does not belong to the user of the session; stop it yourself",
            owner.pid
        );
    }
    for signal in [Signal::SIGTERM, Signal::SIGTERM, Signal::SIGKILL] {
        // A stopped supervisor (Ctrl-Z) must be continued before it can react.
        let sent = supervisor.request(signal).and_then(|_| supervisor.signal(Signal::SIGCONT));
        sent.with_context(|| format!("cannot signal the supervisor (pid {})", owner.pid))?;
        if supervisor.wait(grace)? {
            return Ok(());
        }
    }
    bail!("the supervisor (pid {}) was killed but has not exited", owner.pid)
}

fn session_with_id(mount: &Mount, id: &SessionId) -> Result<Option<SessionEntry>> {
    Ok(list_sessions(mount)?.entries.into_iter().find(|session| session.id == *id))
}

fn end_stale(session: SessionEntry, mount: &Mount, records: &Path, reporter: &Reporter) -> Result<Exit> {
    let verdict = end_session(session, mount, records, &Events::new()?, reporter)?;
    let Some(verdict) = verdict else { return Ok(Exit::Code(0)) };
    verdict.problems().iter().for_each(|problem| reporter.error(problem));
    Ok(Exit::Code(if verdict.is_proven() { 0 } else { NOT_PROVEN }))
}
