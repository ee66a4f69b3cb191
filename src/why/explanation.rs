//! The explanation of one session at one moment.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::BorrowedFd;

use rustix::process::Pid;

use super::graph::{End, Graph, Key, Node, Rank, worst_end};
use super::peers::Peers;
use super::reason::Reason;
use super::seen::{Seen, Subject, look};
use super::wait::Wait;
use super::zombies::zombies;
use crate::containment::LeafName;
use crate::leaks::{InheritedMarks, TestReader};
use crate::sys::procfs::stat::Zombie;
use crate::sys::procfs::walk::lineage;

/// No more of the reasons of one process are told.
const REASONS: usize = 3;
/// Bounded, because processes that fork and exit while we read may seem to form a circle.
const MOST_ANCESTORS: usize = 1000;

#[derive(Debug)]
pub(crate) struct Explanation {
    pub(super) seen: BTreeMap<Key, Seen>,
    pub(super) reasons: BTreeMap<Key, Vec<Reason>>,
    pub(super) zombies: BTreeMap<Key, Vec<Zombie>>,
    pub(super) ranks: BTreeMap<Key, Rank>,
    pub(super) end: Option<End>,
    pub(super) tests: TestReader,
    /// How many other processes there are.
    pub(crate) hidden: usize,
}

impl Explanation {
    /// `hidden` is the number of processes that belong to the session, and that we cannot see. Looks less long if
    /// `interruption` becomes readable.
    pub(crate) fn of(
        subjects: Vec<Subject>,
        hidden: usize,
        inherited: InheritedMarks,
        interruption: Option<BorrowedFd<'_>>,
    ) -> Self {
        Self::from_roots(subjects, hidden, inherited, interruption, roots)
    }

    /// Of what these components alone wait for, wherever the chain leads.
    pub(crate) fn of_components(
        subjects: Vec<Subject>,
        inherited: InheritedMarks,
        interruption: Option<BorrowedFd<'_>>,
        is_wanted: impl Fn(&LeafName) -> bool,
    ) -> Self {
        let is_wanted = |it: &Seen| it.component.as_ref().is_some_and(&is_wanted);
        let roots = |seen: &BTreeMap<Key, Seen>| {
            let wanted = seen.values().filter(|it| is_wanted(it));
            wanted.filter(|it| is_top(it, seen)).map(key).collect()
        };
        let mut explanation = Self::from_roots(subjects, 0, inherited, interruption, roots);
        let chain = explanation.chain().to_vec();
        explanation.seen.retain(|key, it| chain.contains(key) || is_wanted(it));
        explanation
    }

    fn from_roots(
        subjects: Vec<Subject>,
        hidden: usize,
        inherited: InheritedMarks,
        interruption: Option<BorrowedFd<'_>>,
        roots: impl FnOnce(&BTreeMap<Key, Seen>) -> Vec<Key>,
    ) -> Self {
        let (seen, more) = look(subjects, interruption);
        let zombies = zombies(&seen);
        let peers = Peers::among(&seen);
        let reasons: BTreeMap<Key, Vec<Reason>> =
            seen.iter().map(|(&key, it)| (key, reasons(&peers, it))).collect();
        let looking: HashSet<Pid> = lineage(rustix::process::getpid()).take(MOST_ANCESTORS).collect();
        let graph: Graph = reasons
            .iter()
            .map(|(&key, reasons)| (key, node(reasons, looking.contains(&seen[&key].stat.pid))))
            .collect();
        let ends = roots(&seen).into_iter().filter_map(|root| worst_end(&graph, root));
        let mut end: Option<End> = None;
        for other in ends {
            if end.as_ref().is_none_or(|end| other.rank > end.rank) {
                end = Some(other);
            }
        }
        let ranks = graph.into_iter().map(|(key, node)| (key, node.rank)).collect();
        Self { seen, reasons, zombies, ranks, end, tests: TestReader::new(inherited), hidden: hidden + more }
    }
}

/// Those of its threads that tell the most; that of the first thread, if it tells anything.
fn reasons(peers: &Peers, seen: &Seen) -> Vec<Reason> {
    let mut all = seen.waits.iter().map(|wait| peers.reason(seen, wait));
    let Some(first) = all.next() else { return vec![Reason::new(Wait::Running)] };
    if first.is_telling() {
        return vec![first];
    }
    let mut telling: Vec<Reason> = Vec::new();
    // A worker at rest often reads its orders in another thread than the first.
    let mut orders = None;
    for reason in all {
        if !reason.is_telling() {
            orders = orders.or(Some(reason).filter(Reason::takes_orders));
            continue;
        }
        let is_known = |it: &Reason| it.blockers == reason.blockers && it.rank() == reason.rank();
        if !telling.iter().any(is_known) {
            telling.push(reason);
        }
    }
    telling.sort_by_key(|reason| reason.blockers.is_empty());
    if telling.is_empty() { vec![orders.unwrap_or(first)] } else { telling }
}

fn node(reasons: &[Reason], is_looking: bool) -> Node {
    let blockers = || reasons.iter().flat_map(|reason| &reason.blockers).filter(|blocker| blocker.is_ours);
    let mut edges: Vec<_> = blockers().map(|it| (it.pid.as_raw_nonzero().get(), it.tie)).collect();
    edges.dedup();
    let rank = reasons.iter().map(Reason::rank).max().unwrap_or(Rank::Unknown);
    let waits_for_us = is_looking && edges.is_empty();
    Node { edges, rank: if waits_for_us { Rank::Looking } else { rank } }
}

/// The command, or whatever the session has if it does not run.
fn roots(seen: &BTreeMap<Key, Seen>) -> Vec<Key> {
    let is_command = |it: &&Seen| matches!(it.component, None | Some(LeafName::Command));
    let tops: Vec<&Seen> = seen.values().filter(|it| is_top(it, seen)).collect();
    let command = tops.iter().copied().filter(is_command).min_by_key(|it| (it.stat.started, key(it)));
    match command {
        Some(command) => vec![key(command)],
        None => tops.into_iter().map(key).collect(),
    }
}

fn is_top(it: &Seen, seen: &BTreeMap<Key, Seen>) -> bool {
    it.stat.parent.is_none_or(|parent| !seen.contains_key(&parent.as_raw_nonzero().get()))
}

fn key(it: &Seen) -> Key {
    it.stat.pid.as_raw_nonzero().get()
}

impl Explanation {
    /// The reasons of one process, and no more than fit on a screen.
    pub(super) fn told(&self, key: Key) -> &[Reason] {
        let reasons = self.reasons.get(&key).map(Vec::as_slice).unwrap_or_default();
        &reasons[..reasons.len().min(REASONS)]
    }
}
