//! Hosts and sessions side by side, as cells.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::overview::{Leak, News, Overview};
use super::session_result::SessionResult;
use crate::text::{Bytes, elapsed, shorten};

/// A longer command says nothing more about its session.
const COMMAND: usize = 60;
/// The title of what could also have gone unnoticed.
pub(super) const NOT_SEEN: &str = "Not seen (their tests need not have run)";

/// `3 x python mail.py`, `up to 3 x python mail.py` if sessions differ. What one has started itself is not counted.
pub(super) fn program(leak: &Leak<'_>, width: usize) -> String {
    let program = shorten(&leak.key.program, width);
    let counts = || leak.sessions.iter().map(|it| it.trees);
    match (counts().min(), counts().max()) {
        (_, None | Some(0..=1)) => program,
        (min, Some(max)) if min == Some(max) => format!("{max} x {program}"),
        (_, Some(max)) => format!("up to {max} x {program}"),
    }
}

/// `ci-1 (3), ci-2 (1)`: how many sessions on each host, the most first.
pub(super) fn hosts_of(leak: &Leak<'_>, most: usize) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    leak.sessions.iter().for_each(|it| *counts.entry(it.session.host()).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    let shown: Vec<_> = counts.iter().take(most).map(|(host, count)| format!("{host} ({count})")).collect();
    match counts.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What else is known of it: `, since 2026-11-01, in the baseline`.
pub(super) fn remarks(leak: &Leak<'_>) -> String {
    let since = match leak.news {
        News::StillThere => format!(", since {}", leak.first_seen.date()),
        _ => String::new(),
    };
    let known = if leak.known { ", in the baseline" } else { "" };
    since + known
}

/// `in 2 of 12 sessions`, `in 1 of 12 sessions, on ci-3`
pub(super) fn seen_in(overview: &Overview<'_>, leak: &Leak<'_>) -> String {
    let all = overview.totals.sessions;
    match &leak.sessions[..] {
        [_] if all == 1 => "in the session".into(),
        [one] if overview.totals.hosts > 1 => format!("in 1 of {all} sessions, on {}", one.session.host()),
        several => format!("in {} of {all} sessions", several.len()),
    }
}

/// The sessions that leaked or failed, and then the longest.
pub(super) fn notable<'a>(overview: &Overview<'a>) -> Vec<&'a SessionResult> {
    let mut sessions: Vec<_> = overview.merged.sessions().collect();
    sessions.sort_by_key(|it| {
        (it.is_verified(), Reverse(it.leaked()), !it.failed(), Reverse(it.duration_seconds))
    });
    sessions
}

pub(super) const HOST_COLUMNS: [&str; 7] =
    ["host", "sessions", "failed", "leaked", "longest", "memory", "procs"];

pub(super) fn hosts(overview: &Overview<'_>) -> Vec<[String; 7]> {
    let rows = overview.hosts.iter().map(|host| {
        [
            host.name().to_string(),
            host.sessions.to_string(),
            host.failed_sessions.to_string(),
            host.leaked().to_string(),
            elapsed(host.longest_seconds.get()),
            or_dash(host.memory_peak_bytes.map(|it| Bytes(it).to_string())),
            or_dash(host.processes_peak.map(|it| it.to_string())),
        ]
    });
    std::iter::once(HOST_COLUMNS.map(String::from)).chain(rows).collect()
}

pub(super) const SESSION_COLUMNS: [&str; 9] =
    ["session", "host", "exit", "leaked", "took", "cpu", "memory", "procs", "command"];

pub(super) fn sessions(sessions: &[&SessionResult]) -> Vec<[String; 9]> {
    let rows = sessions.iter().map(|it| {
        [
            it.id.clone(),
            it.host().to_string(),
            it.exit(),
            leaked(it),
            elapsed(it.duration_seconds.get()),
            or_dash(it.cpu_seconds.map(|cpu| elapsed(cpu.get()))),
            or_dash(it.memory_peak_bytes.map(|it| Bytes(it).to_string())),
            or_dash(it.processes_peak.map(|it| it.to_string())),
            shorten(&it.command, COMMAND),
        ]
    });
    std::iter::once(SESSION_COLUMNS.map(String::from)).chain(rows).collect()
}

/// Of a session that cgrun did not survive, it is not known.
pub(super) fn leaked(session: &SessionResult) -> String {
    if session.leaks_known { session.leaked().to_string() } else { "?".into() }
}

/// A figure that was not measured is not zero.
pub(super) fn or_dash(value: Option<String>) -> String {
    value.unwrap_or("-".into())
}
