//! `cgrun check`: checks after a run that the watched ports are free and no stale session is left.

use anyhow::{Context, Result, bail};

use crate::ports::{self, Holding, time_wait};
use crate::registry::{SessionEntry, SessionList, SessionState, cgroup_mount, list_signed_sessions};
use crate::report::Reporter;
use crate::runtime::exit_code::{Exit, NOT_CLEAN};
use crate::sys::port::Port;

/// Reports everything that is not clean. An error means that cgrun could not find out.
pub(crate) fn check(watched: &[Port], reporter: &Reporter) -> Result<Exit> {
    let listeners = ports::listening_on(watched)
        .context("cannot find out which processes listen on the watched ports (sock_diag)")?;
    let sessions =
        cgroup_mount()?.map_or(Ok(SessionList::default()), |mount| list_signed_sessions(&mount))?;
    let mut problems: Vec<_> = Holding::of(&listeners).iter().map(ToString::to_string).collect();
    problems.extend(sessions.entries.iter().filter_map(leftover));
    let unknown: Vec<_> =
        sessions.entries.iter().filter_map(possible_leftover).chain(sessions.gap()).collect();
    // No process is left on a port in TIME_WAIT, so it is clean. But the next run may fail to bind it.
    let free: Vec<_> =
        watched.iter().copied().filter(|port| !listeners.iter().any(|it| it.port == *port)).collect();
    time_wait::remarks(&free).iter().for_each(|remark| reporter.say(remark));
    // What cannot be seen is never called clean.
    if problems.is_empty() && !unknown.is_empty() {
        bail!("{}", unknown.join("\n"));
    }
    problems.iter().chain(&unknown).for_each(|problem| reporter.error(problem));
    Ok(Exit::Code(if problems.is_empty() { 0 } else { NOT_CLEAN }))
}

fn leftover(session: &SessionEntry) -> Option<String> {
    let (id, path, how) = (&session.id, session.path.display(), session.how_to_sweep());
    (session.state == SessionState::Stale)
        .then(|| format!("session {id} is left over from a cgrun process that died: {path}; end it {how}"))
}

fn possible_leftover(session: &SessionEntry) -> Option<String> {
    let (id, path) = (&session.id, session.path.display());
    (session.state == SessionState::Unknown).then(|| {
        format!("session {id} may be left over: cannot determine whether its supervisor is alive: {path}")
    })
}
