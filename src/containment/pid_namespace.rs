//! A PID namespace: the kernel kills everything in it when its first process dies, and no process can leave
//! it.
//!
//! The first process is a child of ours that only reaps. The processes that the session starts are also our
//! children, born into the namespace, so waiting, signals and job control work as usual. Files, user and
//! network are unchanged; `/proc` shows the namespace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::container::Container;
use super::error::ContainmentError;
use crate::runtime::working_directory;
use crate::sys::kernel::settings_against_namespaces;
use crate::sys::process::line::Line;
use crate::sys::process::namespace::{self, Entrance, NamespaceStep};
use crate::sys::process::pidfd::Process;
use crate::text::plain;

/// Why no PID namespace can be created here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoNamespace {
    #[error("the kernel refuses to create a PID namespace: {}", plain(source))]
    Refused { source: io::Error },
    #[error(
        "without CAP_SYS_ADMIN, root can create a PID namespace only inside a user namespace, where \
         it would lose root's access to files"
    )]
    Powerless,
    #[error("a PID namespace cannot mount its own /proc here: {}", plain(source))]
    NoProc { source: io::Error },
    /// Entering the mount namespace, which has its own /proc, loses the working directory.
    #[error(
        "a process that enters a PID namespace has to enter the working directory again, and is not permitted to"
    )]
    NoWayBack,
    #[error("cannot set up a PID namespace ({step}): {}", plain(source))]
    Other { step: &'static str, source: io::Error },
}

impl NoNamespace {
    /// Says how the user can fix it.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Refused { .. } => match (settings_against_namespaces(), Container::detect()) {
                (Some(sysctls), _) => format!("allow user namespaces: {sysctls}"),
                (None, Some(Container::Docker)) => {
                    "start the container with --security-opt seccomp=unconfined --security-opt \
                     systempaths=unconfined"
                        .into()
                }
                (None, Some(Container::Kubernetes)) => {
                    "set seccompProfile: Unconfined and procMount: Unmasked in the container's securityContext".into()
                }
                (None, _) => {
                    "allow unprivileged user namespaces, or in a container a seccomp profile that permits them".into()
                }
            },
            Self::Powerless => match Container::detect() {
                Some(Container::Docker | Container::Podman) => {
                    "start the container with --cap-add SYS_ADMIN".into()
                }
                Some(Container::Kubernetes) => {
                    "add the capability SYS_ADMIN in the container's securityContext".into()
                }
                Some(Container::Other(_)) | None => "run with CAP_SYS_ADMIN".into(),
            },
            Self::NoProc { .. } => match Container::detect() {
                Some(Container::Podman) => "start the container with --security-opt unmask=ALL".into(),
                Some(Container::Kubernetes) => {
                    "set procMount: Unmasked in the container's securityContext".into()
                }
                _ => "in a container, start it with --security-opt systempaths=unconfined".into(),
            },
            Self::NoWayBack => "change to a directory that this user can enter".into(),
            Self::Other { .. } => "fix the cause of this error".into(),
        }
    }

    /// The reason and the remedy.
    pub(crate) fn advice(&self) -> String {
        format!("{self}; {}", self.remedy())
    }
}

#[derive(Debug)]
pub(crate) struct PidNamespace {
    init: Process,
    /// The first process exits when this is closed, which also happens when we die.
    _line: Line,
    with_user: bool,
}

impl PidNamespace {
    /// Creates a namespace. Its first process joins the cgroup whose `cgroup.procs` is given.
    pub(crate) fn create(procs: Option<OwnedFd>) -> Result<Self, NoNamespace> {
        // Without CAP_SYS_ADMIN, we need a user namespace, which gives us that privilege only inside it.
        let privileged = namespace::needs_no_user();
        if !privileged && rustix::process::geteuid().is_root() {
            return Err(NoNamespace::Powerless);
        }
        if !working_directory::may_be_entered() {
            return Err(NoNamespace::NoWayBack);
        }
        let made = namespace::create(procs.as_ref().map(|fd| fd.as_fd()), !privileged);
        let (init, line) = made.map_err(|error| match error.step {
            NamespaceStep::Clone | NamespaceStep::Map => NoNamespace::Refused { source: error.source },
            NamespaceStep::Proc => NoNamespace::NoProc { source: error.source },
            NamespaceStep::Join => NoNamespace::Other { step: "cgroup.procs", source: error.source },
            NamespaceStep::Mounts => NoNamespace::Other { step: "mount propagation", source: error.source },
            NamespaceStep::Begin => NoNamespace::Other { step: "its first process", source: error.source },
        })?;
        Ok(Self { init, _line: line, with_user: !privileged })
    }

    /// The pid of its first process, in our own PID namespace.
    pub(crate) fn init(&self) -> Pid {
        self.init.pid
    }

    pub(crate) fn process(&self) -> &Process {
        &self.init
    }

    /// The handle with which a new process enters it.
    pub(crate) fn entrance(&self) -> Entrance<'_> {
        Entrance { init: self.init.as_fd(), with_user: self.with_user }
    }

    /// Whether its first process has exited, and with it all others: the kernel keeps it until they have.
    pub(crate) fn has_ended(&self) -> bool {
        self.init.has_exited()
    }

    pub(crate) fn kill(&self) -> Result<(), ContainmentError> {
        let killed = self.init.signal(Signal::SIGKILL).map(|_| ());
        killed.map_err(ContainmentError::on("kill the PID namespace of", &self.path()))
    }

    /// Kills everything in it and waits until it is gone.
    pub(crate) fn end(&self, limit: Duration) -> Result<(), ContainmentError> {
        self.kill()?;
        match self.init.wait(limit) {
            Ok(true) => {
                // Reap it, if it is our child and has not been reaped yet.
                let options = rustix::process::WaitOptions::NOHANG;
                let _ = rustix::process::waitpid(Some(self.init.pid), options);
                Ok(())
            }
            Ok(false) => {
                let late = io::Error::other("it does not exit");
                Err(ContainmentError::on("end the PID namespace of", &self.path())(late))
            }
            Err(error) => Err(ContainmentError::on("wait for the PID namespace of", &self.path())(error)),
        }
    }

    fn path(&self) -> std::path::PathBuf {
        format!("/proc/{}", self.init.pid).into()
    }
}
