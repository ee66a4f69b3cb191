//! Layer 4: SIGTERM, SIGHUP or SIGQUIT to cgrun, a timeout, or the exit of a critical service or of the process that started
//! cgrun.
//!
//! Sends the command the signal that cgrun received, unless the terminal has already done so (a hangup);
//! SIGTERM if there was no signal. A signal counts as the first request. cgrun dies of the signal, unless the
//! command handled it, and of SIGTERM if its parent exited. The exit code is 124 after a timeout, and 125 if a service
//! exited.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::exit_rules::SessionEnd;
use super::layer::Layer;
use crate::plan::ServiceId;
use crate::runtime::exit_code::{self, Exit};
use crate::sys::signals::Caught;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Termination {
    Signal(Caught),
    /// `--timeout` ran out after this long.
    TimedOut(Duration),
    /// The command has done nothing for as long as `--idle-timeout` says.
    Idle(Duration),
    /// The process that started cgrun has exited, and `--end-with-parent` says to end then.
    ParentExited,
    /// A critical service ended before the command did. The text says how.
    ServiceEnded {
        service: ServiceId,
        how: String,
    },
}

impl Layer for Termination {
    fn number(&self) -> u8 {
        4
    }

    fn title(&self) -> &'static str {
        "termination"
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
            Self::TimedOut(_) => "timed_out",
            Self::Idle(_) => "idle",
            Self::ParentExited => "parent_exited",
            Self::ServiceEnded { .. } => "service_ended",
        }
    }

    fn sentence(&self, services: &[&str]) -> String {
        match self {
            Self::Signal(caught) => format!("cgrun received {}", caught.signal),
            Self::TimedOut(limit) => format!("timed out after {}", humantime::format_duration(*limit)),
            Self::Idle(limit) => format!("the command was idle for {}", humantime::format_duration(*limit)),
            Self::ParentExited => "the process that started cgrun has exited".into(),
            Self::ServiceEnded { service, how } => {
                format!(
                    "service {} {how}; it must outlive the command, unless it has `critical = false`",
                    services[service.position()]
                )
            }
        }
    }

    fn is_explained(&self) -> bool {
        !matches!(self, Self::Signal(_))
    }

    fn failed_service(&self) -> Option<(ServiceId, &str)> {
        match self {
            Self::ServiceEnded { service, how } => Some((*service, how)),
            Self::Signal(_) | Self::TimedOut(_) | Self::Idle(_) | Self::ParentExited => None,
        }
    }

    fn stop_signal(&self) -> Option<Signal> {
        match self {
            Self::Signal(caught) => (!caught.from_terminal).then_some(caught.signal),
            Self::TimedOut(_) | Self::Idle(_) | Self::ParentExited | Self::ServiceEnded { .. } => {
                Some(Signal::SIGTERM)
            }
        }
    }

    fn requests(&self) -> u32 {
        u32::from(matches!(self, Self::Signal(_)))
    }

    fn received(&self) -> Option<Caught> {
        match self {
            Self::Signal(caught) => Some(*caught),
            Self::TimedOut(_) | Self::Idle(_) | Self::ParentExited | Self::ServiceEnded { .. } => None,
        }
    }

    fn exit(&self, end: &SessionEnd) -> Exit {
        match self {
            Self::Signal(caught) => end.after_signal(caught.signal),
            Self::ParentExited => end.after_signal(Signal::SIGTERM),
            Self::TimedOut(_) | Self::Idle(_) => Exit::Code(exit_code::TIMED_OUT),
            Self::ServiceEnded { .. } => Exit::Code(exit_code::FAILED),
        }
    }
}
