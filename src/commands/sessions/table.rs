//! The sessions as a table.

use super::listing::{Listing, Row};
use crate::plan::Shard;
use crate::registry::SessionState;
use crate::text::{age, counted, readable, shorten};

/// So many ended sessions of a host are shown; `--json` has all.
const ENDED_SHOWN: usize = 10;

type Line = Vec<String>;

pub(super) fn of_host(listing: &Listing) -> String {
    let lines = lines(listing);
    if lines.is_empty() {
        "no sessions\n".into()
    } else {
        table(&["ID", "STATE", "PID", "USER", "COMMAND"], lines)
    }
}

/// Ends with a line that says how many hosts and sessions there are, because a host can have none.
pub(super) fn of_hosts(listings: &[Listing]) -> String {
    let of_host = |it: &Listing| {
        let host = it.host.clone();
        lines(it).into_iter().map(move |line| [vec![host.clone()], line].concat())
    };
    let mut all: Vec<Line> = listings.iter().flat_map(of_host).collect();
    all.sort_by(|a, b| a[0].cmp(&b[0]));
    let table = match all.is_empty() {
        true => String::new(),
        false => table(&["HOST", "ID", "STATE", "PID", "USER", "COMMAND"], all) + "\n",
    };
    let sessions = |state| listings.iter().flat_map(|it| &it.sessions).filter(|it| it.state == state).count();
    format!(
        "{table}{}: {} live, {} stale, {} unknown\n",
        counted(listings.len() as u64, "host"),
        counted(sessions(SessionState::Live) as u64, "session"),
        sessions(SessionState::Stale),
        sessions(SessionState::Unknown),
    )
}

fn lines(listing: &Listing) -> Vec<Line> {
    let live = listing.sessions.iter().map(|row| {
        let pid = row.supervisor_pid.map_or("?".into(), |pid| pid.to_string());
        vec![row.id.clone(), state(row).into(), pid, row.user.clone(), command(row)]
    });
    let ended = listing.ended.iter().take(ENDED_SHOWN).map(|ended| {
        let result = if ended.verified_empty { "clean" } else { "NOT clean" };
        let state = format!("ended {} ago by {}, {result}", age(ended.ago()), ended.ended_by);
        let pid = ended.supervisor_pid.to_string();
        vec![ended.id.clone(), state, pid, String::new(), short(&ended.command)]
    });
    live.chain(ended).collect()
}

fn command(row: &Row) -> String {
    row.shard.map(Shard::prefix).unwrap_or_default() + &short(&row.command)
}

fn state(row: &Row) -> &'static str {
    match row.state {
        SessionState::Live => "live",
        SessionState::Stale => "stale",
        SessionState::Unknown => "unknown",
    }
}

/// Other hosts can have put anything into a cell.
fn table(titles: &[&str], lines: Vec<Line>) -> String {
    let titles = titles.iter().map(|it| it.to_string()).collect();
    let readable = |line: Line| line.iter().map(|cell| readable(cell)).collect();
    let lines: Vec<Line> = [titles].into_iter().chain(lines.into_iter().map(readable)).collect();
    let last = lines[0].len() - 1;
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..last).map(width).collect();
    let pad = |line: &Line| {
        let cells = widths.iter().zip(line).map(|(width, cell)| format!("{cell:width$}  "));
        cells.collect::<String>() + &line[last] + "\n"
    };
    lines.iter().map(pad).collect()
}

fn short(command: &str) -> String {
    shorten(&readable(command), 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_can_draw_on_the_terminal() {
        let bad = "\x1b[2J\n";
        let listing = serde_json::json!({
            "schema": bad, "schema_version": 1, "host": bad, "listed_at_unix_seconds": 1, "incomplete": null,
            "sessions": [{
                "id": bad, "state": "live", "supervisor_pid": 1, "user": bad, "command": bad, "cgroup": bad
            }],
            "ended": [{
                "id": bad, "supervisor_pid": 1, "command": bad, "ended_by": bad, "ended_at_unix_seconds": 1,
                "verified_empty": true, "problems": []
            }]
        });
        let listing: Listing = serde_json::from_value(listing).unwrap();
        let tables = of_host(&listing) + &of_hosts(&[listing]);
        assert!(!tables.contains('\x1b') && tables.lines().count() == 8, "{tables}");
    }
}
