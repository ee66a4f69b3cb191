//! The six layers: whatever ends a session, one of these is its cause, and all lead to
//! [`tear_down`](super::tear_down).
//!
//! | layer | when | entry |
//! |---|---|---|
//! | 1 normal | the command ended, pass or fail | session |
//! | 2 startup failure | a service failed or never became ready; the command cannot be executed | session |
//! | 3 Ctrl-C | SIGINT: at startup, during the tests, during clean-up | session |
//! | 4 termination | SIGTERM, SIGHUP, SIGQUIT; the timeout; a service that ended | session |
//! | 5 any other exit | a panic or an error of our own | `Drop` of the session |
//! | | a crash, SIGKILL or out-of-memory kill of the supervisor | guardian, `cgrun sweep` |
//! | 6 orphans | what escaped, after each of the above | `tear_down` itself |

use nix::sys::signal::Signal;

use crate::sys::signals::Caught;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `interrupted` where it was left to handle a Ctrl-C, `lately` where that was within the grace.
    CommandEnded {
        interrupted: bool,
        lately: bool,
    },
    StartupFailed {
        service: usize,
        why: String,
    },
    /// A signal came to us. `again` where it was not the first one.
    Signal {
        caught: Caught,
        again: bool,
    },
    TimedOut,
    ServiceEnded {
        service: usize,
        how: String,
    },
    /// The command cannot be executed, or is gone (not `found`) since we looked; says why.
    NotExecuted {
        found: bool,
        why: String,
    },
    /// We cannot go on: a panic, or an error where none should be.
    Broken(String),
    /// The supervisor is dead; whoever ends the session now is not it.
    SupervisorDied,
}

impl Cause {
    /// Which of the layers this is.
    pub fn layer(&self) -> u8 {
        match self {
            Self::CommandEnded { .. } => 1,
            Self::StartupFailed { .. } | Self::NotExecuted { .. } => 2,
            Self::Signal { caught: Caught { signal: Signal::SIGINT, .. }, .. } => 3,
            Self::Signal { .. } | Self::TimedOut | Self::ServiceEnded { .. } => 4,
            Self::Broken(_) | Self::SupervisorDied => 5,
        }
    }

    /// The signal that asked for the end, if one did.
    pub fn signal(&self) -> Option<Signal> {
        match self {
            Self::Signal { caught, .. } => Some(caught.signal),
            Self::CommandEnded { interrupted: true, .. } => Some(Signal::SIGINT),
            _ => None,
        }
    }

    /// What asks a command that still runs to end; `None` where the terminal has told it already.
    pub fn stop_signal(&self) -> Option<Signal> {
        match self {
            Self::Signal { caught, .. } => (!caught.from_terminal).then_some(caught.signal),
            _ => Some(Signal::SIGTERM),
        }
    }
}
