//! Ending a session: one function, whatever the cause.
//!
//! The order: ask the command to end, if it still runs → see what it leaves behind → ask that and
//! the services to end, in reverse order of dependency → kill what is left, with one write to
//! `cgroup.kill` → end what escaped the cgroup → look at the watched ports → remove the cgroups →
//! verify. No step's failure keeps the next from being taken; each is remembered, and what is not
//! known to be clean is not called clean.

mod component;
mod holders;
mod kill;
mod layers;
mod marked;
mod orphans;
mod settle;
mod stop;
mod stop_requests;
mod verdict;

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Pid;

pub use component::{Component, Role};
use layers::Orphans;
pub use layers::{AnyOtherExit, Cause, CtrlC, NormalExit, StartupFailure, Termination};
use stop_requests::StopRequests;
pub use verdict::Verdict;

use crate::containment::Containment;
use crate::leaks;
use crate::leaks::allow::Pattern;
use crate::limits::Usage;
use crate::runtime::clock;
use crate::runtime::events::{Event, Events, Wake};
use crate::runtime::failpoint;
use crate::sys::sock_diag::Listener;
use crate::text::plain;

/// The niceness of a teardown (setpriority(2)).
const URGENT: i32 = -15;

/// All that is needed to end a session, whoever does it.
#[derive(Debug)]
pub struct Context {
    pub containment: Containment,
    /// The services in the order of their start, then the command.
    pub components: Vec<Component>,
    pub watched: Vec<u16>,
    /// Who held watched ports before the session began: not ours to judge.
    pub held_before: Vec<Listener>,
    /// Children that we had when we began: not of the session, and not ours to end.
    pub preexisting: Vec<Pid>,
    /// We had such: what they leave behind becomes our child as well, also when they are gone.
    pub had_preexisting: bool,
    /// Our child only where we are the first process of a PID namespace.
    pub guardian: Option<Pid>,
    pub grace: Duration,
    pub kill_wait: Duration,
    pub settle: Duration,
    /// What may outlive the command.
    pub allow: Vec<Pattern>,
    /// For a moment orphans did not become our children, but our parents': a guardian was replaced.
    pub lost_orphans: bool,
    /// What was used is to be known.
    pub measure: bool,
}

impl Context {
    /// A child of ours ended; whose leader was it?
    pub fn note_exit(&mut self, pid: Pid, status: ExitStatus) {
        self.components.iter_mut().for_each(|component| component.note_exit(pid, status));
        self.preexisting.retain(|&child| child != pid);
    }

    /// What was used, until the cgroups are removed.
    fn usage(&self) -> Option<Usage> {
        let components = self.components.iter().filter(|_| self.measure).map(Component::measured);
        self.measure.then(|| self.containment.usage(&components.collect::<Vec<_>>()))?
    }

    pub fn command(&self) -> Option<&Component> {
        self.components.iter().find(|component| component.role == Role::Command)
    }
}

/// Ends everything the session has started and says what was found. Safe to call again. Now and then
/// it calls `ensure_guardian`, which may replace a guardian.
pub fn tear_down(
    context: &mut Context,
    cause: &Cause,
    events: &Events,
    say: &dyn Fn(&str),
    ensure_guardian: &mut dyn FnMut(&mut Context),
) -> Verdict {
    let mut verdict = Verdict::new(&context.allow);
    let mut wait = Wait { events, say, ensure_guardian, requests: StopRequests::new(cause) };
    match context.containment.is_populated() {
        Ok(false) => {}
        // There is nobody to answer to: the sooner, the less can happen.
        Ok(true) if cause.is_supervisor_dead() => drop(verdict.expect(context.containment.kill())),
        Ok(true) => {
            stop::gracefully(context, cause, &mut wait, &mut verdict);
            kill::note_strays(context, &mut verdict);
            verdict.done("ask");
            failpoint::reached("stopped");
        }
        Err(error) => verdict.unknown(error),
    }
    let killed = kill::the_rest(context, wait.ensure_guardian, &mut verdict);
    verdict.done("kill");
    failpoint::reached("killed");
    let layer_6 = Orphans::after(cause, context.lost_orphans);
    if layer_6.are_our_children() {
        orphans::end(context, &killed, &mut wait, &mut verdict);
    }
    verdict.done("escaped");
    failpoint::reached("orphans ended");
    let layer_6 = Orphans::after(cause, context.lost_orphans);
    if layer_6.have_only_their_marker() {
        marked::end(context, &mut verdict);
    }
    if let Some(unknown) = layer_6.out_of_reach().filter(|_| !context.containment.outlives_supervisor()) {
        verdict.unknown(unknown);
    }
    holders::look(context, &mut verdict);
    verdict.done("ports");
    failpoint::reached("ports looked at");
    verdict.usage = context.usage();
    remove(context, &mut verdict);
    verdict.done("remove");
    failpoint::reached("removed");
    leaks::infer_origins(&mut verdict.leaks);
    verdict
}

/// Lets whoever ends a session have the processor: a fork storm would leave it little. To be called
/// where nothing is started any more that could inherit it; where we may not, all takes longer.
pub fn raise_priority() {
    let _ = rustix::process::setpriority_process(None, URGENT);
}

/// Waiting while the session ends: for its processes, and for a user who asks again.
struct Wait<'a> {
    events: &'a Events,
    say: &'a dyn Fn(&str),
    /// Sees to it that somebody else could finish this.
    ensure_guardian: &'a mut dyn FnMut(&mut Context),
    requests: StopRequests,
}

impl Wait<'_> {
    /// Waits until one of `wakes` has news, a signal came, or `until`.
    fn on(
        &mut self,
        wakes: &[Wake<'_>],
        until: Option<Instant>,
        mut ended: impl FnMut(Pid, ExitStatus),
    ) -> io::Result<()> {
        let happened = self.events.wait(wakes, until);
        let said = |error| io::Error::other(format!("cannot wait for events (ppoll): {}", plain(&error)));
        for event in happened.map_err(said)? {
            match event {
                Event::Exited(pid, status) => ended(pid, status),
                Event::Signal(caught) if self.requests.note(caught) => {
                    (self.say)(&format!(
                        "{} while cleaning up; send again to kill everything now",
                        caught.signal
                    ));
                }
                Event::Signal(_) => {}
            }
        }
        Ok(())
    }
}

/// The kernel refuses to remove a cgroup with a process in it: this is the proof that it is empty.
fn remove(context: &mut Context, verdict: &mut Verdict) {
    let deadline = clock::now() + context.kill_wait;
    loop {
        context.components.iter().for_each(|component| component.leaf.remove_if_empty());
        match context.containment.remove(context.kill_wait) {
            Ok(()) => return,
            // A process that a dead supervisor had just made was still on its way in.
            Err(error) if error.is_busy() && clock::now() < deadline => {
                drop(kill::the_rest(context, &mut |_| {}, verdict))
            }
            Err(error) => return verdict.unknown(error),
        }
    }
}
