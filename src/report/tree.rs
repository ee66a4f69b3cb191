//! Leaked processes as trees. The root is the process to fix, since its descendants come with it.

use std::cmp::Reverse;
use std::collections::HashMap;

use nix::sys::signal::Signal;

use crate::leaks::{How, Leak, Place};

/// JSON parsers limit the depth. Deeper descendants become children of their ancestor at this depth.
const MAX_DEPTH: usize = 32;

#[derive(Debug)]
pub(crate) struct LeakTree<'a> {
    pub leak: &'a Leak,
    pub children: Vec<LeakTree<'a>>,
}

impl LeakTree<'_> {
    /// The number of processes in the tree.
    pub(crate) fn size(&self) -> usize {
        1 + self.children.iter().map(LeakTree::size).sum::<usize>()
    }

    /// A higher rank is worse.
    pub(super) fn rank(&self) -> u32 {
        let leak = self.leak;
        let escaped = matches!(leak.how, How::Escaped | How::ChangedCgroup);
        let points = [
            (escaped, 8),
            (!leak.listening.is_empty(), 4),
            (leak.had_to_be_killed || leak.stat.ignores(Signal::SIGTERM), 2),
            (leak.is_daemon, 1),
        ];
        points.into_iter().filter(|(applies, _)| *applies).map(|(_, points)| points).sum()
    }

    /// All processes below the root with their depth, parents first.
    pub(crate) fn descendants(&self) -> Vec<(usize, &Leak)> {
        let mut found = Vec::new();
        for child in &self.children {
            found.push((1, child.leak));
            found.extend(child.descendants().into_iter().map(|(depth, leak)| (depth + 1, leak)));
        }
        found
    }
}

/// The places of these processes with their depth, children below their parent, the oldest first.
pub(crate) fn in_tree_order<'a>(processes: impl Iterator<Item = &'a Leak>) -> Vec<(usize, usize)> {
    let processes: Vec<_> = processes.collect();
    let places: HashMap<_, _> = processes.iter().enumerate().map(|(at, it)| (it.key(), at)).collect();
    let mut grown = trees(processes.iter().copied());
    grown.sort_by_key(|tree| tree.leak.stat.started);
    let rows = grown.iter().flat_map(|tree| std::iter::once((0, tree.leak)).chain(tree.descendants()));
    rows.filter_map(|(depth, leak)| Some((depth, *places.get(&leak.key())?))).collect()
}

/// The worst trees come first, new ones before known ones: those that escaped, that hold a port, or that did not exit when asked.
pub(super) fn trees<'a>(leaks: impl IntoIterator<Item = &'a Leak>) -> Vec<LeakTree<'a>> {
    let leaks: Vec<_> = leaks.into_iter().collect();
    let indexes: HashMap<Place, usize> =
        leaks.iter().enumerate().map(|(at, leak)| (leak.place(), at)).collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (at, leak) in leaks.iter().enumerate() {
        let parent = leak.parent_place().and_then(|parent| indexes.get(&parent)).filter(|&&it| it != at);
        match parent {
            Some(&parent) => children.entry(parent).or_default().push(at),
            None => roots.push(at),
        }
    }
    let mut grown: Vec<_> = roots.into_iter().map(|root| grow(root, 0, &leaks, &mut children)).collect();
    // Pids are reused, so two snapshots may show a cycle of parents.
    while let Some(&next) = children.keys().min() {
        grown.push(grow(next, 0, &leaks, &mut children));
    }
    grown.sort_by_key(|tree| Reverse((!tree.leak.is_known, tree.rank(), tree.size(), tree.leak.process.age)));
    grown
}

fn grow<'a>(
    at: usize,
    depth: usize,
    leaks: &[&'a Leak],
    children: &mut HashMap<usize, Vec<usize>>,
) -> LeakTree<'a> {
    let mut tree = LeakTree { leak: leaks[at], children: Vec::new() };
    if depth < MAX_DEPTH {
        for child in children.remove(&at).unwrap_or_default() {
            tree.children.push(grow(child, depth + 1, leaks, children));
        }
        return tree;
    }
    let mut next = vec![at];
    while let Some(at) = next.pop() {
        for child in children.remove(&at).unwrap_or_default() {
            tree.children.push(LeakTree { leak: leaks[child], children: Vec::new() });
            next.push(child);
        }
    }
    tree
}
