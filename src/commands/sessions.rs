//! `cgrun sessions`: live ones, stale ones, and those that a guardian or a sweep has ended lately.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::guardian::record::{self, Ended};
use crate::registry::{State, sessions};
use crate::runtime::exit_code::Exit;
use crate::sys::proc;
use crate::text::{age, readable, shorten};

/// So many of the ended ones are worth a line; `--json` has all.
const ENDED_SHOWN: usize = 10;
/// How many characters of a command line are shown.
const COMMAND_WIDTH: usize = 60;

#[derive(Serialize)]
struct Listing {
    sessions: Vec<Row>,
    /// Sessions whose supervisor died and that were ended for it.
    ended: Vec<Ended>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    state: State,
    /// Pid of the supervisor; null where it cannot be known.
    supervisor_pid: Option<u32>,
    user: String,
    command: String,
    ports: Vec<u16>,
    cgroup: String,
}

/// Prints them to stdout, as a table or as JSON.
pub fn list(records: &Path, json: bool) -> Result<Exit> {
    let found = crate::registry::mount()?.map_or(Ok(Vec::new()), |mount| sessions(&mount))?;
    let rows = found.into_iter().map(|session| Row {
        state: session.state,
        supervisor_pid: session.owner_pid(),
        id: session.id.to_string(),
        user: proc::user(session.uid),
        command: session.command,
        ports: session.ports,
        cgroup: session.path.to_string_lossy().into_owned(),
    });
    let listing = Listing { sessions: rows.collect(), ended: record::read_all(records) };
    let text = if json { serde_json::to_string_pretty(&listing)? + "\n" } else { table(&listing) };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    Ok(Exit::Code(0))
}

fn table(listing: &Listing) -> String {
    let mut lines = Vec::new();
    for row in &listing.sessions {
        let state = match row.state {
            State::Live => "live",
            State::Stale => "stale",
            State::Unknown => "unknown",
        };
        let owner = row.supervisor_pid.map_or("?".into(), |pid| pid.to_string());
        lines.push([
            row.id.clone(),
            state.into(),
            owner,
            row.user.clone(),
            shorten(&readable(&row.command), COMMAND_WIDTH),
        ]);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    for ended in listing.ended.iter().take(ENDED_SHOWN) {
        let when = age(Duration::from_secs(now.saturating_sub(ended.at)));
        let how = if ended.clean { "clean" } else { "NOT clean" };
        let state = format!("ended {when} ago by {}, {how}", ended.by);
        lines.push([
            ended.id.clone(),
            state,
            ended.owner.to_string(),
            String::new(),
            shorten(&readable(&ended.command), COMMAND_WIDTH),
        ]);
    }
    if lines.is_empty() {
        return "no sessions\n".into();
    }
    lines.insert(0, ["ID", "STATE", "OWNER", "USER", "COMMAND"].map(String::from));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let pad = |line: &[String; 5]| {
        let cells = widths.iter().zip(line).map(|(width, cell)| format!("{cell:width$}  "));
        cells.collect::<String>() + &line[4] + "\n"
    };
    lines.iter().map(pad).collect()
}
