//! Follows the chains of processes that wait for each other to their ends. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// A pid.
pub(super) type Key = i32;

/// How one process waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tie {
    /// Like a worker for the next order of its parent: this explains no hang, unless they wait for each other.
    Orders,
    /// That could type at the terminal which it reads: the chain is followed, but can as well end here.
    Typing,
    /// For this or for something else.
    Event,
    /// Nobody but those that it waits for in this way can end the wait.
    Firm,
}

/// How much the end of a chain explains. Higher is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It waits for the cgrun that looks.
    Looking,
    /// Servers and event loops at rest.
    Idle,
    Unknown,
    /// A lock that other processes share, such as that of a queue from which workers take their orders.
    SharedLock,
    IdleCircle,
    Sleep,
    Lock,
    /// Something outside of the session.
    Outside,
    Busy,
    Input,
    NoAnswer,
    Kernel,
    NoPeer,
    HeldOutside,
    Stopped,
    Deadlock,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub edges: Vec<(Key, Tie)>,
    pub rank: Rank,
}

pub(super) type Graph = BTreeMap<Key, Node>;

/// Where a chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// From the root to the process that waits for no other.
    pub chain: Vec<Key>,
    /// Where the circle begins in the chain, if it ends in one.
    pub circle: Option<usize>,
    pub rank: Rank,
}

/// The end of the chains from this process that explains the most.
pub(super) fn worst_end(graph: &Graph, root: Key) -> Option<End> {
    let mut worst: Option<End> = None;
    for end in ends(graph, root) {
        if worst.as_ref().is_none_or(|worst| end.rank > worst.rank) {
            worst = Some(end);
        }
    }
    worst
}

/// A process on the path, the next of its edges, and whether one of them led on.
struct Step {
    key: Key,
    next: usize,
    has_followed: bool,
}

/// Visits each process once, depth first.
fn ends(graph: &Graph, root: Key) -> Vec<End> {
    let mut found = Vec::new();
    let mut visited = BTreeSet::new();
    let mut path: Vec<Step> = Vec::new();
    let mut enter = Some(root).filter(|root| graph.contains_key(root));
    loop {
        if let Some(key) = enter.take() {
            visited.insert(key);
            path.push(Step { key, next: 0, has_followed: false });
        }
        let chain = |path: &[Step]| path.iter().map(|step| step.key).collect();
        let Some(step) = path.last_mut() else { return found };
        let node = &graph[&step.key];
        let Some(&(to, tie)) = node.edges.get(step.next) else {
            if !step.has_followed {
                found.push(End { rank: node.rank, circle: None, chain: chain(&path) });
            }
            path.pop();
            continue;
        };
        step.next += 1;
        if !graph.contains_key(&to) || to == step.key {
            continue;
        }
        if tie != Tie::Orders && !visited.contains(&to) {
            step.has_followed |= tie != Tie::Typing;
            enter = Some(to);
            continue;
        }
        match path.iter().position(|step| step.key == to) {
            Some(begin) if matches!(tie, Tie::Orders | Tie::Firm) => {
                let rank = if tie == Tie::Firm { Rank::Deadlock } else { Rank::IdleCircle };
                found.push(End { chain: chain(&path), circle: Some(begin), rank });
            }
            // A server does not wait for its client.
            Some(_) => continue,
            // It waits for what was already looked at.
            None if matches!(tie, Tie::Event | Tie::Firm) => {}
            None => continue,
        }
        if let Some(step) = path.last_mut() {
            step.has_followed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Edges<'a> = &'a [(Key, Tie)];

    fn graph(nodes: &[(Key, Rank, Edges)]) -> Graph {
        nodes.iter().map(|&(key, rank, edges)| (key, Node { edges: edges.to_vec(), rank })).collect()
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        let graph = graph(&[
            (1, Rank::Unknown, &[(2, Tie::Firm), (3, Tie::Firm)]),
            (2, Rank::Idle, &[(1, Tie::Orders)]),
            (3, Rank::Unknown, &[(4, Tie::Event)]),
            (4, Rank::Stopped, &[]),
        ]);
        let end = worst_end(&graph, 1).unwrap();
        assert_eq!(end, End { chain: vec![1, 3, 4], circle: None, rank: Rank::Stopped });
    }

    #[test]
    fn two_that_wait_for_each_other_are_a_circle() {
        let graph = graph(&[
            (1, Rank::Unknown, &[(2, Tie::Firm), (3, Tie::Firm)]),
            (2, Rank::Unknown, &[(3, Tie::Firm)]),
            (3, Rank::Unknown, &[(2, Tie::Firm)]),
        ]);
        let end = worst_end(&graph, 1).unwrap();
        assert_eq!(end, End { chain: vec![1, 2, 3], circle: Some(1), rank: Rank::Deadlock });
    }

    #[test]
    fn a_server_at_rest_does_not_wait_for_its_client() {
        let graph = graph(&[(1, Rank::Outside, &[(2, Tie::Firm)]), (2, Rank::Idle, &[(1, Tie::Event)])]);
        assert_eq!(worst_end(&graph, 1).unwrap().chain, [1, 2]);
    }

    #[test]
    fn idle_workers_do_not_hide_the_one_that_hangs() {
        let graph = graph(&[
            (1, Rank::Lock, &[(2, Tie::Firm), (3, Tie::Firm), (4, Tie::Firm)]),
            (2, Rank::Idle, &[(1, Tie::Orders)]),
            (3, Rank::Sleep, &[]),
            (4, Rank::Idle, &[(1, Tie::Orders)]),
        ]);
        assert_eq!(worst_end(&graph, 1).unwrap().chain, [1, 3]);
    }

    #[test]
    fn a_process_that_reads_a_terminal_is_where_the_chain_ends_unless_the_other_end_tells_more() {
        let at_terminal = |rank| {
            let edges: Edges = &[(2, Tie::Typing)];
            worst_end(&graph(&[(1, Rank::Input, edges), (2, rank, &[])]), 1).unwrap().chain
        };
        assert_eq!((at_terminal(Rank::Idle), at_terminal(Rank::Stopped)), (vec![1], vec![1, 2]));
        let expect = graph(&[(1, Rank::Idle, &[(2, Tie::Event)]), (2, Rank::Input, &[(1, Tie::Typing)])]);
        assert_eq!(worst_end(&expect, 1).unwrap().chain, [1, 2]);
    }

    fn ties() -> impl Strategy<Value = Tie> {
        prop_oneof![Just(Tie::Orders), Just(Tie::Typing), Just(Tie::Event), Just(Tie::Firm)]
    }

    proptest! {
        /// Whatever waits for whatever, also for itself or for a process that is gone.
        #[test]
        fn every_chain_ends(edges in prop::collection::vec((0..20, 0..22, ties()), 0..80)) {
            let mut graph: Graph = (0..20).map(|key| (key, Node { edges: Vec::new(), rank: Rank::Sleep })).collect();
            for (from, to, tie) in edges {
                graph.get_mut(&from).unwrap().edges.push((to, tie));
            }
            for root in 0..20 {
                let end = worst_end(&graph, root);
                let waits_for = |pair: &[Key]| graph[&pair[0]].edges.iter().any(|&(to, _)| to == pair[1]);
                if let Some(end) = &end {
                    prop_assert_eq!(end.chain[0], root);
                    prop_assert!(end.chain.windows(2).all(waits_for));
                    if let Some(begin) = end.circle {
                        prop_assert!(waits_for(&[*end.chain.last().unwrap(), end.chain[begin]]));
                    }
                }
                prop_assert!(end.is_some());
            }
        }

        #[test]
        fn a_circle_of_any_size_is_found(size in 2..30, tail in 0..10) {
            let last = tail + size;
            let next = |key: Key| if key + 1 == last { tail } else { key + 1 };
            let node = |key| (key, Node { edges: vec![(next(key), Tie::Firm)], rank: Rank::Unknown });
            let end = worst_end(&(0..last).map(node).collect(), 0).unwrap();
            prop_assert_eq!((end.circle, end.chain.len() as i32), (Some(tail as usize), last));
        }
    }
}
