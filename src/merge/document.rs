//! The merged report as JSON, which can be merged again. `schema.json` documents every key. A change that breaks readers
//! must increment [`SCHEMA_VERSION`].

use serde::{Deserialize, Serialize};

use super::compare::Missing;
use super::merged::Merged;
use super::overview::{Host, Leak, News, Overview, Totals};
use super::seconds::Seconds;
use super::session_result::{LeakKey, LeftOut, SessionLeak, SessionResult};

pub(super) const SCHEMA: &str = "cgrun-merged-report";
pub(super) const SCHEMA_VERSION: u32 = 1;

/// What is read of a merged report. The rest follows from it.
#[derive(Deserialize)]
pub(super) struct MergedDocument {
    sessions: Vec<SessionResult>,
    leaks: Vec<LeakRecord>,
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct Written<'a> {
    schema: &'static str,
    schema_version: u32,
    cgrun_version: &'static str,
    totals: &'a Totals,
    hosts: &'a [Host<'a>],
    sessions: Vec<&'a SessionResult>,
    leaks: Vec<LeakRecord>,
    left_out: Vec<&'a LeftOut>,
    against: Option<Against>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LeakRecord {
    #[serde(flatten)]
    key: LeakKey,
    process_count: u64,
    first_seen_unix_seconds: Seconds,
    /// `None` if it was not compared.
    #[serde(skip_deserializing)]
    is_new: Option<bool>,
    /// Whether the baselines of all these sessions list it.
    #[serde(skip_deserializing)]
    known: bool,
    sessions: Vec<InSession>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InSession {
    /// The place of the session in `sessions`.
    session: usize,
    process_count: u64,
    /// Missing in reports of older versions.
    tree_count: Option<u64>,
    known: bool,
}

#[derive(Serialize)]
struct Against {
    report: String,
    last_session_started_at_unix_seconds: Seconds,
    gone: Vec<MissingRecord>,
    not_seen: Vec<MissingRecord>,
}

#[derive(Serialize)]
struct MissingRecord {
    #[serde(flatten)]
    key: LeakKey,
    process_count: u64,
    first_seen_unix_seconds: Seconds,
}

/// One line, since a report of many sessions is large.
pub(crate) fn json(overview: &Overview<'_>) -> serde_json::Result<String> {
    let document = Written {
        schema: SCHEMA,
        schema_version: SCHEMA_VERSION,
        cgrun_version: env!("CARGO_PKG_VERSION"),
        totals: &overview.totals,
        hosts: &overview.hosts,
        sessions: overview.merged.sessions().collect(),
        leaks: overview.leaks.iter().map(record).collect(),
        left_out: overview.merged.left_out().iter().collect(),
        against: overview.against.as_ref().map(|against| Against {
            report: against.report.clone(),
            last_session_started_at_unix_seconds: against.last_session,
            gone: against.gone.iter().map(MissingRecord::new).collect(),
            not_seen: against.not_seen.iter().map(MissingRecord::new).collect(),
        }),
    };
    Ok(serde_json::to_string(&document)? + "\n")
}

impl MissingRecord {
    fn new(it: &Missing) -> Self {
        Self {
            key: (*it.key).clone(),
            process_count: it.process_count,
            first_seen_unix_seconds: it.first_seen,
        }
    }
}

fn record(leak: &Leak<'_>) -> LeakRecord {
    let session = |it: &super::merged::Sighting<'_>| InSession {
        session: it.at,
        process_count: it.count,
        tree_count: Some(it.trees),
        known: it.known,
    };
    LeakRecord {
        key: (*leak.key).clone(),
        process_count: leak.process_count,
        first_seen_unix_seconds: leak.first_seen,
        is_new: match leak.news {
            News::New => Some(true),
            News::StillThere => Some(false),
            News::NotCompared => None,
        },
        known: leak.known,
        sessions: leak.sessions.iter().map(session).collect(),
    }
}

impl MergedDocument {
    /// Returns how many sessions were there already.
    pub(super) fn add_to(mut self, merged: &mut Merged) -> usize {
        for leak in self.leaks {
            let (key, first_seen) = (merged.shared(leak.key), leak.first_seen_unix_seconds);
            let mut is_older = true;
            for it in leak.sessions {
                if let Some(session) = self.sessions.get_mut(it.session) {
                    let (key, count) = (key.clone(), it.process_count);
                    let trees = it.tree_count.unwrap_or(count);
                    session.leaks.push(SessionLeak { key, count, trees, known: it.known });
                    is_older &= first_seen < session.started_at_unix_seconds;
                }
            }
            // Otherwise its sessions say it.
            if is_older {
                merged.saw(key, first_seen);
            }
        }
        for LeftOut { report, reason } in self.left_out {
            merged.leave_out(report, reason);
        }
        let mut repeated = 0;
        for mut session in self.sessions {
            session.leaks.sort();
            repeated += usize::from(!merged.add(session));
        }
        repeated
    }
}
