//! Which processes of a leak are its roots.

/// For each process, the place of the first one of its tree, as far as the tree has one owner: what a leaked process has
/// started itself leaks with it, and what another test made it start does not. `parents` are places, too.
pub(crate) fn roots<O: PartialEq>(owners: &[O], parents: &[Option<usize>]) -> Vec<usize> {
    let root = |at: usize| {
        let mut root = at;
        // Bounded, because pids are reused, and two snapshots may show a cycle of parents.
        for _ in 0..owners.len() {
            match parents[root] {
                Some(parent) if parent != root && owners[parent] == owners[at] => root = parent,
                _ => return root,
            }
        }
        at
    };
    (0..owners.len()).map(root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_ends_where_the_owner_changes() {
        let parents = [None, Some(0), Some(1), Some(2), None];
        assert_eq!(roots(&["a", "a", "b", "b", "a"], &parents), [0, 0, 2, 2, 4]);
        assert_eq!(roots(&["a", "b", "a", "a", "a"], &parents), [0, 1, 2, 2, 4]);
    }

    #[test]
    fn a_cycle_of_parents_ends() {
        assert_eq!(roots(&["a", "a", "a"], &[Some(1), Some(0), Some(2)]), [0, 1, 2]);
    }
}
