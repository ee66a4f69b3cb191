//! Everything that a process needs to tear down a session.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::cancelled::Cancelled;
use super::component::{Component, Role};
use super::time_budget::StopWithin;
use crate::containers::{Proxy, SessionContainers};
use crate::containment::{Containment, ContainmentError};
use crate::leaks::LeakLog;
use crate::leaks::allow::Pattern;
use crate::limits::{AppliedLimits, Usage};
use crate::sys::port::Port;
use crate::sys::process::pidfd::Process;
use crate::sys::signals::Caught;
use crate::sys::sockets::Listener;

#[derive(Debug)]
pub(crate) struct Context {
    pub containment: Containment,
    pub limits: AppliedLimits,
    /// In the order of their start.
    pub components: Vec<Component>,
    pub watched_ports: Vec<Port>,
    /// Sockets that were listening on watched ports before the session began, which do not belong to it.
    pub preexisting_listeners: Vec<Listener>,
    /// Children that cgrun had before the session began. They are not part of it and are not stopped.
    pub preexisting_children: Vec<Pid>,
    /// Whether there were any. Their orphans become our children too, even after they have exited.
    pub had_preexisting_children: bool,
    /// The command's processes at the moment it was cancelled, if it was.
    pub cancelled: Option<Cancelled>,
    /// The guardian's pid. It is our child, and not part of the session.
    pub guardian: Option<Pid>,
    /// The same for what connects the session's network to the outside: a keeper, and the program.
    pub way_out: Vec<Pid>,
    /// The way from the session to its container engines.
    pub proxy: Option<Proxy>,
    /// Children of a dead supervisor that had left the containment, as far as its guardian has seen them.
    pub children_outside: Vec<Process>,
    /// The supervisor, if it is dead. Only its guardian knows that much of it.
    pub dead_supervisor: Option<DeadSupervisor>,
    /// What a command that hangs receives before it is asked to exit.
    pub timeout_signal: Option<Signal>,
    /// How long orphans have to exit after they were asked.
    pub grace: Duration,
    /// Killed processes count as stuck if none of them exits for this long.
    pub kill_wait: Duration,
    /// How long the command's processes may take to exit by themselves after the command.
    pub settle: Duration,
    /// The processes that are allowed to outlive the command.
    pub allow: Vec<Pattern>,
    /// To which hooks write what they have ended. `None` if it could not be created.
    pub leak_log: Option<LeakLog>,
    /// What the session creates by way of container engines, if cgrun ends that.
    pub containers: Option<SessionContainers>,
    /// How long the whole teardown may take.
    pub stop_within: StopWithin,
    /// Whether leaks are described in a report, and not only on the terminal.
    pub reports_leaks: bool,
    /// Whether to measure the session's usage.
    pub measures_usage: bool,
}

/// systemd sets this variable for each service that it starts (systemd.exec(5)).
pub(crate) const SERVICE: &str = "INVOCATION_ID";

/// A supervisor that was killed.
#[derive(Clone, Debug)]
pub(crate) struct DeadSupervisor {
    /// When it was started, in clock ticks after boot.
    pub began: u64,
    /// The process that its orphans were re-parented to. The guardian is one of them.
    pub heir: Pid,
    /// Its own [`SERVICE`], if a service manager has started it.
    pub invocation: Option<OsString>,
}

impl Context {
    /// The context of a session of which only the containment is known.
    pub(crate) fn new(containment: Containment) -> Self {
        Self {
            containment,
            limits: AppliedLimits::default(),
            components: Vec::new(),
            watched_ports: Vec::new(),
            preexisting_listeners: Vec::new(),
            preexisting_children: Vec::new(),
            had_preexisting_children: false,
            cancelled: None,
            guardian: None,
            way_out: Vec::new(),
            proxy: None,
            children_outside: Vec::new(),
            dead_supervisor: None,
            timeout_signal: None,
            grace: Duration::ZERO,
            kill_wait: Duration::ZERO,
            settle: Duration::ZERO,
            allow: Vec::new(),
            leak_log: None,
            containers: None,
            stop_within: StopWithin::default(),
            reports_leaks: false,
            measures_usage: false,
        }
    }

    /// Whether it is a process of cgrun itself: this one, the guardian, or what connects the session to the outside.
    pub(crate) fn is_cgruns(&self, pid: Pid) -> bool {
        let proxy = self.proxy.as_ref().map(Proxy::pid);
        pid == rustix::process::getpid()
            || [self.guardian, proxy].contains(&Some(pid))
            || self.way_out.contains(&pid)
    }

    /// Whether this child of the supervisor is a process of the session that has left the containment.
    pub(crate) fn is_outside(&self, child: Pid) -> bool {
        !self.is_cgruns(child)
            && !self.preexisting_children.contains(&child)
            && !self.containment.contains(child).unwrap_or(true)
            // Orphans of a child from before the session become children of the supervisor too.
            && (!self.had_preexisting_children || self.containment.id.marks(child).unwrap_or(false))
    }

    pub(crate) fn with_preexisting_children(self, children: Vec<Pid>) -> Self {
        Self { had_preexisting_children: !children.is_empty(), preexisting_children: children, ..self }
    }

    /// Notes that a child exited, whether or not it was the leader of a component.
    pub(crate) fn note_exit(&mut self, pid: Pid, status: ExitStatus) {
        self.components.iter_mut().for_each(|component| component.note_exit(pid, status));
        self.preexisting_children.retain(|&child| child != pid);
    }

    /// Notes what the command is doing at the moment it is cancelled, by the signal `caught` or by us.
    pub(crate) fn note_cancellation(&mut self, caught: Option<Caught>) -> Result<(), ContainmentError> {
        let has_passed = |it: &&Component| it.status.is_some_and(|status| status.success());
        let Some(command) = self.command().filter(|it| !has_passed(it)) else { return Ok(()) };
        let cancelled = Cancelled::look(command, caught)?;
        self.cancelled = Some(cancelled.after(self.cancelled.take(), self.grace));
        Ok(())
    }

    /// Whether the process was part of a cancelled command's work.
    pub(super) fn is_cancelled(&self, pid: Pid) -> bool {
        self.cancelled.as_ref().is_some_and(|it| it.includes(pid))
    }

    /// The session's usage, if requested and measurable. Must be called before the cgroups are removed.
    pub(super) fn usage(&self) -> Option<Usage> {
        if !self.measures_usage {
            return None;
        }
        let components: Vec<_> = self.components.iter().map(Component::measured).collect();
        Usage::read(&self.containment, &self.limits, &components)
    }

    pub(crate) fn command(&self) -> Option<&Component> {
        self.components.iter().find(|component| component.role == Role::Command)
    }
}
