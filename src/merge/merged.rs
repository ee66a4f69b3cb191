//! The sessions of many reports, each once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use super::seconds::Seconds;
use super::session_result::{LeakKey, LeftOut, SessionLeak, SessionResult};

/// Merging is commutative and idempotent: neither the order of the reports nor a repeated one changes anything.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// By their start, so that the oldest comes first.
    sessions: BTreeMap<(Seconds, String), SessionResult>,
    /// When a leak was seen first, if that was before these sessions.
    first_seen: BTreeMap<Rc<LeakKey>, Seconds>,
    left_out: BTreeSet<LeftOut>,
    /// Most sessions have leaks that others have too, so each is stored once.
    keys: HashSet<Rc<LeakKey>>,
}

impl Merged {
    /// Returns whether this session is new here.
    pub(super) fn add(&mut self, session: SessionResult) -> bool {
        match self.sessions.entry(session.key()) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(session);
                true
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                if session > *place.get() {
                    place.insert(session);
                }
                false
            }
        }
    }

    pub(crate) fn leave_out(&mut self, report: String, reason: String) {
        self.left_out.insert(LeftOut { report, reason });
    }

    /// The one copy of this key.
    pub(super) fn shared(&mut self, key: LeakKey) -> Rc<LeakKey> {
        if let Some(known) = self.keys.get(&key) {
            return known.clone();
        }
        let key = Rc::new(key);
        self.keys.insert(key.clone());
        key
    }

    pub(super) fn saw(&mut self, key: Rc<LeakKey>, time: Seconds) {
        let first = self.first_seen.entry(key).or_insert(time);
        *first = time.min(*first);
    }

    /// Takes over since when the leaks of these sessions were already there.
    pub(crate) fn remember(&mut self, last: &Self) {
        let now: BTreeSet<_> = self.leaks().into_keys().collect();
        for (key, times) in last.leaks().into_iter().filter(|(key, _)| now.contains(key)) {
            self.saw(key, times.first_seen);
        }
    }

    pub(crate) fn sessions(&self) -> impl ExactSizeIterator<Item = &SessionResult> + DoubleEndedIterator {
        self.sessions.values()
    }

    pub(crate) fn left_out(&self) -> &BTreeSet<LeftOut> {
        &self.left_out
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whether a leak that is in none of the sessions was in none of them.
    pub(super) fn knows_all_leaks(&self) -> bool {
        let is_known = |it: &SessionResult| it.leaks_known && it.undescribed_process_count == 0;
        self.left_out.is_empty() && self.sessions().all(is_known)
    }

    /// Where and since when each leak was seen.
    pub(super) fn leaks(&self) -> BTreeMap<Rc<LeakKey>, Sightings<'_>> {
        let mut leaks: BTreeMap<Rc<LeakKey>, Sightings<'_>> = BTreeMap::new();
        for (at, session) in self.sessions().enumerate() {
            let time = session.started_at_unix_seconds;
            for SessionLeak { key, count, trees, known } in &session.leaks {
                let seen = leaks.entry(key.clone()).or_insert_with(|| Sightings {
                    first_seen: self.first_seen.get(key).map_or(time, |first| time.min(*first)),
                    sessions: Vec::new(),
                });
                seen.sessions.push(Sighting { at, session, count: *count, trees: *trees, known: *known });
            }
        }
        leaks
    }
}

/// Where a leak was seen, the oldest session first.
#[derive(Debug)]
pub(super) struct Sightings<'a> {
    pub first_seen: Seconds,
    pub sessions: Vec<Sighting<'a>>,
}

/// What one session leaked of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting<'a> {
    /// The place of the session among all.
    pub at: usize,
    pub session: &'a SessionResult,
    /// How many processes.
    pub count: u64,
    /// How many of them no other of them has started.
    pub trees: u64,
    /// Whether the session's baseline lists them.
    pub known: bool,
}

impl Sightings<'_> {
    pub(super) fn process_count(&self) -> u64 {
        self.sessions.iter().map(|it| it.count).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::overview::Overview;
    use super::super::{document, input};
    use super::*;
    use crate::leaks::Owner;

    /// Its id, its host, and its leaks with their counts.
    type Session = (u8, Option<u8>, Vec<(u8, u64)>);

    /// Few ids and keys, so that sessions and leaks meet.
    fn sessions() -> impl Strategy<Value = Vec<Session>> {
        vec((0..6u8, proptest::option::of(0..3u8), vec((0..5u8, 1..4u64), 0..4)), 0..8)
    }

    fn add(merged: &mut Merged, sessions: &[Session]) {
        for (id, host, leaks) in sessions {
            let counts: BTreeMap<u8, u64> = leaks.iter().copied().collect();
            let leak = |(key, count): (&u8, &u64)| {
                let owner = [Owner::Test(format!("t{key}")), Owner::Unknown][usize::from(key % 2)].clone();
                let shared = merged.shared(LeakKey { owner, program: format!("p{key}") });
                SessionLeak { key: shared, count: *count, trees: count.div_ceil(2), known: *count > 2 }
            };
            let mut leaks: Vec<_> = counts.iter().map(leak).collect();
            leaks.sort();
            merged.add(SessionResult {
                id: id.to_string(),
                started_at_unix_seconds: Seconds::new(f64::from(*id)),
                host: host.map(|host| format!("h{host}")),
                leaked_process_count: leaks.iter().map(|leak| leak.count).sum(),
                leaks_known: true,
                leaks,
                ..SessionResult::default()
            });
        }
    }

    fn json(merged: &Merged) -> String {
        document::json(&Overview::new(merged, None)).unwrap()
    }

    fn of(parts: &[&[Session]]) -> Merged {
        let mut merged = Merged::default();
        parts.iter().for_each(|part| add(&mut merged, part));
        merged
    }

    proptest! {
        #[test]
        fn neither_order_nor_repetition_changes_a_merge(one in sessions(), two in sessions()) {
            let expected = json(&of(&[&one, &two]));
            prop_assert_eq!(&json(&of(&[&two, &one])), &expected);
            prop_assert_eq!(&json(&of(&[&one, &two, &two, &one])), &expected);
        }

        #[test]
        fn a_merge_can_be_merged_as_if_it_were_its_parts(one in sessions(), two in sessions()) {
            let directory = tempfile::tempdir().unwrap();
            let mut merged = Merged::default();
            for (name, parts) in [("1", [&one[..], &two]), ("2", [&two, &[]])] {
                let file = directory.path().join(name);
                std::fs::write(&file, json(&of(&parts))).unwrap();
                input::read(&file, &mut merged, &mut Vec::new()).unwrap();
            }
            prop_assert_eq!(json(&merged), json(&of(&[&one, &two])));
        }
    }
}
