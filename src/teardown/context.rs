//! All that is needed to end a session, by whichever process ends it.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Pid;

use super::component::{Component, Role};
use crate::containment::Containment;
use crate::leaks::allow::Pattern;
use crate::limits::{AppliedLimits, Usage};
use crate::sys::sockets::Listener;

#[derive(Debug)]
pub(crate) struct Context {
    pub containment: Containment,
    pub limits: AppliedLimits,
    /// In the order of their start.
    pub components: Vec<Component>,
    pub watched_ports: Vec<u16>,
    /// Sockets that listened on watched ports before the session began: they are none of its business.
    pub preexisting_listeners: Vec<Listener>,
    /// Children that cgrun had before the session began: not part of it, and not to be ended.
    pub preexisting_children: Vec<Pid>,
    /// There were some. What they leave behind becomes our child as well, even when they are gone.
    pub had_preexisting_children: bool,
    /// Our child only if cgrun is the first process of a PID namespace.
    pub guardian: Option<Pid>,
    /// The guardian was killed and replaced: for a moment orphans went to the parent of cgrun instead.
    pub guardian_replaced: bool,
    /// How long orphans have after they were asked to end.
    pub grace: Duration,
    /// How long the kernel may take without ending one of the killed processes.
    pub kill_wait: Duration,
    /// How long the command's processes may take to end by themselves after it.
    pub settle: Duration,
    /// What may outlive the command.
    pub allow: Vec<Pattern>,
    /// Whether the session's usage is wanted.
    pub measures_usage: bool,
}

impl Context {
    /// A session of which nothing but its containment is known.
    pub(crate) fn new(containment: Containment) -> Self {
        Self {
            containment,
            limits: AppliedLimits::default(),
            components: Vec::new(),
            watched_ports: Vec::new(),
            preexisting_listeners: Vec::new(),
            preexisting_children: Vec::new(),
            had_preexisting_children: false,
            guardian: None,
            guardian_replaced: false,
            grace: Duration::ZERO,
            kill_wait: Duration::ZERO,
            settle: Duration::ZERO,
            allow: Vec::new(),
            measures_usage: false,
        }
    }

    pub(crate) fn with_preexisting_children(self, children: Vec<Pid>) -> Self {
        Self { had_preexisting_children: !children.is_empty(), preexisting_children: children, ..self }
    }

    /// Notes that a child ended, whether or not it was the leader of a component.
    pub(crate) fn note_exit(&mut self, pid: Pid, status: ExitStatus) {
        self.components.iter_mut().for_each(|component| component.note_exit(pid, status));
        self.preexisting_children.retain(|&child| child != pid);
    }

    /// What the session used, if that is wanted and can be measured. Only until the cgroups are removed.
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
