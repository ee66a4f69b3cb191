//! One component of a session: a service, the command, or a readiness command, with the leaf that holds it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::containment::{Leaf, LeafName};
use crate::leaks::How;
use crate::limits::{MeasuredComponent, Victim};
use crate::sys::process::pidfd::Process;
use crate::sys::time::time_of_day;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Service,
    Command,
    /// A command that asks whether a service is ready.
    Probe,
}

#[derive(Debug)]
pub(crate) struct Component {
    pub role: Role,
    /// The name of the service, for its probe too.
    pub name: String,
    pub leaf: Rc<Leaf>,
    /// Its first process. The component may live on without it.
    pub leader: Process,
    /// It leads a process group of its own.
    pub own_group: bool,
    /// Before the leader was created, by the clock of files.
    pub started: SystemTime,
    /// How the leader exited, if it has.
    pub status: Option<ExitStatus>,
    /// After it was reaped: until then, its pid was its own.
    pub reaped: Option<SystemTime>,
    pub stop_signal: Signal,
    pub grace: Duration,
    /// The services that this component needs: they are stopped after it.
    pub depends_on: Vec<String>,
}

impl Component {
    /// Notes how the leader exited, if `pid` is the leader.
    pub(crate) fn note_exit(&mut self, pid: Pid, status: ExitStatus) {
        if pid == self.leader.pid && self.status.is_none() {
            self.status = Some(status);
            self.reaped = Some(time_of_day());
        }
    }

    /// The name of its leaf.
    pub(crate) fn leaf_name(&self) -> LeafName {
        match self.role {
            Role::Service => LeafName::Service(self.name.clone()),
            Role::Command => LeafName::Command,
            Role::Probe => LeafName::Probe(self.name.clone()),
        }
    }

    /// The data that is needed to read its figures.
    pub(crate) fn measured(&self) -> MeasuredComponent<'_> {
        let killed = self.status.is_some_and(|status| status.signal() == Some(Signal::SIGKILL as i32));
        let killed =
            killed.then(|| Victim { pid: self.leader.pid.as_raw_nonzero().get().unsigned_abs(), name: None });
        MeasuredComponent { name: self.leaf_name(), leaf: &self.leaf, killed }
    }

    /// How its processes count as leaked if they are still alive at the end.
    pub(crate) fn how_outlived(&self) -> How {
        match self.role {
            Role::Service => How::OutlivedService(self.name.clone()),
            Role::Command => How::OutlivedCommand,
            Role::Probe => How::OutlivedProbe(self.name.clone()),
        }
    }

    /// Whether it is the command and has not exited.
    pub(crate) fn is_running_command(&self) -> bool {
        self.role == Role::Command && self.status.is_none()
    }
}
