//! `cgrun check`: checks after a run that the watched ports are free and no stale session is left.

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::output::print;
use crate::containers::{JustWaiting, Surroundings, find_stale, reachable};
use crate::ports::{self, Holding, time_wait};
use crate::registry::{SessionEntry, SessionList, SessionState, cgroup_mount, list_signed_sessions};
use crate::report::Reporter;
use crate::runtime::exit_code::{Exit, NOT_CLEAN};
use crate::sys::port::Port;
use crate::sys::users::user_name;

/// What the check found, for `--json`.
#[derive(Serialize)]
struct CheckFindings<'a> {
    /// `None` if it is not known.
    clean: Option<bool>,
    watched_ports: &'a [Port],
    held_ports: Vec<HeldPort>,
    stale_sessions: Vec<StaleSession>,
    /// What they have left in container engines.
    stale_containers: Vec<String>,
    /// What could not be determined.
    unknown: &'a [String],
    /// What may affect the next run, although it is clean.
    remarks: &'a [String],
}

#[derive(Serialize)]
struct HeldPort {
    port: Port,
    /// Empty if cgrun is not permitted to inspect them.
    pids: Vec<i32>,
    description: String,
}

#[derive(Serialize)]
struct StaleSession {
    id: String,
    user: String,
    command: String,
    cgroup: String,
}

/// Reports everything that is not clean. An error means that cgrun could not find out.
pub(crate) fn check(watched: &[Port], json: bool, reporter: &Reporter) -> Result<Exit> {
    let listeners = ports::listening_on(watched)
        .context("cannot find out which processes listen on the watched ports (sock_diag)")?;
    let sessions =
        cgroup_mount()?.map_or(Ok(SessionList::default()), |mount| list_signed_sessions(&mount))?;
    let holdings = Holding::of(&listeners);
    let mut problems: Vec<_> = holdings.iter().map(ToString::to_string).collect();
    problems.extend(sessions.entries.iter().filter_map(leftover));
    let engines = reachable(&Surroundings::new(|name| std::env::var_os(name)));
    let stale = find_stale(&engines, None, &mut JustWaiting)
        .context("cannot determine which containers dead sessions have left")?;
    problems.extend(stale.objects().iter().map(|it| {
        format!(
            "{it} is left over from session {}, whose cgrun process died; end it with: cgrun sweep",
            it.session
        )
    }));
    let unknown = sessions.entries.iter().filter_map(possible_leftover).chain(sessions.gap());
    // An engine that hangs is no concern of those who have never used one with cgrun.
    let is_concern = !stale.is_without_a_trace();
    let of_engines = || stale.unknown().cloned();
    let unknown: Vec<_> = unknown.chain(of_engines().filter(|_| is_concern)).collect();
    // No process is left on a port in TIME_WAIT, so it is clean. But the next run may fail to bind it.
    let free: Vec<_> =
        watched.iter().copied().filter(|port| !listeners.iter().any(|it| it.port == *port)).collect();
    let mut remarks = time_wait::remarks(&free);
    remarks.extend(of_engines().filter(|_| !is_concern));
    // What cannot be seen is never called clean.
    let is_unknown = problems.is_empty() && !unknown.is_empty();
    if json {
        let stale_sessions = sessions.entries.iter().filter(|it| it.state == SessionState::Stale);
        let findings = CheckFindings {
            clean: (!is_unknown).then_some(problems.is_empty()),
            watched_ports: watched,
            held_ports: holdings.iter().map(held_port).collect(),
            stale_sessions: stale_sessions.map(stale_session).collect(),
            stale_containers: stale.objects().iter().map(ToString::to_string).collect(),
            unknown: &unknown,
            remarks: &remarks,
        };
        print(&(serde_json::to_string_pretty(&findings)? + "\n"))?;
    } else {
        remarks.iter().for_each(|remark| reporter.say(remark));
    }
    if is_unknown {
        bail!("{}", unknown.join("\n"));
    }
    if !json {
        problems.iter().chain(&unknown).for_each(|problem| reporter.error(problem));
    }
    Ok(Exit::Code(if problems.is_empty() { 0 } else { NOT_CLEAN }))
}

fn held_port(holding: &Holding) -> HeldPort {
    HeldPort {
        port: holding.port,
        pids: holding.holders.iter().map(|it| it.pid.as_raw_nonzero().get()).collect(),
        description: holding.to_string(),
    }
}

fn stale_session(session: &SessionEntry) -> StaleSession {
    StaleSession {
        id: session.id.to_string(),
        user: user_name(session.uid),
        command: session.command.clone(),
        cgroup: session.path.to_string_lossy().into_owned(),
    }
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
