//! Layer 1: the command exited, pass or fail.
//!
//! Asks the processes that the command left running, and the services, to exit, with the full grace. If a
//! recent Ctrl-C made the command exit, it counts as the first request, and the next one ends the grace. cgrun
//! dies of the signal of a key that was left to the command, if the command died of it. Otherwise, the
//! exit code is the command's own, or 121 if it passed, something leaked and `--on-leak fail` is set.

use nix::sys::signal::Signal;

use super::exit_rules::SessionEnd;
use super::layer::Layer;
use crate::runtime::exit_code::Exit;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NormalExit {
    /// Whether a Ctrl-C from the terminal was left to the command.
    pub interrupted: bool,
    /// Whether that was within the grace period before the command exited.
    pub recently: bool,
    /// Whether a Ctrl-\ from the terminal was left to the command.
    pub quit: bool,
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
        match (self.interrupted, self.quit) {
            (_, true) if end.died_of(Signal::SIGQUIT) => Exit::Signal(Signal::SIGQUIT),
            (true, _) => end.after_signal(Signal::SIGINT),
            (false, _) => end.like_command(),
        }
    }
}
