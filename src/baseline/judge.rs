//! Which of the leaks are known.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::entry::{Entry, UnlistedLeak};
use super::file::Baseline;
use crate::containers::EngineObject;
use crate::leaks::{Leak, Owner, Place, program, roots};

/// What a baseline says of a session's leaks.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// For each entry, the most that one owner left running; 0 if it was not seen, and `None` if it was not looked for.
    pub(super) seen: Vec<Option<usize>>,
    /// What no entry lists, each once.
    pub(super) unlisted: Vec<UnlistedLeak>,
}

/// The places of leaks of one owner and one program.
type Alike = BTreeMap<(Owner, String), Vec<usize>>;

impl Judgement {
    /// The entries of the baseline that no leak matched, although it was looked for.
    pub(crate) fn not_seen<'a>(&self, baseline: &'a Baseline) -> Vec<&'a Entry> {
        let entries = baseline.entries().zip(&self.seen);
        entries.filter(|(_, seen)| **seen == Some(0)).map(|(entry, _)| entry).collect()
    }
}

impl Baseline {
    /// Marks the leaks that are known. An entry knows the root of a tree of processes of one owner, and with it the tree:
    /// what the root starts depends on the moment. A container is known by itself; without `objects`, none was looked for. `here`
    /// is the session's directory.
    pub(crate) fn judge(
        &self,
        leaks: &mut [Leak],
        objects: Option<&mut [EngineObject]>,
        here: &Path,
    ) -> Judgement {
        let is_looked_for = |entry: &Entry| objects.is_some() || !entry.is_of_container();
        let seen = self.entries().map(|entry| is_looked_for(entry).then_some(0)).collect();
        let mut judgement = Judgement { seen, ..Judgement::default() };
        let roots = roots_of(leaks);
        let mut same = Alike::new();
        for at in (0..leaks.len()).filter(|&at| roots[at] == at) {
            let key = (Owner::of(&leaks[at]), program(&leaks[at].process.command, here));
            same.entry(key).or_default().push(at);
        }
        let age = |&at: &usize| (leaks[at].stat.started, leaks[at].pid().as_raw_nonzero());
        let known = self.known(same, age, &mut judgement);
        for (leak, root) in leaks.iter_mut().zip(roots) {
            leak.is_known = known.contains(&root);
        }
        let objects = objects.unwrap_or_default();
        let mut same = Alike::new();
        for (at, object) in objects.iter().enumerate().filter(|(_, it)| it.leaked) {
            let program = object.container.as_ref().map(|it| it.program.clone()).unwrap_or_default();
            same.entry((Owner::of_origin(object.origin.as_ref()), program)).or_default().push(at);
        }
        let age = |&at: &usize| Reverse(objects[at].container.as_ref().and_then(|it| it.age_seconds));
        let known = self.known(same, age, &mut judgement);
        objects.iter_mut().enumerate().for_each(|(at, object)| object.is_known = known.contains(&at));
        judgement
    }

    /// The places of those that are known: the oldest, if there is a bound.
    fn known<K: Ord>(
        &self,
        same: Alike,
        age: impl Fn(&usize) -> K,
        judgement: &mut Judgement,
    ) -> HashSet<usize> {
        let mut known = HashSet::new();
        for ((owner, program), mut alike) in same {
            let matching = self.lines.iter().enumerate().filter(|(_, it)| it.entry.matches(&owner, &program));
            let mut bounds = Vec::new();
            for (at, line) in matching {
                judgement.seen[at] = judgement.seen[at].max(Some(alike.len()));
                bounds.push(line.entry.at_most.unwrap_or(usize::MAX));
            }
            let Some(bound) = bounds.into_iter().max() else {
                judgement.unlisted.push(UnlistedLeak { owner, program });
                continue;
            };
            alike.sort_by_key(&age);
            known.extend(alike.into_iter().take(bound));
        }
        known
    }
}

fn roots_of(leaks: &[Leak]) -> Vec<usize> {
    let owners: Vec<_> = leaks.iter().map(Owner::of).collect();
    let places: HashMap<Place, usize> =
        leaks.iter().enumerate().map(|(at, leak)| (leak.place(), at)).collect();
    let parent = |leak: &Leak| leak.parent_place().and_then(|parent| places.get(&parent).copied());
    roots(&owners, &leaks.iter().map(parent).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::tests::object;

    #[test]
    fn the_oldest_containers_of_a_test_are_known_up_to_the_bound() {
        let line = "leaks = [{ test = \"a.py::*\", program = \"container redis\", at_most = 1 }]";
        let baseline = Baseline::parse(Path::new("x"), line.into()).unwrap();
        let mut objects = [
            object("young", true, Some("a.py::b (call)"), &[]),
            object("old", true, Some("a.py::b (setup)"), &[]),
            object("of_another", true, Some("a.py::c (call)"), &[]),
            object("of_nobody", true, None, &[]),
            object("stopped", false, Some("a.py::d (call)"), &[]),
        ];
        objects[1].container.as_mut().unwrap().age_seconds = Some(99);
        let judgement = baseline.judge(&mut [], Some(&mut objects), Path::new("/"));
        let known: Vec<_> = objects.iter().filter(|it| it.is_known).map(|it| it.name.as_str()).collect();
        assert_eq!(known, ["old", "of_another"]);
        assert_eq!(judgement.seen, [Some(2)]);
        let unlisted = UnlistedLeak { owner: Owner::Unknown, program: "container redis".into() };
        assert_eq!(judgement.unlisted, [unlisted]);
    }

    #[test]
    fn what_was_not_looked_for_is_neither_unseen_nor_removed() {
        let text = "leaks = [\n  { program = \"container redis\" },\n  { program = \"sleep\" },\n]\n";
        let baseline = Baseline::parse(Path::new("x"), text.into()).unwrap();
        let removed = |objects: Option<&mut [EngineObject]>| {
            let judgement = baseline.judge(&mut [], objects, Path::new("/"));
            let edited = baseline.without_unseen(&judgement).unwrap();
            assert_eq!(edited.removed.iter().collect::<Vec<_>>(), judgement.not_seen(&baseline));
            edited.removed.into_iter().map(|it| it.program).collect::<Vec<_>>()
        };
        assert_eq!(removed(None), ["sleep"]);
        assert_eq!(removed(Some(&mut [])), ["container redis", "sleep"]);
    }
}
