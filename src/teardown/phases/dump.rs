//! Before a command that hangs is asked to exit, a signal of the user's choice lets its processes write where they are:
//! Python's faulthandler, the JVM and the Go runtime do so.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::process::pidfd::Process;
use crate::teardown::component::Component;
use crate::teardown::running_teardown::Teardown;

/// How long they have, if none of them exits: nothing tells that a dump is complete.
const WRITING: Duration = Duration::from_secs(2);
/// How often to look after the guardian meanwhile.
const LOOK: Duration = Duration::from_millis(100);

impl Teardown<'_> {
    /// Sends the signal, and waits until all that received it have exited, or have had their time.
    pub(super) fn let_dump(&mut self) {
        let Some(signal) = self.context.timeout_signal.filter(|_| self.cause.is_hang()) else { return };
        let Some(command) = self.context.command().filter(|it| it.is_running_command()) else { return };
        let writing = WRITING.min(command.grace);
        let dumping = send(command, signal);
        let begin = clock::now();
        while dumping.iter().any(|it| !it.has_exited()) && !self.requests.end_the_grace() {
            let left = self.budget.share(writing.saturating_sub(clock::since(begin)), 2);
            if left.is_zero() {
                return;
            }
            self.ensure_guardian();
            let alive = dumping.iter().filter(|it| !it.has_exited());
            let wakes: Vec<_> = alive.map(|it| Wake::readable(it.as_fd())).collect();
            self.wait(&wakes, clock::now() + left.min(LOOK));
        }
    }
}

/// Signals those that have a handler for it: a wrapper such as `uv run` or `npm test` has none, would only die of it, and
/// passes nothing on. If none has one, the first process is to dump its core.
fn send(command: &Component, signal: Signal) -> Vec<Process> {
    let members = command.leaf.members().unwrap_or_default();
    let opened = members.into_iter().filter_map(Process::open_with_stat);
    let handlers = opened.filter(|(_, stat)| stat.handles(signal)).map(|(process, _)| process);
    // Checked after opening the pidfd: before that, the pid may have been reused.
    let mut found: Vec<_> = handlers.filter(|it| command.leaf.contains(it.pid).unwrap_or(false)).collect();
    if found.is_empty() {
        found.extend(Process::open(command.leader.pid).ok().flatten());
    }
    for process in &found {
        // A failure does not matter: they are asked to exit next.
        let _ = process.signal(signal);
        let _ = process.signal(Signal::SIGCONT);
    }
    found
}
