//! Layer 5: cgrun itself failed.
//!
//! Either cgrun met an unexpected panic or error, and tears down the session while unwinding, or the
//! supervisor is dead (a crash, SIGKILL, out of memory), and the guardian or `cgrun sweep` tears down the
//! session in its place. A failing supervisor asks everything to exit, with the full grace. After its death
//! all processes are killed at once: the sooner that happens, the less can escape. Containers of an engine cannot, and keep
//! their grace. The exit code is 125. A dead supervisor has none; its parent sees the signal that killed it.

use super::exit_rules::SessionEnd;
use super::layer::{Layer, NO_MORE_GRACE};
use crate::runtime::exit_code::{self, Exit};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnyOtherExit {
    /// A panic, or an error after which the session could not continue. The text says which.
    Broken(String),
    /// The supervisor is dead, and another process tears down its session.
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
