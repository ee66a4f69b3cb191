//! Layer 3: SIGINT, during startup, the tests or the cleanup.
//!
//! The first Ctrl-C while the command runs is left to the command, and ends the session only if the command
//! exits (layer 1). Layer 3 begins with a second Ctrl-C, with one during startup, or with a SIGINT sent to
//! cgrun alone. Sends the command SIGINT, unless the terminal has already done so. It counts as the first or
//! second request, and so does one during the cleanup. cgrun dies of SIGINT, unless the command handled it.

use nix::sys::signal::Signal;

use super::exit_rules::SessionEnd;
use super::layer::Layer;
use crate::runtime::exit_code::Exit;
use crate::sys::signals::Caught;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CtrlC {
    /// Whether the terminal has also sent SIGINT to the command.
    pub from_terminal: bool,
    /// Whether it was not the first one.
    pub again: bool,
}

impl Layer for CtrlC {
    fn number(&self) -> u8 {
        3
    }

    fn title(&self) -> &'static str {
        "Ctrl-C"
    }

    fn name(&self) -> &'static str {
        "signal"
    }

    fn sentence(&self, _: &[&str]) -> String {
        format!("cgrun received {}", Signal::SIGINT)
    }

    fn stop_signal(&self) -> Option<Signal> {
        (!self.from_terminal).then_some(Signal::SIGINT)
    }

    fn requests(&self) -> u32 {
        1 + u32::from(self.again)
    }

    fn received(&self) -> Option<Caught> {
        Some(Caught { signal: Signal::SIGINT, from_terminal: self.from_terminal })
    }

    fn exit(&self, end: &SessionEnd) -> Exit {
        end.after_signal(Signal::SIGINT)
    }
}
