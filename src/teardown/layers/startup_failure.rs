//! Layer 2: the tests never ran, because a service or the command could not be started.
//!
//! Asks the services that are already running to exit, with the full grace. The exit code is 125 for a
//! service, and 126 or 127 for the command, as in shells.

use super::exit_rules::SessionEnd;
use super::layer::Layer;
use crate::plan::ServiceId;
use crate::runtime::exit_code::{self, Exit};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartupFailure {
    /// A service could not be started, exited, or did not become ready.
    Service { service: ServiceId, why: String },
    /// The command cannot be executed. If it was not `found`, it disappeared after the preflight.
    Command { found: bool, why: String },
}

impl Layer for StartupFailure {
    fn number(&self) -> u8 {
        2
    }

    fn title(&self) -> &'static str {
        "startup failure"
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Service { .. } => "startup_failed",
            Self::Command { .. } => "command_not_executed",
        }
    }

    fn sentence(&self, services: &[&str]) -> String {
        match self {
            Self::Service { service, why } => format!("service {} {why}", services[service.position()]),
            Self::Command { why, .. } => why.clone(),
        }
    }

    fn is_explained(&self) -> bool {
        true
    }

    fn failed_service(&self) -> Option<(ServiceId, &str)> {
        match self {
            Self::Service { service, why } => Some((*service, why)),
            Self::Command { .. } => None,
        }
    }

    fn exit(&self, _: &SessionEnd) -> Exit {
        Exit::Code(match self {
            Self::Service { .. } => exit_code::FAILED,
            Self::Command { found: true, .. } => exit_code::NOT_EXECUTABLE,
            Self::Command { found: false, .. } => exit_code::NOT_FOUND,
        })
    }
}
