//! What every room needs while the program runs: time, events, exit codes, fail points.

pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod exit_code;
pub(crate) mod failpoint;
