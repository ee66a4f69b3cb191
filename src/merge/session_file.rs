//! The report of one session, as far as merging needs it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::merged::Merged;
use super::seconds::Seconds;
use super::session_result::{LeakKey, SessionLeak, SessionResult};
use crate::leaks::{Owner, worker_text};
use crate::text::shorten;

/// So many survivors and failed checks of a session are kept, each of so many characters.
const PROBLEMS: usize = 20;
const LONGEST: usize = 500;

#[derive(Deserialize)]
pub(super) struct SessionFile<'a> {
    #[serde(borrow)]
    session: Session<'a>,
    #[serde(borrow)]
    outcome: Outcome<'a>,
    #[serde(borrow)]
    leaks: Vec<Process<'a>>,
    leaked_process_count: u64,
    undescribed_process_count: u64,
    survivors: Vec<Cow<'a, str>>,
    unverified: Vec<Cow<'a, str>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Session<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    /// Missing in reports of older versions.
    #[serde(borrow)]
    host: Option<Cow<'a, str>>,
    command: Vec<Cow<'a, str>>,
    started_at_unix_seconds: Seconds,
    duration_seconds: Seconds,
    #[serde(borrow)]
    written_by: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    verified_empty: bool,
    exit_code: Option<u8>,
    #[serde(borrow)]
    signal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Usage {
    session: Figures,
}

#[derive(Deserialize)]
struct Figures {
    cpu_user_usec: Option<u64>,
    cpu_system_usec: Option<u64>,
    memory_peak_bytes: Option<u64>,
    processes_peak: Option<u64>,
}

#[derive(Deserialize)]
struct Process<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    /// Missing in reports of older versions.
    #[serde(borrow)]
    program: Option<Cow<'a, str>>,
    /// Missing in reports of older versions.
    #[serde(default)]
    known: bool,
    #[serde(borrow)]
    service: Option<Cow<'a, str>>,
    #[serde(borrow)]
    started_during: Option<Origin<'a>>,
    #[serde(borrow)]
    children: Vec<Process<'a>>,
}

#[derive(Deserialize)]
struct Origin<'a> {
    #[serde(borrow)]
    runner: Cow<'a, str>,
    #[serde(borrow)]
    test: Option<Cow<'a, str>>,
    #[serde(borrow)]
    worker: Option<Cow<'a, str>>,
}

impl SessionFile<'_> {
    pub(super) fn into_result(self, report: &str, merged: &mut Merged) -> SessionResult {
        let mut counts = BTreeMap::new();
        self.leaks.iter().for_each(|root| count(root, None, &mut counts));
        let figures = self.usage.map(|usage| usage.session);
        let cpu = figures.as_ref().and_then(|it| {
            let microseconds = it.cpu_user_usec?.saturating_add(it.cpu_system_usec?);
            Some(Seconds::new(microseconds as f64 / 1e6))
        });
        SessionResult {
            started_at_unix_seconds: self.session.started_at_unix_seconds,
            id: shorten(&self.session.id, LONGEST),
            host: self.session.host.map(|host| shorten(&host, LONGEST)),
            command: shorten(&self.session.command.join(" "), LONGEST),
            duration_seconds: self.session.duration_seconds,
            exit_code: self.outcome.exit_code,
            signal: self.outcome.signal.map(|signal| shorten(&signal, LONGEST)),
            reason: shorten(&self.outcome.reason, LONGEST),
            verified_empty: self.outcome.verified_empty,
            leaks_known: self.session.written_by == "supervisor",
            leaked_process_count: self.leaked_process_count,
            undescribed_process_count: self.undescribed_process_count,
            survivors: bounded(&self.survivors),
            unverified: bounded(&self.unverified),
            cpu_seconds: cpu,
            memory_peak_bytes: figures.as_ref().and_then(|it| it.memory_peak_bytes),
            processes_peak: figures.as_ref().and_then(|it| it.processes_peak),
            leaks: counts
                .into_iter()
                .map(|(key, (count, known))| SessionLeak { key: merged.shared(key), count, known })
                .collect(),
            report: report.to_string(),
        }
    }
}

/// How many processes each leak has, and whether the baseline lists all of them.
type Counts = BTreeMap<LeakKey, (u64, bool)>;

/// Counts a tree for its owner. A descendant that another test started is a tree of its own.
fn count(process: &Process<'_>, above: Option<&LeakKey>, counts: &mut Counts) {
    let owner = owner(process);
    let key = match above {
        Some(key) if key.owner == owner => key.clone(),
        _ => {
            let program = process.program.as_deref().unwrap_or(&process.name);
            LeakKey { owner, program: shorten(program, LONGEST) }
        }
    };
    process.children.iter().for_each(|child| count(child, Some(&key), counts));
    let (count, known) = counts.entry(key).or_insert((0, true));
    *count += 1;
    *known &= process.known;
}

fn owner(process: &Process<'_>) -> Owner {
    match (&process.service, &process.started_during) {
        (Some(service), _) => Owner::Service(service.to_string()),
        (None, Some(Origin { test: Some(test), .. })) => Owner::Test(test.to_string()),
        (None, Some(origin)) => {
            Owner::Worker(worker_text(&origin.runner, origin.worker.as_deref())).in_any_run()
        }
        (None, None) => Owner::Unknown,
    }
}

fn bounded(texts: &[Cow<'_, str>]) -> Vec<String> {
    let mut bounded: Vec<_> = texts.iter().take(PROBLEMS).map(|text| shorten(text, LONGEST)).collect();
    if texts.len() > PROBLEMS {
        bounded.push(format!("and {} more", texts.len() - PROBLEMS));
    }
    bounded
}
