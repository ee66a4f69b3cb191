//! The decisions that differ between layers.

use nix::sys::signal::Signal;

use super::exit_rules::SessionEnd;
use crate::plan::ServiceId;
use crate::runtime::exit_code::Exit;
use crate::sys::signals::Caught;

/// After this many requests we stop waiting and kill all that is left.
pub(crate) const NO_MORE_GRACE: u32 = 2;

pub(super) trait Layer {
    /// Its number in the table of layers.
    fn number(&self) -> u8;

    /// The layer's name for people.
    fn title(&self) -> &'static str;

    /// The cause's name in the JSON report.
    fn name(&self) -> &'static str;

    /// The cause in one sentence, given the names of the plan's services.
    fn sentence(&self, services: &[&str]) -> String;

    /// Whether the sentence is printed. An action of the command or the user needs no explanation.
    fn is_explained(&self) -> bool {
        false
    }

    /// The service that ended the session, and what happened to it.
    fn failed_service(&self) -> Option<(ServiceId, &str)> {
        None
    }

    /// The signal that asks a running command to exit; `None` if the terminal has already sent it.
    fn stop_signal(&self) -> Option<Signal> {
        Some(Signal::SIGTERM)
    }

    /// How many times we were asked to stop before the teardown began.
    fn requests(&self) -> u32 {
        0
    }

    /// The signal that began the teardown, if one did. Its echo does not count as a second request.
    fn received(&self) -> Option<Caught> {
        None
    }

    /// How cgrun exits. The rules that all layers share are in [`SessionEnd`].
    fn exit(&self, end: &SessionEnd) -> Exit;
}
