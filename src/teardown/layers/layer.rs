//! What each layer decides for itself.

use nix::sys::signal::Signal;

use super::exit::SessionEnd;
use crate::plan::ServiceId;
use crate::runtime::exit_code::Exit;
use crate::sys::signals::Caught;

/// After this many requests nothing is waited for: what is left is killed.
pub(crate) const NO_MORE_GRACE: u32 = 2;

pub(super) trait Layer {
    /// Its row in the table of layers.
    fn number(&self) -> u8;

    /// The layer's name for people.
    fn title(&self) -> &'static str;

    /// The cause's name in the JSON report.
    fn name(&self) -> &'static str;

    /// The cause in one sentence, given the names of the plan's services.
    fn sentence(&self, services: &[&str]) -> String;

    /// Whether the sentence is printed: what the command or the user did needs no explanation.
    fn is_explained(&self) -> bool {
        false
    }

    /// The service that ended the session, and what happened to it.
    fn failed_service(&self) -> Option<(ServiceId, &str)> {
        None
    }

    /// The signal that asks a command that still runs to end; `None` if the terminal has sent it already.
    fn stop_signal(&self) -> Option<Signal> {
        Some(Signal::SIGTERM)
    }

    /// How many requests to end were made before the teardown began.
    fn requests(&self) -> u32 {
        0
    }

    /// The request that began the teardown, if it was a signal: its echo is no second request.
    fn received(&self) -> Option<Caught> {
        None
    }

    /// How cgrun ends. The rules that all layers share are in [`SessionEnd`].
    fn exit(&self, end: &SessionEnd) -> Exit;
}
