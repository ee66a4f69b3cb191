//! What changed since an earlier night.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::merged::{Merged, Sightings};
use super::overview::News;
use super::seconds::Seconds;
use super::session_result::LeakKey;
use crate::leaks::Owner;

/// The earlier report, as far as it differs.
#[derive(Debug)]
pub(crate) struct Against {
    /// Its file.
    pub report: String,
    /// When its last session started.
    pub last_session: Seconds,
    /// What leaked then and does not now, although its owner is known to have run.
    pub gone: Vec<Missing>,
    /// What leaked then and was not seen now. The test need not have run.
    pub not_seen: Vec<Missing>,
    known: BTreeSet<Rc<LeakKey>>,
}

/// A leak that only the earlier report has.
#[derive(Debug)]
pub(crate) struct Missing {
    pub key: Rc<LeakKey>,
    pub process_count: u64,
    pub first_seen: Seconds,
}

impl Against {
    pub(super) fn new(
        report: String,
        last: &Merged,
        merged: &Merged,
        now: &BTreeMap<Rc<LeakKey>, Sightings<'_>>,
    ) -> Self {
        let mut against = Self {
            report,
            last_session: last.sessions().last().map(|it| it.started_at_unix_seconds).unwrap_or_default(),
            gone: Vec::new(),
            not_seen: Vec::new(),
            known: BTreeSet::new(),
        };
        let ran = if merged.knows_all_leaks() { ran(now) } else { BTreeSet::new() };
        for (key, seen) in last.leaks() {
            if !now.contains_key(&key) {
                let place = if ran.contains(&key.owner) { &mut against.gone } else { &mut against.not_seen };
                let process_count = seen.process_count();
                place.push(Missing { key: key.clone(), process_count, first_seen: seen.first_seen });
            }
            against.known.insert(key);
        }
        against
    }

    pub(super) fn news(&self, key: &LeakKey) -> News {
        if self.known.contains(key) { News::StillThere } else { News::New }
    }
}

/// The tests and services that are known to have run: reports name only those that leaked something. That a worker ran
/// says nothing about its tests.
fn ran<'a>(now: &'a BTreeMap<Rc<LeakKey>, Sightings<'_>>) -> BTreeSet<&'a Owner> {
    now.keys().map(|key| &key.owner).filter(|it| matches!(it, Owner::Test(_) | Owner::Service(_))).collect()
}
