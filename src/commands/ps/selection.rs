//! Which of a session's processes are meant by `--during` and `--new-since`.
//!
//! A process that is newer than a token belongs to the caller if it descends from it through newer processes only: what an
//! older process starts, such as a server of a fixture, is that one's work. The parent of an orphan is gone, and
//! only its mark tells whose it is.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;

use rustix::process::Pid;

use super::listing::{Listed, Listing, Member};
use super::token::Token;
use crate::leaks::{Evidence, InheritedMarks, Origin, origin_in};
use crate::sys::procfs::walk::lineage;

/// Bounded, because processes that fork and exit while we read may seem to form a cycle.
const MOST_ANCESTORS: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub during: Option<String>,
    pub new_since: Option<Token>,
}

/// The process that called this cgrun.
pub(super) struct Caller {
    /// This process, its parent, and so on.
    lineage: Vec<Pid>,
    origin: Option<Origin>,
}

impl Caller {
    pub(super) fn find(inherited: &InheritedMarks) -> Self {
        let variables: Vec<_> = std::env::vars_os()
            .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
            .collect();
        Self {
            lineage: lineage(rustix::process::getpid()).take(MOST_ANCESTORS).collect(),
            origin: origin_in(&variables, inherited, Evidence::Environment),
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.lineage.get(1).copied()
    }
}

impl Selection {
    pub(super) fn is_everything(&self) -> bool {
        self.during.is_none() && self.new_since.is_none()
    }

    /// Neither the caller nor its ancestors nor services are ever selected.
    pub(super) fn select(&self, listing: Listing, caller: &Caller) -> Vec<Listed> {
        if self.is_everything() {
            return listing.described;
        }
        let new = self.new_since.map(|token| new_of_caller(&listing, token, caller));
        let is_selected = |it: &Listed| {
            let pid = it.process.pid();
            it.is_of_command()
                && !caller.lineage.contains(&pid)
                && self.during.as_ref().is_none_or(|test| is_during(it, test))
                && new.as_ref().is_none_or(|new| new.contains(&pid))
        };
        listing.described.into_iter().filter(is_selected).collect()
    }
}

fn is_during(it: &Listed, test: &str) -> bool {
    let origin = it.process.started_during.as_ref();
    origin.is_some_and(|origin| origin.test.as_deref() == Some(test) || origin.to_string() == test)
}

impl Caller {
    /// Whether it is a part of the session.
    pub(super) fn is_in(&self, listing: &Listing) -> bool {
        self.lineage.iter().any(|pid| listing.members.contains_key(pid))
    }
}

/// The newer processes that belong to the caller.
fn new_of_caller(listing: &Listing, token: Token, caller: &Caller) -> HashSet<Pid> {
    let members = &listing.members;
    let is_alone = !members.keys().any(|&pid| is_of_another(pid, members, caller));
    let mut new: Vec<_> = listing.described.iter().filter(|it| token.is_before(&it.process.stat)).collect();
    // Parents before their children, except if pids have wrapped around within a tick.
    new.sort_by_key(|it| (it.process.stat.started, it.process.pid().as_raw_nonzero()));
    let mut found = HashSet::new();
    for it in new {
        let is_its = match it.process.stat.parent {
            Some(parent) if found.contains(&parent) => true,
            // Workers can be threads of one process.
            Some(parent) if Some(parent) == caller.pid() => !is_of_another_worker(caller, it),
            // Another worker of the same runner, or an orphan that an ancestor has inherited.
            Some(parent) if caller.lineage.contains(&parent) && members.contains_key(&parent) => {
                is_same_test(caller, it)
            }
            Some(parent) if members.contains_key(&parent) => false,
            // The parent can also be outside of our PID namespace.
            Some(_) | None => is_orphan_of(caller, it, is_alone),
        };
        if is_its {
            found.insert(it.process.pid());
        }
    }
    found
}

/// Whether it descends from an ancestor of the caller, but not from the caller: there is another worker, or runner.
fn is_of_another(pid: Pid, members: &HashMap<Pid, Member>, caller: &Caller) -> bool {
    if caller.lineage.contains(&pid) || members.get(&pid).is_some_and(|it| !it.is_of_command()) {
        return false;
    }
    let above = std::iter::successors(Some(pid), |pid| members.get(pid)?.parent);
    let meets = above.take(members.len() + 1).find(|pid| caller.lineage.contains(pid));
    meets.is_some_and(|pid| Some(pid) != caller.pid() && members.contains_key(&pid))
}

fn is_same_test(caller: &Caller, it: &Listed) -> bool {
    let test = |origin: &Option<Origin>| origin.as_ref().and_then(|it| it.test.clone());
    test(&caller.origin).is_some_and(|own| test(&it.process.started_during) == Some(own))
}

fn is_of_another_worker(caller: &Caller, it: &Listed) -> bool {
    let worker = |origin: &Option<Origin>| origin.as_ref().and_then(|it| it.worker.clone());
    worker(&caller.origin).zip(worker(&it.process.started_during)).is_some_and(|(own, its)| own != its)
}

/// Whether an orphan is the caller's: it has the mark of the same worker or, if there are none, of the same test. If the
/// caller is the only one, it need not have a mark.
fn is_orphan_of(caller: &Caller, it: &Listed, is_alone: bool) -> bool {
    match (&it.process.started_during, &caller.origin) {
        (Some(origin), Some(own)) if origin.worker.is_some() || own.worker.is_some() => {
            (origin.runner, &origin.worker) == (own.runner, &own.worker)
        }
        (Some(_), Some(_)) => is_same_test(caller, it),
        (None, _) | (_, None) => is_alone,
    }
}
