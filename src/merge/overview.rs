//! What people want to know of merged reports: which leaks there are, the new and the worst first, and by host.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use super::compare::Against;
use super::merged::{Merged, Sighting};
use super::seconds::Seconds;
use super::session_result::{LeakKey, SessionResult};
use crate::leaks::Owner;

/// Everything that the merged reports say, in the order in which it is shown.
#[derive(Debug)]
pub(crate) struct Overview<'a> {
    pub merged: &'a Merged,
    pub totals: Totals,
    /// The new ones first, then the worst.
    pub leaks: Vec<Leak<'a>>,
    pub hosts: Vec<Host<'a>>,
    /// `None` if nothing was compared.
    pub against: Option<Against>,
}

/// What one owner left running of one program, in all sessions.
#[derive(Debug)]
pub(crate) struct Leak<'a> {
    pub key: Rc<LeakKey>,
    pub process_count: u64,
    pub first_seen: Seconds,
    pub news: News,
    /// Whether the baselines of all these sessions list it.
    pub known: bool,
    pub sessions: Vec<Sighting<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    New,
    StillThere,
    NotCompared,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Totals {
    pub sessions: u64,
    pub hosts: u64,
    pub leaking_sessions: u64,
    pub failed_sessions: u64,
    /// Sessions with survivors, or with something that could not be verified.
    pub unverified_sessions: u64,
    /// Sessions of which the leaks are not known, because cgrun was killed.
    pub killed_sessions: u64,
    pub leaking_tests: u64,
    pub leaked_processes: u64,
    pub leaked_containers: u64,
    pub undescribed_processes: u64,
    /// What sessions left besides processes.
    pub leftovers: u64,
    pub leftover_bytes: u64,
    pub duration_seconds: Seconds,
}

#[derive(Debug, Serialize)]
pub(crate) struct Host<'a> {
    pub host: Option<&'a str>,
    pub sessions: u64,
    pub leaking_sessions: u64,
    pub failed_sessions: u64,
    pub leaked_processes: u64,
    pub leaked_containers: u64,
    pub duration_seconds: Seconds,
    pub longest_seconds: Seconds,
    pub memory_peak_bytes: Option<u64>,
    pub processes_peak: Option<u64>,
}

impl<'a> Overview<'a> {
    /// `merged` remembers already what `last` has seen.
    pub(crate) fn new(merged: &'a Merged, last: Option<(String, &Merged)>) -> Self {
        let sightings = merged.leaks();
        let against = last.map(|(report, last)| Against::new(report, last, merged, &sightings));
        let leaks = sightings.into_iter().map(|(key, seen)| Leak {
            process_count: seen.process_count(),
            first_seen: seen.first_seen,
            news: against.as_ref().map_or(News::NotCompared, |against| against.news(&key)),
            known: seen.sessions.iter().all(|it| it.known),
            sessions: seen.sessions,
            key,
        });
        let mut leaks: Vec<_> = leaks.collect();
        leaks.sort_by(|one, other| rank(one).cmp(&rank(other)));
        let hosts = hosts(merged);
        Self { merged, totals: totals(merged, &leaks, hosts.len()), leaks, hosts, against }
    }

    /// Whether something is unknown, so that an absence of leaks proves nothing.
    pub(crate) fn is_incomplete(&self) -> bool {
        !self.merged.left_out().is_empty() || self.totals.killed_sessions > 0
    }

    /// Whether something leaked that counts, as a leak that is not described always does.
    pub(crate) fn leaks_fail(&self) -> bool {
        self.totals.undescribed_processes > 0 || self.leaks.iter().any(Leak::fails)
    }

    /// The leaks in this state, grouped by their owners, in order.
    pub(crate) fn by_owner(&self, news: News) -> Vec<(&Owner, Vec<&Leak<'a>>)> {
        let mut groups: Vec<(&Owner, Vec<&Leak<'a>>)> = Vec::new();
        let mut places = BTreeMap::new();
        for leak in self.leaks.iter().filter(|leak| leak.news == news) {
            let owner = &leak.key.owner;
            let place = *places.entry(owner).or_insert(groups.len());
            match groups.get_mut(place) {
                Some((_, leaks)) => leaks.push(leak),
                None => groups.push((owner, vec![leak])),
            }
        }
        groups
    }
}

impl Leak<'_> {
    /// A leak counts unless a baseline lists it or, if reports are compared, it was there before.
    pub(crate) fn fails(&self) -> bool {
        !self.known && self.news != News::StillThere
    }
}

/// New before old, what is in no baseline before what is, known owners before unknown ones, many processes before few.
fn rank<'a>(leak: &'a Leak<'_>) -> (News, bool, bool, Reverse<u64>, &'a LeakKey) {
    (leak.news, leak.known, leak.key.owner == Owner::Unknown, Reverse(leak.process_count), &leak.key)
}

fn totals(merged: &Merged, leaks: &[Leak<'_>], hosts: usize) -> Totals {
    let mut tests: Vec<_> = leaks.iter().map(|leak| &leak.key.owner).collect();
    tests.retain(|owner| matches!(owner, Owner::Test(_)));
    tests.sort();
    tests.dedup();
    let mut totals = Totals { hosts: hosts as u64, leaking_tests: tests.len() as u64, ..Totals::default() };
    for session in merged.sessions() {
        totals.sessions += 1;
        totals.leaking_sessions += u64::from(session.leaked() > 0);
        totals.failed_sessions += u64::from(session.failed());
        totals.unverified_sessions += u64::from(!session.is_verified());
        totals.killed_sessions += u64::from(!session.leaks_known);
        totals.leaked_processes = totals.leaked_processes.saturating_add(session.leaked_process_count);
        totals.leaked_containers = totals.leaked_containers.saturating_add(session.leaked_container_count);
        totals.undescribed_processes =
            totals.undescribed_processes.saturating_add(session.undescribed_process_count);
        totals.leftovers = totals.leftovers.saturating_add(session.leftover_count);
        totals.leftover_bytes = totals.leftover_bytes.saturating_add(session.leftover_bytes);
        totals.duration_seconds = totals.duration_seconds.plus(session.duration_seconds);
    }
    totals
}

/// The host with the most leaks first.
fn hosts(merged: &Merged) -> Vec<Host<'_>> {
    let mut hosts: BTreeMap<Option<&str>, Host<'_>> = BTreeMap::new();
    for session in merged.sessions() {
        let name = session.host.as_deref();
        hosts.entry(name).or_insert_with(|| Host::new(name)).add(session);
    }
    let mut hosts: Vec<_> = hosts.into_values().collect();
    hosts.sort_by_key(|host| Reverse(host.leaked()));
    hosts
}

impl<'a> Host<'a> {
    fn new(host: Option<&'a str>) -> Self {
        Self {
            host,
            sessions: 0,
            leaking_sessions: 0,
            failed_sessions: 0,
            leaked_processes: 0,
            leaked_containers: 0,
            duration_seconds: Seconds::default(),
            longest_seconds: Seconds::default(),
            memory_peak_bytes: None,
            processes_peak: None,
        }
    }

    fn add(&mut self, session: &SessionResult) {
        self.sessions += 1;
        self.leaking_sessions += u64::from(session.leaked() > 0);
        self.failed_sessions += u64::from(session.failed());
        self.leaked_processes = self.leaked_processes.saturating_add(session.leaked_process_count);
        self.leaked_containers = self.leaked_containers.saturating_add(session.leaked_container_count);
        self.duration_seconds = self.duration_seconds.plus(session.duration_seconds);
        self.longest_seconds = self.longest_seconds.max(session.duration_seconds);
        self.memory_peak_bytes = self.memory_peak_bytes.max(session.memory_peak_bytes);
        self.processes_peak = self.processes_peak.max(session.processes_peak);
    }

    /// How many processes and containers leaked.
    pub(crate) fn leaked(&self) -> u64 {
        self.leaked_processes.saturating_add(self.leaked_containers)
    }

    pub(crate) fn name(&self) -> &'a str {
        self.host.unwrap_or(super::session_result::UNKNOWN_HOST)
    }
}
