//! What changed since an earlier night.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::merged::{Merged, Sightings};
use super::overview::News;
use super::seconds::Seconds;
use super::session_result::LeakKey;

/// The earlier report, as far as it differs.
#[derive(Debug)]
pub(crate) struct Against {
    /// Its file.
    pub report: String,
    /// When its last session started.
    pub last_session: Seconds,
    /// What leaked then and was not seen now. The test need not have run.
    pub gone: Vec<Gone>,
    known: BTreeSet<Rc<LeakKey>>,
}

#[derive(Debug)]
pub(crate) struct Gone {
    pub key: Rc<LeakKey>,
    pub process_count: u64,
    pub first_seen: Seconds,
}

impl Against {
    pub(super) fn new(report: String, last: &Merged, now: &BTreeMap<Rc<LeakKey>, Sightings<'_>>) -> Self {
        let mut against = Self {
            report,
            last_session: last.sessions().last().map(|it| it.started_at_unix_seconds).unwrap_or_default(),
            gone: Vec::new(),
            known: BTreeSet::new(),
        };
        for (key, seen) in last.leaks() {
            if !now.contains_key(&key) {
                let process_count = seen.process_count();
                against.gone.push(Gone { key: key.clone(), process_count, first_seen: seen.first_seen });
            }
            against.known.insert(key);
        }
        against
    }

    pub(super) fn news(&self, key: &LeakKey) -> News {
        if self.known.contains(key) { News::StillThere } else { News::New }
    }
}
