//! The processes of a session: by its cgroup, and by their descent from its supervisor.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use rustix::process::Pid;

use super::find::{Root, Session};
use crate::containment::{LEAF, LeafName, MARKER, SessionId, session_members};
use crate::sys::procfs::environ::variables;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::procfs::walk::{all_pids, check, children, with_descendants};

/// A process that loses its parent during the walk becomes a child of the supervisor. After so many rounds, those that
/// fork all the time are in the list as far as they were seen.
const ROUNDS: usize = 20;

/// The living processes of a session, each with its component as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub found: HashMap<Pid, Option<LeafName>>,
    /// How many others there are that we cannot see.
    pub hidden: usize,
}

pub(crate) fn members(session: &Session) -> Result<Members> {
    check()?;
    let mut members = Members::default();
    if let Some(directory) = &session.directory {
        let listed = session_members(directory)?;
        members.hidden = listed.hidden;
        for (leaf, pids) in listed.by_leaf {
            let leaf: Option<LeafName> = leaf.parse().ok();
            members.found.extend(pids.into_iter().map(|pid| (pid, leaf.clone())));
        }
    }
    match session.root {
        Some(Root::Supervisor(supervisor)) => add_descendants(&mut members, supervisor, &session.id)?,
        Some(Root::Namespace) => {
            let others: Vec<_> = all_pids()?.filter(|pid| !pid.is_init()).collect();
            add_with_component(&mut members, others, &session.id);
        }
        None => {}
    }
    // The first process of a PID namespace only reaps.
    if session.directory.is_some() {
        members
            .found
            .retain(|pid, leaf| !(leaf.is_none() && is_forked_cgrun(*pid, rustix::process::getpid())));
    }
    Ok(members)
}

/// Adds those that left the cgroup, or all if there is none.
fn add_descendants(members: &mut Members, supervisor: Pid, id: &SessionId) -> Result<()> {
    for _ in 0..ROUNDS {
        let children = children(supervisor).context("cannot list the children of the supervisor")?;
        let children = children_of_session(children, supervisor, id);
        let mut all: Vec<_> = with_descendants(children).into_iter().collect();
        all.retain(|pid| !members.found.contains_key(pid));
        if all.is_empty() {
            break;
        }
        add_with_component(members, all, id);
    }
    Ok(())
}

/// Without the guardian, the first process of a PID namespace, and children that the supervisor had before.
fn children_of_session(children: Vec<Pid>, supervisor: Pid, id: &SessionId) -> Vec<Pid> {
    let stats =
        children.into_iter().filter(|&pid| !is_forked_cgrun(pid, supervisor)).filter_map(ProcStat::read);
    let stats: Vec<_> = stats.map(|stat| (id.marks(stat.pid).unwrap_or(false), stat)).collect();
    let first = stats.iter().filter(|(is_marked, _)| *is_marked).map(|(_, stat)| stat.started).min();
    let is_its = |&(is_marked, ref stat): &(bool, ProcStat)| {
        is_marked || first.is_none_or(|first| stat.started >= first)
    };
    stats.iter().filter(|it| is_its(it)).map(|(_, stat)| stat.pid).collect()
}

/// Whether the process runs the same program as a cgrun, and was forked from one.
fn is_forked_cgrun(pid: Pid, cgrun: Pid) -> bool {
    let Some(stat) = ProcStat::read(pid) else { return false };
    stat.is_forked && ProcStat::read(cgrun).is_some_and(|cgrun| cgrun.name == stat.name)
}

/// Finds out the components by the variable that each was started with, or by the parents.
fn add_with_component(members: &mut Members, pids: Vec<Pid>, id: &SessionId) {
    let pids: HashSet<Pid> = pids.into_iter().collect();
    let stats: HashMap<Pid, ProcStat> =
        pids.iter().filter_map(|&pid| Some((pid, ProcStat::read(pid)?))).collect();
    let own = |pid: Pid| -> Option<LeafName> {
        let [nearest, leaf] = variables(pid, [MARKER, LEAF]).ok()?;
        // In a nested session, the variable names a leaf of that one.
        let leaf = leaf.filter(|_| nearest.is_some_and(|it| it == id.to_string().as_str()));
        leaf?.to_str()?.parse().ok()
    };
    let by_themselves: HashMap<Pid, Option<LeafName>> = stats.keys().map(|&pid| (pid, own(pid))).collect();
    for &pid in stats.keys() {
        let above = std::iter::successors(Some(pid), |pid| stats.get(pid)?.parent).take(stats.len() + 1);
        let known = |pid| by_themselves.get(&pid).or_else(|| members.found.get(&pid)).cloned().flatten();
        let component = above.into_iter().find_map(known);
        members.found.insert(pid, component);
    }
}
