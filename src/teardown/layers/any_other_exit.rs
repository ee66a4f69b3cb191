//! Layer 5: cgrun itself failed.
//!
//! Either it met a panic or an error where none should be, and tears down while it unwinds; or the supervisor
//! is dead (a crash, SIGKILL, out of memory), and the guardian or `cgrun sweep` ends the session in its place.
//! Asked to end: by a failing supervisor, everything, with full patience. After its death nothing is asked:
//! nothing is left that could wait, and the sooner all is killed, the less can escape.
//! Exit: 125. A dead supervisor has no exit code; whatever killed it determines what its parent sees.

use super::exit::SessionEnd;
use super::layer::{Layer, NO_MORE_GRACE};
use crate::runtime::exit_code::{self, Exit};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnyOtherExit {
    /// A panic, or an error that left nothing to do but to end; says which.
    Broken(String),
    /// The supervisor is dead, and another process ends its session.
    SupervisorDied,
}

impl Layer for AnyOtherExit {
    fn number(&self) -> u8 {
        5
    }

    fn title(&self) -> &'static str {
        "failure of cgrun"
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Broken(_) => "internal_error",
            Self::SupervisorDied => "supervisor_died",
        }
    }

    fn sentence(&self, _: &[&str]) -> String {
        match self {
            Self::Broken(why) => why.clone(),
            Self::SupervisorDied => "cgrun was killed, and its guardian ended the session".into(),
        }
    }

    fn is_explained(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    fn requests(&self) -> u32 {
        match self {
            Self::Broken(_) => 0,
            Self::SupervisorDied => NO_MORE_GRACE,
        }
    }

    fn exit(&self, _: &SessionEnd) -> Exit {
        Exit::Code(exit_code::FAILED)
    }
}
