//! Finds out during which test a process was started, from the marks that test runners leave in the
//! environment.
//!
//! "During", never "by": a fixture that lives for the whole run carries the mark of the first test that used
//! it. Without any mark the origin is unknown.

use std::collections::{HashMap, HashSet};

use rustix::process::Pid;

use super::leak::Leak;
use super::origin::{Evidence, Origin};
use super::runners::{self, InheritedMarks};
use crate::containment::MARKER;
use crate::sys::procfs::environ::environ_of;
use crate::sys::procfs::memory::EnvironmentReader;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::procfs::stat::visible_pid;

/// Reads the marks of processes, one after the other.
#[derive(Debug)]
pub(super) struct OriginReader {
    names: Vec<&'static str>,
    memories: EnvironmentReader,
    inherited: InheritedMarks,
}

/// The marks found in a process's environment.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub origin: Option<Origin>,
    /// Even the session's marker is missing from the environment with which it was executed.
    pub is_cleared: bool,
}

impl OriginReader {
    pub(super) fn new(inherited: InheritedMarks) -> Self {
        Self { names: runners::variable_names(), memories: EnvironmentReader::default(), inherited }
    }

    pub(super) fn read(&mut self, stat: &ProcStat) -> Marks {
        let environ = environ_of(stat);
        let is_cleared = environ.as_ref().is_ok_and(|text| !has_variable(text, MARKER));
        let executed = environ.unwrap_or_default();
        // Forked from the test runner without an exec: its memory shows which test was running.
        let forked =
            stat.is_forked.then(|| self.memories.environment(stat, &executed, &self.names)).flatten();
        let variables = || executed.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let origin = forked
            .and_then(|variables| runners::origin_in(&variables, &self.inherited, Evidence::Memory))
            .or_else(|| runners::origin_in(&variables(), &self.inherited, Evidence::Environment));
        Marks { origin, is_cleared }
    }

    /// The marks that are in its memory now.
    pub(super) fn read_memory(&mut self, stat: &ProcStat) -> Option<Origin> {
        let executed = environ_of(stat).unwrap_or_default();
        let variables = self.memories.environment(stat, &executed, &self.names)?;
        runners::origin_in(&variables, &self.inherited, Evidence::Memory)
    }
}

fn has_variable(environ: &[u8], name: &str) -> bool {
    let is_it = |entry: &[u8]| entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    environ.split(|&byte| byte == 0).any(is_it)
}

/// Infers the origin of leaks without a mark from that of the others.
pub(crate) fn infer_origins(leaks: &mut [Leak]) {
    tell_inherited_marks(leaks);
    if leaks.iter().all(|leak| leak.started_during.is_some() == leaks[0].started_during.is_some()) {
        return;
    }
    infer_from_ancestors(leaks);
    infer_from_start_times(leaks);
}

/// Sets the evidence of inherited marks to the parent. A leak that was started by another leak has that one's
/// mark, and may have been started at any time since.
fn tell_inherited_marks(leaks: &mut [Leak]) {
    let known: HashMap<Pid, String> = leaks
        .iter()
        .filter_map(|leak| Some((leak.pid(), leak.started_during.as_ref()?.to_string())))
        .collect();
    for leak in leaks {
        let parents = leak.stat.parent.and_then(|parent| known.get(&parent));
        if let (Some(origin), Some(parents)) = (&mut leak.started_during, parents) {
            if origin.to_string() == *parents {
                origin.evidence = Evidence::Parent;
            }
        }
    }
}

/// Infers the origin from the parent if it is alive, or else from the leader of the process's session, from
/// which all processes in it descend.
fn infer_from_ancestors(leaks: &mut [Leak]) {
    let place: HashMap<Pid, usize> = leaks.iter().enumerate().map(|(at, leak)| (leak.pid(), at)).collect();
    for at in 0..leaks.len() {
        // Bounded, because processes that fork and exit while we read may seem to form a cycle.
        let mut ancestor = at;
        for _ in 0..leaks.len() {
            if leaks[ancestor].started_during.is_some() {
                break;
            }
            let stat = &leaks[ancestor].stat;
            let up = stat.parent.and_then(|pid| place.get(&pid));
            let leader = visible_pid(stat.session).and_then(|pid| place.get(&pid));
            match up.or(leader) {
                Some(&next) if next != ancestor => ancestor = next,
                _ => break,
            }
        }
        if ancestor != at {
            let known = leaks[ancestor].started_during.clone();
            leaks[at].started_during = known.map(|origin| Origin { evidence: Evidence::Parent, ..origin });
        }
    }
}

/// If one worker runs one test at a time, then everything started between two processes of one test was
/// started during that test. A process that another leak started is no reference, because the leak may have
/// started it at any time. Only processes that cleared their environment are placed this way, because all
/// others would carry a test's mark.
fn infer_from_start_times(leaks: &mut [Leak]) {
    let pids: HashSet<Pid> = leaks.iter().map(Leak::pid).collect();
    let started_by = |leak: &Leak| leak.stat.parent.filter(|parent| pids.contains(parent));
    let known: Vec<Option<Origin>> =
        leaks.iter().map(|leak| leak.started_during.clone().filter(|_| started_by(leak).is_none())).collect();
    let may_run_in_parallel = |origin: &Origin| !runners::is_sequential(origin.runner);
    let mut workers: Vec<_> = leaks
        .iter()
        .filter_map(|leak| leak.started_during.as_ref())
        .map(|it| (it.runner, &it.worker))
        .collect();
    workers.sort();
    workers.dedup();
    if workers.len() != 1 || known.iter().flatten().any(may_run_in_parallel) {
        return;
    }
    let mut order: Vec<usize> = (0..leaks.len()).collect();
    order.sort_by_key(|&at| (leaks[at].stat.started, leaks[at].pid().as_raw_nonzero()));
    let mut before: Option<&Origin> = None;
    let mut between = Vec::new();
    let mut found = Vec::new();
    for at in order {
        match &known[at] {
            None if leaks[at].started_during.is_none() && leaks[at].has_cleared_environment => {
                between.push(at)
            }
            None => {}
            Some(origin) => {
                let same = before.filter(|before| before.test == origin.test);
                found.extend(between.drain(..).filter_map(|at| Some((at, same?.clone()))));
                before = Some(origin);
            }
        }
    }
    for (at, origin) in found {
        leaks[at].started_during = Some(Origin { evidence: Evidence::StartTime, phase: None, ..origin });
    }
}
