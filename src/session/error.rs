//! Why a session cannot start or continue, and how cgrun exits in that case.

use std::fmt::Display;

use nix::sys::signal::Signal;

use super::program_lookup::ProgramError;
use crate::runtime::exit_code::{self, Exit};
use crate::teardown::{AnyOtherExit, Cause, StartupFailure};
use crate::text::error_chain;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{}", error_chain(.0))]
    NotFound(anyhow::Error),
    #[error("{}", error_chain(.0))]
    NotExecutable(anyhow::Error),
    /// A signal asked cgrun to stop.
    #[error("{0} arrived before cgrun had started anything")]
    Interrupted(Signal),
    #[error("{}", error_chain(.0))]
    Other(#[from] anyhow::Error),
}

impl SessionError {
    /// Adds the operation that failed.
    pub(crate) fn context(self, text: impl Display + Send + Sync + 'static) -> Self {
        match self {
            Self::NotFound(error) => Self::NotFound(error.context(text)),
            Self::NotExecutable(error) => Self::NotExecutable(error.context(text)),
            Self::Interrupted(signal) => Self::Interrupted(signal),
            Self::Other(error) => Self::Other(error.context(text)),
        }
    }

    /// How cgrun exits if nothing was started.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NotFound(_) => Exit::Code(exit_code::NOT_FOUND),
            Self::NotExecutable(_) => Exit::Code(exit_code::NOT_EXECUTABLE),
            Self::Interrupted(signal) => Exit::Signal(*signal),
            Self::Other(_) => Exit::Code(exit_code::FAILED),
        }
    }

    /// Why a session that has begun is torn down.
    pub(crate) fn cause(&self) -> Cause {
        let why = self.to_string();
        match self {
            Self::NotFound(_) => Cause::StartupFailure(StartupFailure::Command { found: false, why }),
            Self::NotExecutable(_) => Cause::StartupFailure(StartupFailure::Command { found: true, why }),
            Self::Interrupted(_) | Self::Other(_) => Cause::AnyOtherExit(AnyOtherExit::Broken(why)),
        }
    }
}

impl From<ProgramError> for SessionError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::NotFound { .. } => Self::NotFound(error.into()),
            ProgramError::NotExecutable { .. } | ProgramError::Refused { .. } => {
                Self::NotExecutable(error.into())
            }
            ProgramError::WorkingDirectory { .. } | ProgramError::Nul => Self::Other(error.into()),
        }
    }
}
