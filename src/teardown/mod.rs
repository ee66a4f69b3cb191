//! Ending a session, whatever the cause.
//!
//! [`Teardown::run`] is the order of the phases, each a file in `phases`. Why the session ends, and what follows
//! from that, is a file in `layers`. A failure in one phase keeps none of the later ones from being run: it is
//! remembered in the [`Verdict`], and what is not known to be clean is not called clean.

mod component;
mod context;
mod layers;
mod phases;
mod state;
mod stop_requests;
mod verdict;

pub(crate) use component::{Component, Role};
pub(crate) use context::Context;
pub(crate) use layers::{AnyOtherExit, Cause, CtrlC, NormalExit, StartupFailure, Termination};
pub(crate) use state::{NoSupervisor, Supervisor, Teardown};
pub(crate) use verdict::Verdict;

use crate::leaks;
use crate::runtime::failpoint;

/// The niceness of a teardown (setpriority(2)).
const URGENT: i32 = -15;

impl Teardown<'_> {
    /// Ends everything that the session started, and returns what was found. Can be run again.
    pub(crate) fn run(mut self) -> Verdict {
        if self.can_ask() {
            self.run_phase("ask", Self::ask);
        }
        self.run_phase("kill", Self::kill);
        self.run_phase("escaped", Self::end_escaped);
        self.run_phase("ports", Self::check_ports);
        self.verdict.usage = self.context.usage();
        self.run_phase("remove", Self::remove);
        leaks::infer_origins(&mut self.verdict.leaks);
        self.verdict
    }

    fn run_phase(&mut self, name: &'static str, phase: fn(&mut Self)) {
        phase(self);
        self.verdict.end_phase(name);
        failpoint::reached(&format!("after {name}"));
    }
}

/// Lets the teardown have the processor: a fork storm would leave it little. To be called when nothing is started any
/// more that could inherit the priority. Without the privilege to do so, the teardown only takes longer.
pub(crate) fn raise_priority() {
    let _ = rustix::process::setpriority_process(None, URGENT);
}
