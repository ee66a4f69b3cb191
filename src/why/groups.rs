//! The processes that are not in the chain, those that wait for the same together.

use std::collections::BTreeMap;

use super::explanation::Explanation;
use super::graph::{Key, Rank};

/// Processes that run the same program, and wait alike.
#[derive(Debug)]
pub(super) struct Group {
    pub rank: Rank,
    pub keys: Vec<Key>,
}

/// Those that explain the most first.
pub(super) fn groups(explanation: &Explanation, chain: &[Key]) -> Vec<Group> {
    let mut found: BTreeMap<(Rank, String, String), Vec<Key>> = BTreeMap::new();
    for (&key, seen) in explanation.seen.iter().filter(|(key, _)| !chain.contains(key)) {
        let rank = explanation.ranks.get(&key).copied().unwrap_or(Rank::Unknown);
        let text = explanation.words(key, &|_| String::new());
        found.entry((rank, seen.process.command_for_people(200), text)).or_default().push(key);
    }
    let mut groups: Vec<_> = found.into_iter().rev().map(|((rank, ..), keys)| Group { rank, keys }).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.rank));
    groups
}
