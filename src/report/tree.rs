//! Leaked processes as trees: what is to be mended started the root.

use std::cmp::Reverse;
use std::collections::HashMap;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::leaks::{How, Leak};

/// Deeper ones are told as children of their ancestor at this depth: readers of JSON have a limit.
const DEPTH: usize = 32;

#[derive(Debug)]
pub struct LeakTree<'a> {
    pub leak: &'a Leak,
    pub children: Vec<LeakTree<'a>>,
}

impl LeakTree<'_> {
    /// How many processes it has.
    pub fn size(&self) -> usize {
        1 + self.children.iter().map(LeakTree::size).sum::<usize>()
    }

    /// All processes below the root, parents first, with their depth.
    pub fn below(&self) -> Vec<(usize, &Leak)> {
        let mut found = Vec::new();
        for child in &self.children {
            found.push((1, child.leak));
            found.extend(child.below().into_iter().map(|(depth, leak)| (depth + 1, leak)));
        }
        found
    }
}

/// The worst first: those that got away, that hold a port, that would not end when asked.
pub fn trees(leaks: &[Leak]) -> Vec<LeakTree<'_>> {
    let places: HashMap<Pid, usize> = leaks.iter().enumerate().map(|(at, leak)| (leak.pid(), at)).collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (at, leak) in leaks.iter().enumerate() {
        let parent = leak.glimpse.parent.and_then(|parent| places.get(&parent)).filter(|&&it| it != at);
        match parent {
            Some(&parent) => children.entry(parent).or_default().push(at),
            None => roots.push(at),
        }
    }
    let mut grown: Vec<_> = roots.into_iter().map(|root| grow(root, 0, leaks, &mut children)).collect();
    // Two snapshots of numbers that are used again may show a circle.
    while let Some(&next) = children.keys().min() {
        grown.push(grow(next, 0, leaks, &mut children));
    }
    grown.sort_by_key(|tree| Reverse((rank(tree.leak), tree.size(), tree.leak.process.age)));
    grown
}

fn grow<'a>(
    at: usize,
    depth: usize,
    leaks: &'a [Leak],
    children: &mut HashMap<usize, Vec<usize>>,
) -> LeakTree<'a> {
    let mut tree = LeakTree { leak: &leaks[at], children: Vec::new() };
    if depth < DEPTH {
        for child in children.remove(&at).unwrap_or_default() {
            tree.children.push(grow(child, depth + 1, leaks, children));
        }
        return tree;
    }
    let mut next = vec![at];
    while let Some(at) = next.pop() {
        for child in children.remove(&at).unwrap_or_default() {
            tree.children.push(LeakTree { leak: &leaks[child], children: Vec::new() });
            next.push(child);
        }
    }
    tree
}

fn rank(leak: &Leak) -> u32 {
    let got_away = matches!(leak.how, How::Escaped | How::ChangedCgroup);
    let points = [
        (got_away, 8),
        (!leak.listening.is_empty(), 4),
        (leak.had_to_be_killed || leak.glimpse.ignores(Signal::SIGTERM), 2),
        (leak.is_daemon, 1),
    ];
    points.into_iter().filter(|(is_so, _)| *is_so).map(|(_, points)| points).sum()
}
