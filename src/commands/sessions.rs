//! `cgrun sessions`: lists live and stale sessions, and those that a guardian or a sweep tore down recently.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::output::print;
use crate::guardian::record::{self, EndedSession};
use crate::registry::{SessionList, SessionState, cgroup_mount, list_sessions};
use crate::report::Reporter;
use crate::runtime::exit_code::Exit;
use crate::sys::port::Port;
use crate::sys::users::user_name;
use crate::text::{age, readable, shorten};

/// The table shows this many ended sessions; `--json` shows all.
const ENDED_SHOWN: usize = 10;

#[derive(Serialize)]
struct SessionListing {
    sessions: Vec<SessionRow>,
    /// Sessions that a guardian or a sweep tore down, because their supervisor had died.
    ended: Vec<EndedSession>,
}

#[derive(Serialize)]
struct SessionRow {
    id: String,
    state: SessionState,
    /// `None` if it cannot be known.
    supervisor_pid: Option<u32>,
    user: String,
    command: String,
    ports: Vec<Port>,
    cgroup: String,
}

/// Prints the sessions to stdout, as a table or as JSON.
pub(crate) fn print_sessions(records: &Path, json: bool, reporter: &Reporter) -> Result<Exit> {
    let sessions = cgroup_mount()?.map_or(Ok(SessionList::default()), |mount| list_sessions(&mount))?;
    sessions.gap().iter().for_each(|gap| reporter.say(gap));
    let rows = sessions.entries.into_iter().map(|session| SessionRow {
        state: session.state,
        supervisor_pid: session.supervisor_pid(),
        id: session.id.to_string(),
        user: user_name(session.uid),
        command: session.command,
        ports: session.ports,
        cgroup: session.path.to_string_lossy().into_owned(),
    });
    let listing = SessionListing { sessions: rows.collect(), ended: record::read_all(records) };
    let text = if json { serde_json::to_string_pretty(&listing)? + "\n" } else { table(&listing) };
    print(&text)
}

fn table(listing: &SessionListing) -> String {
    let mut lines = Vec::new();
    for row in &listing.sessions {
        let state = match row.state {
            SessionState::Live => "live",
            SessionState::Stale => "stale",
            SessionState::Unknown => "unknown",
        };
        let pid = row.supervisor_pid.map_or("?".into(), |pid| pid.to_string());
        lines.push([row.id.clone(), state.into(), pid, row.user.clone(), short(&row.command)]);
    }
    for ended in listing.ended.iter().take(ENDED_SHOWN) {
        let ago = age(ended.ago());
        let result = if ended.verified_empty { "clean" } else { "NOT clean" };
        let state = format!("ended {ago} ago by {}, {result}", ended.ended_by);
        lines.push([
            ended.id.clone(),
            state,
            ended.supervisor_pid.to_string(),
            String::new(),
            short(&ended.command),
        ]);
    }
    if lines.is_empty() {
        return "no sessions\n".into();
    }
    lines.insert(0, ["ID", "STATE", "PID", "USER", "COMMAND"].map(String::from));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let pad = |line: &[String; 5]| {
        let cells = widths.iter().zip(line).map(|(width, cell)| format!("{cell:width$}  "));
        cells.collect::<String>() + &line[4] + "\n"
    };
    lines.iter().map(pad).collect()
}

fn short(command: &str) -> String {
    shorten(&readable(command), 60)
}
