//! What every room needs while the program runs: time, events, exit codes, fail points.

pub mod clock;
pub mod events;
pub mod exit_code;
pub mod failpoint;
