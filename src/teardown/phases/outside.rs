//! Processes that left the cgroup of a session whose supervisor is dead. They are found if they descend from a
//! living process of the session, or were known to the guardian as children of the supervisor.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::containment::Containment;
use crate::leaks::How;
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::ProcessKey;
use crate::sys::procfs::walk::{self, descendants_outside};
use crate::teardown::running_teardown::Teardown;

/// How long the cgroup may take to freeze. A frozen process neither forks nor leaves.
const FREEZE: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_micros(200);
/// Processes that fork all the time are stopped within this many rounds, or killed while they run.
const ROUNDS: usize = 20;
/// Bounded, because processes that fork and exit while we read may seem to form a cycle.
const MOST_ANCESTORS: usize = 1000;

impl Teardown<'_> {
    /// Kills the processes that left the containment. Must be called before those inside are killed: later, nothing
    /// would show where they came from.
    pub(super) fn kill_outside(&mut self) {
        if !self.context.containment.can_be_left() {
            return;
        }
        if let Err(error) = walk::check() {
            self.verdict.unknown(format!("cannot find the processes that left the session: {error}"));
            return;
        }
        freeze(&self.context.containment);
        let mut stopped: HashMap<ProcessKey, Process> = HashMap::new();
        for _ in 0..ROUNDS {
            let members = self.verdict.expect(self.context.containment.members()).unwrap_or_default();
            let members: HashSet<Pid> = members.into_iter().collect();
            let known = self.context.children_outside.iter().chain(stopped.values());
            let known: HashMap<Pid, &Process> =
                known.filter(|it| !it.has_exited()).map(|it| (it.pid, it)).collect();
            let within: HashSet<Pid> = members.iter().chain(known.keys()).copied().collect();
            let outside = descendants_outside(&within).into_iter().chain(known.keys().copied());
            let descends = |pid: Pid| {
                descends(pid, &known, |it| {
                    members.contains(&it) && self.context.containment.contains(it).unwrap_or(false)
                })
            };
            let found: Vec<_> = outside
                .filter(|pid| !members.contains(pid))
                .filter_map(|pid| stop(pid, &stopped, descends))
                .collect();
            if found.is_empty() {
                break;
            }
            stopped.extend(found);
        }
        for process in stopped.values() {
            if let Some(info) = ProcessInfo::read(process.pid) {
                self.verdict.add_leak(How::Escaped, info);
            }
            // A failure is reported below.
            let _ = process.signal(Signal::SIGKILL);
        }
        stopped.values().for_each(|process| self.kill_one(process));
    }
}

fn freeze(containment: &Containment) {
    // Processes that do not freeze in time are killed anyway.
    if containment.path().is_none() || containment.freeze(true).is_err() {
        return;
    }
    let deadline = clock::now() + FREEZE;
    while containment.is_frozen().is_ok_and(|is_frozen| !is_frozen) && clock::now() < deadline {
        Wake::wait_for_change(containment.events(), clock::now() + LOOK);
    }
}

/// Stops a process, unless that was done before.
fn stop(
    pid: Pid,
    stopped: &HashMap<ProcessKey, Process>,
    descends: impl FnOnce(Pid) -> bool,
) -> Option<(ProcessKey, Process)> {
    let (process, stat) = Process::open_with_stat(pid)?;
    let key = stat.key();
    if stopped.contains_key(&key) || pid == rustix::process::getpid() || !descends(pid) {
        return None;
    }
    let _ = process.signal(Signal::SIGSTOP);
    Some((key, process))
}

/// Whether a process or one of its ancestors is known, or belongs to the session. A known process that is still
/// alive shows that its pid has not been reused.
fn descends(pid: Pid, known: &HashMap<Pid, &Process>, is_member: impl Fn(Pid) -> bool) -> bool {
    let mut lineage = walk::lineage(pid).take(MOST_ANCESTORS);
    lineage.any(|it| known.get(&it).is_some_and(|known| !known.has_exited()) || is_member(it))
}
