//! The report of one session, as far as merging needs it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::merged::Merged;
use super::seconds::Seconds;
use super::session_result::{LeakKey, SessionLeak, SessionResult};
use crate::containers;
use crate::leaks::{Owner, roots, worker_text};
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
    /// Missing in reports of older versions.
    #[serde(default)]
    leaked_container_count: u64,
    survivors: Vec<Cow<'a, str>>,
    unverified: Vec<Cow<'a, str>>,
    /// Missing in reports of older versions.
    #[serde(borrow, default)]
    leftovers: Vec<Leftover<'a>>,
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
struct Leftover<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    size_bytes: Option<u64>,
    #[serde(borrow)]
    fate: Cow<'a, str>,
    #[serde(borrow)]
    process: Option<Cow<'a, str>>,
    #[serde(borrow)]
    started_during: Option<Cow<'a, str>>,
    /// This and the next are missing in reports of older versions.
    #[serde(borrow, default)]
    container: Option<Container<'a>>,
    #[serde(default)]
    leaked: bool,
    /// Missing in reports of older versions, as is the container's program.
    #[serde(default)]
    known: bool,
}

#[derive(Deserialize)]
struct Container<'a> {
    #[serde(borrow)]
    image: Cow<'a, str>,
    #[serde(borrow)]
    program: Option<Cow<'a, str>>,
    /// Missing in reports of older versions, which ended none.
    #[serde(default)]
    running: bool,
}

impl Leftover<'_> {
    /// What is in a private directory is normal, and so is what a service has created, or is allowed to run on. What leaked
    /// is counted with the leaks.
    fn counts(&self) -> bool {
        let is_of_engine = ["container", "pod", "network", "volume"].contains(&&*self.kind);
        let is_running = self.container.as_ref().is_some_and(|it| it.running);
        let is_expected = is_of_engine && self.fate == "removed" && (is_running || self.process.is_some());
        self.kind != "directory" && !self.leaked && !is_expected
    }
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
        let figures = self.usage.map(|usage| usage.session);
        let cpu = figures.as_ref().and_then(|it| {
            let microseconds = it.cpu_user_usec?.saturating_add(it.cpu_system_usec?);
            Some(Seconds::new(microseconds as f64 / 1e6))
        });
        let leftovers: Vec<_> = self.leftovers.iter().filter(|it| it.counts()).collect();
        let mut counts = counted(&self.leaks);
        count_containers(&self.leftovers, &mut counts);
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
            leaked_container_count: self.leaked_container_count,
            survivors: bounded(&self.survivors),
            unverified: bounded(&self.unverified),
            leftover_count: leftovers.len() as u64,
            leftover_bytes: leftovers.iter().filter_map(|it| it.size_bytes).fold(0, u64::saturating_add),
            cpu_seconds: cpu,
            memory_peak_bytes: figures.as_ref().and_then(|it| it.memory_peak_bytes),
            processes_peak: figures.as_ref().and_then(|it| it.processes_peak),
            leaks: counts
                .into_iter()
                .map(|(key, Count { processes, trees, known })| SessionLeak {
                    key: merged.shared(key),
                    count: processes,
                    trees,
                    known,
                })
                .collect(),
            report: report.to_string(),
        }
    }
}

/// What leaked of one program of one owner.
struct Count {
    processes: u64,
    trees: u64,
    /// Whether the baseline lists all of them.
    known: bool,
}

/// Counts each tree for the owner and the program of its root.
fn counted(leaks: &[Process<'_>]) -> BTreeMap<LeakKey, Count> {
    let mut listed = Vec::new();
    list(leaks, None, &mut listed);
    let owners: Vec<_> = listed.iter().map(|(process, _)| owner(process)).collect();
    let parents: Vec<_> = listed.iter().map(|(_, parent)| *parent).collect();
    let mut counts = BTreeMap::new();
    for (at, root) in roots(&owners, &parents).into_iter().enumerate() {
        let (process, _) = &listed[root];
        let program = process.program.as_deref().unwrap_or(&process.name);
        let key = LeakKey { owner: owners[root].clone(), program: shorten(program, LONGEST) };
        let count = counts.entry(key).or_insert(Count { processes: 0, trees: 0, known: true });
        count.processes += 1;
        count.trees += u64::from(at == root);
        count.known &= listed[at].0.known;
    }
    counts
}

/// Adds each leaked container to what its test has leaked.
fn count_containers(leftovers: &[Leftover<'_>], counts: &mut BTreeMap<LeakKey, Count>) {
    for leaked in leftovers.iter().filter(|it| it.leaked) {
        let owner = leaked.started_during.as_deref().map_or(Owner::Unknown, Owner::of_text).in_any_run();
        let Some(container) = &leaked.container else { continue };
        let of_image = || containers::program(&container.image, None).into();
        let program = container.program.clone().unwrap_or_else(of_image);
        let key = LeakKey { owner, program: shorten(&program, LONGEST) };
        let count = counts.entry(key).or_insert(Count { processes: 0, trees: 0, known: true });
        count.known &= leaked.known;
        count.processes += 1;
        count.trees += 1;
    }
}

/// All processes, each with the place of its parent.
fn list<'a>(
    processes: &'a [Process<'a>],
    parent: Option<usize>,
    listed: &mut Vec<(&'a Process<'a>, Option<usize>)>,
) {
    for process in processes {
        let at = listed.len();
        listed.push((process, parent));
        list(&process.children, Some(at), listed);
    }
}

fn owner(process: &Process<'_>) -> Owner {
    match (&process.service, &process.started_during) {
        (Some(service), _) => Owner::Service(service.to_string()),
        (None, Some(Origin { test: Some(test), .. })) => Owner::Test(test.to_string()),
        // Which worker runs a test differs from run to run.
        (None, Some(origin)) => {
            Owner::Worker(worker_text(&origin.runner, origin.worker.as_ref().map(|_| "*")))
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
