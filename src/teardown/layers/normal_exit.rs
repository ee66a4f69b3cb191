//! Layer 1: the command ended, pass or fail.
//!
//! Asked to end: what the command left running, and the services. Patience: full. If a recent Ctrl-C made
//! the command end, that counts as the first request, and the next one ends the grace.
//! Exit: the command's own; 121 if it passed, something leaked and `--on-leak fail`.

use nix::sys::signal::Signal;

use super::exit::SessionEnd;
use super::layer::Layer;
use crate::runtime::exit_code::Exit;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NormalExit {
    /// The command was left to handle a Ctrl-C from the terminal.
    pub interrupted: bool,
    /// That was within the grace before its end.
    pub recently: bool,
}

impl Layer for NormalExit {
    fn number(&self) -> u8 {
        1
    }

    fn title(&self) -> &'static str {
        "normal exit"
    }

    fn name(&self) -> &'static str {
        if self.interrupted { "interrupted" } else { "command_ended" }
    }

    fn sentence(&self, _: &[&str]) -> String {
        if self.interrupted { "the command ended after Ctrl-C" } else { "the command ended" }.into()
    }

    fn requests(&self) -> u32 {
        u32::from(self.recently)
    }

    fn exit(&self, end: &SessionEnd) -> Exit {
        if self.interrupted { end.after_signal(Signal::SIGINT) } else { end.like_command() }
    }
}
