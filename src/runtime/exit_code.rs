//! The exit codes of cgrun. `teardown` decides which one a session ends with.

use nix::sys::signal::Signal;

/// `cgrun check` found a watched port taken, or a stale session; `cgrun merge` does not know all leaks.
pub(crate) const NOT_CLEAN: u8 = 1;
/// The command passed, but something leaked, and `--on-leak fail`.
pub(crate) const LEAKED: u8 = 121;
/// Something survived, or the check could not be completed.
pub(crate) const NOT_PROVEN: u8 = 122;
/// `--timeout` or `--idle-timeout` ran out.
pub(crate) const TIMED_OUT: u8 = 124;
/// cgrun could not do its job.
pub(crate) const FAILED: u8 = 125;
/// The command cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// How this process should exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(u8),
    /// Die of the signal that cgrun received, so that shells and CI see it.
    Signal(Signal),
}
