//! Tears down a session, whatever the cause.
//!
//! [`Teardown::run`] runs the phases, each of which is a file in `phases`. The causes and their consequences
//! are the files in `layers`. A failure in one phase does not prevent the later ones: it is recorded in the
//! [`Verdict`], and a session that is not known to be clean is never called clean.

mod asked;
mod cancelled;
mod component;
mod context;
mod layers;
mod phases;
mod running_teardown;
mod stop_requests;
mod time_budget;
mod verdict;

pub(crate) use component::{Component, Role};
pub(crate) use context::{Context, DeadSupervisor, SERVICE};
pub(crate) use layers::{AnyOtherExit, Cause, CtrlC, NormalExit, StartupFailure, Termination};
pub(crate) use running_teardown::{NoSupervisor, Supervisor, Teardown};
pub(crate) use time_budget::StopWithin;
pub(crate) use verdict::Verdict;

use crate::leaks;
use crate::runtime::clock;
use crate::runtime::failpoint;

/// The niceness of a teardown (setpriority(2)).
const URGENT: i32 = -15;

impl Teardown<'_> {
    /// Stops everything that the session started, and returns the findings. Can be run again.
    pub(crate) fn run(mut self) -> Verdict {
        let begin = clock::now();
        self.note_cancellation();
        if self.can_ask() {
            self.run_phase("ask", Self::ask);
        }
        self.run_phase("kill", Self::kill);
        self.run_phase("escaped", Self::end_escaped);
        // Before the ports, which they can have published.
        if self.context.containers.is_some() {
            self.run_phase("containers", Self::end_containers);
        }
        self.run_phase("ports", Self::check_ports);
        self.verdict.usage = self.context.usage();
        self.run_phase("remove", Self::remove);
        leaks::infer_origins(&mut self.verdict.leaks);
        if let Some(log) = &self.context.leak_log {
            self.verdict.add_logged(log.read());
            log.remove();
        }
        self.verdict.took = clock::since(begin);
        self.verdict
    }

    fn run_phase(&mut self, name: &'static str, phase: fn(&mut Self)) {
        phase(self);
        self.verdict.end_phase(name);
        failpoint::reached(&format!("after {name}"));
    }
}

/// Raises the priority of the teardown, which a fork storm would leave little processor time. Call it only
/// when no more processes are started that would inherit the priority. Without the privilege, the teardown
/// only takes longer.
pub(crate) fn raise_priority() {
    let _ = rustix::process::setpriority_process(None, URGENT);
}
