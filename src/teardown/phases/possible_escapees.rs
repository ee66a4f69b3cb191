//! Processes that may have left the session and been orphaned before the guardian could know them. They are
//! not killed, because they may be strangers, but while one of them is alive, the session cannot be called clean.

use std::ffi::OsStr;

use rustix::process::Pid;

use crate::sys::process::first_process;
use crate::sys::procfs::environ::variable;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::{self, ProcStat};
use crate::sys::procfs::walk::children;
use crate::teardown::context::{DeadSupervisor, SERVICE};
use crate::teardown::running_teardown::Teardown;

/// How many of them are named.
const NAMED: usize = 5;

impl Teardown<'_> {
    pub(super) fn note_possible_escapees(&mut self) {
        let Some(supervisor) = self.context.dead_supervisor.take() else { return };
        // Of a PID namespace, the kernel kills what is left when the first process exits, if that is right after us.
        if !self.context.containment.can_be_left() || first_process::exits_after_us() {
            return;
        }
        let DeadSupervisor { began, heir, invocation } = supervisor;
        let orphans = self.orphans_since(began, heir).into_iter();
        let found: Vec<_> = orphans.filter(|it| is_possible(it, invocation.as_deref())).collect();
        for process in found.iter().filter_map(|it| ProcessInfo::read(it.pid)).take(NAMED) {
            self.verdict.unknown(format!(
                "cannot determine whether {process} left the session before cgrun was killed; it was left alone"
            ));
        }
        if found.len() > NAMED {
            self.verdict.unknown(format!("the same for {} more processes", found.len() - NAMED));
        }
    }

    /// The processes that started after the supervisor and that may have been re-parented at its death.
    fn orphans_since(&mut self, began: u64, heir: Pid) -> Vec<ProcStat> {
        let found =
            children(heir).map_err(|error| format!("cannot list the children of pid {heir}: {error}"));
        let found = self.verdict.expect(found).unwrap_or_default().into_iter();
        // Those of other shards are named.
        let others = found.filter(|&pid| !self.context.is_cgruns(pid) && !first_process::is_named(pid));
        let started = others.filter_map(ProcStat::read);
        started.filter(|it| it.started >= began).collect()
    }
}

fn is_possible(process: &ProcStat, invocation: Option<&OsStr>) -> bool {
    !stat::is_exiting(process.pid)
        && may_be_of_our_user(process.pid)
        && variable(process.pid, SERVICE).is_none_or(|it| Some(&*it) == invocation)
}

/// Whether the process may be our user's. An unprivileged process can become another user's only through a
/// setuid program.
fn may_be_of_our_user(pid: Pid) -> bool {
    let us = rustix::process::geteuid();
    us.is_root() || ProcessInfo::read(pid).is_none_or(|it| it.uid.is_none_or(|uid| uid == us.as_raw()))
}
