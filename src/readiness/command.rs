//! A service is ready when its readiness command exits with 0.

use std::io;
use std::process::ExitStatus;

use rustix::process::Pid;

use super::probe::{ProbeCheck, Progress};
use crate::sys::sockets::Listener;
use crate::text::exit_status;

#[derive(Debug, Default)]
pub(super) enum CommandCheck {
    #[default]
    NotRunning,
    Running(Pid),
    Passed,
}

impl ProbeCheck for CommandCheck {
    fn check(&mut self, _: Option<&Listener>) -> io::Result<Progress> {
        Ok(match self {
            Self::NotRunning => Progress::RunCommand,
            Self::Running(_) => Progress::Pending,
            Self::Passed => Progress::Passed,
        })
    }

    fn unanswered(&self) -> String {
        "its readiness command is still running".into()
    }

    fn command_started(&mut self, pid: Pid) {
        *self = Self::Running(pid);
    }

    fn note_exit(&mut self, pid: Pid, status: ExitStatus) -> Option<Progress> {
        if !matches!(self, Self::Running(running) if *running == pid) {
            return None;
        }
        if status.success() {
            *self = Self::Passed;
            return Some(Progress::Passed);
        }
        *self = Self::NotRunning;
        Some(Progress::Failed(format!("its readiness command failed: {}", exit_status(status))))
    }
}
