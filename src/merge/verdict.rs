//! The verdict in sentences, as every rendering begins.

use super::overview::{News, Overview, Totals};
use super::session_result::SessionResult;
use crate::leaks::Owner;
use crate::report::leaked_text;
use crate::text::{Bytes, counted};

/// Whether it is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    /// Sessions failed, but not because of leaks.
    Failed,
    Bad,
}

/// In one or two words.
pub(crate) fn label(overview: &Overview<'_>) -> (String, Mood) {
    let totals = &overview.totals;
    let new = overview.leaks.iter().filter(|leak| leak.news == News::New && leak.fails()).count();
    match new {
        _ if totals.unverified_sessions > 0 => ("not clean".into(), Mood::Bad),
        1.. => (format!("{new} new"), Mood::Bad),
        _ if overview.is_incomplete() => ("incomplete".into(), Mood::Bad),
        _ if overview.leaks_fail() => (format!("{} leaked", leaked_of(totals)), Mood::Bad),
        _ if totals.failed_sessions > 0 => {
            (format!("{} failed", counted(totals.failed_sessions, "session")), Mood::Failed)
        }
        _ if totals.leaked_processes == 0 && totals.leaked_containers == 0 => ("clean".into(), Mood::Good),
        _ => ("nothing new".into(), Mood::Good),
    }
}

/// What is new, and what leaked. The first sentence is the most important one.
pub(crate) fn sentences(overview: &Overview<'_>) -> Vec<String> {
    let totals = &overview.totals;
    let sessions = counted(totals.sessions, "session");
    let all = match totals.hosts {
        0 | 1 => sessions,
        hosts => format!("{sessions} on {}", counted(hosts, "host")),
    };
    let leaked = leaked_of(totals);
    let within = match totals.sessions {
        1 => "in the session".to_string(),
        _ => format!("in {} of {all}", totals.leaking_sessions),
    };
    let all_leaks =
        match (totals.leaked_processes.saturating_add(totals.leaked_containers), totals.leaking_tests) {
            (0, _) if totals.sessions == 1 => "Nothing leaked.".into(),
            (0, _) => format!("Nothing leaked in {all}."),
            (_, 0) => format!("{leaked} leaked {within}."),
            (_, tests) if only_tests(overview) => {
                format!("{} leaked {leaked} {within}.", counted(tests, "test"))
            }
            (_, tests) => {
                format!("{leaked} leaked {within}, some of them during {}.", counted(tests, "test"))
            }
        };
    let known = overview.leaks.iter().filter(|leak| leak.known).count() as u64;
    let known = match known {
        0 => None,
        1 => Some("1 leak is in the baseline.".to_string()),
        count => Some(format!("{count} leaks are in the baseline.")),
    };
    comparison(overview).into_iter().chain([all_leaks]).chain(known).chain(problems(overview)).collect()
}

fn only_tests(overview: &Overview<'_>) -> bool {
    let is_test = |owner: &Owner| matches!(owner, Owner::Test(_));
    overview.totals.undescribed_processes == 0 && overview.leaks.iter().all(|leak| is_test(&leak.key.owner))
}

/// `2 leaks are new since 2026-11-27, 9 are still there, 1 is gone, and 3 were not seen.`
fn comparison(overview: &Overview<'_>) -> Option<String> {
    let against = overview.against.as_ref()?;
    let count = |news| overview.leaks.iter().filter(|leak| leak.news == news).count();
    let are = |count: usize, are: [&str; 2], what: &str| match count {
        0 => format!("none {} {what}", are[0]),
        1 => format!("1 {} {what}", are[0]),
        count => format!("{count} {} {what}", are[1]),
    };
    let new = match count(News::New) {
        0 => "No leak is new".to_string(),
        1 => "1 leak is new".into(),
        count => format!("{count} leaks are new"),
    };
    let mut parts = vec![
        format!("{new} since {}", against.last_session.date()),
        are(count(News::StillThere), ["is", "are"], "still there"),
    ];
    let missing = [(&against.gone, ["is", "are"], "gone"), (&against.not_seen, ["was", "were"], "not seen")];
    parts.extend(missing.iter().filter(|it| !it.0.is_empty()).map(|it| are(it.0.len(), it.1, it.2)));
    let last = parts.pop().unwrap_or_default();
    Some(format!("{}, and {last}.", parts.join(", ")))
}

/// What makes the result incomplete, or worse.
fn problems(overview: &Overview<'_>) -> Vec<String> {
    let totals = &overview.totals;
    let left_out = overview.merged.left_out().len() as u64;
    let mut problems = Vec::new();
    let mut say = |count: u64, text: &dyn Fn(u64) -> String| {
        if count > 0 {
            problems.push(text(count));
        }
    };
    say(totals.failed_sessions, &|count| format!("{} failed.", counted(count, "session")));
    say(totals.unverified_sessions, &|count| {
        format!("{} had survivors, or could not be verified.", counted(count, "session"))
    });
    say(totals.killed_sessions, &|count| {
        format!("In {}, cgrun was killed, so that its leaks are not known.", counted(count, "session"))
    });
    say(totals.undescribed_processes, &|count| format!("{count} of the leaked processes are not described."));
    say(totals.leftovers, &|count| {
        format!("{} besides processes ({}).", counted(count, "leftover"), Bytes(totals.leftover_bytes))
    });
    say(left_out, &|count| {
        format!(
            "{} left out.",
            if count == 1 { "1 report was".into() } else { format!("{count} reports were") }
        )
    });
    problems
}

/// What was wrong with single sessions, a line each.
pub(crate) fn troubles(overview: &Overview<'_>) -> Vec<(&'static str, String)> {
    let of =
        |session: &SessionResult, text: &str| format!("{}, session {}: {text}", session.host(), session.id);
    let mut troubles = Vec::new();
    for session in overview.merged.sessions() {
        troubles.extend(session.survivors.iter().map(|it| ("survived", of(session, it))));
        troubles.extend(session.unverified.iter().map(|it| ("not verified", of(session, it))));
        if !session.is_verified() && session.survivors.is_empty() && session.unverified.is_empty() {
            troubles.push(("not verified", of(session, &session.reason)));
        }
        if !session.leaks_known {
            troubles.push(("killed", of(session, &session.reason)));
        }
    }
    let left_out = overview.merged.left_out().iter();
    troubles.extend(left_out.map(|it| ("left out", format!("{}: {}", it.report, it.reason))));
    troubles
}

/// `3 processes and 1 container`
fn leaked_of(totals: &Totals) -> String {
    leaked_text(as_size(totals.leaked_processes), as_size(totals.leaked_containers))
}

fn as_size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
