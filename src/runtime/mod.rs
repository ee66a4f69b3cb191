//! Services that every other module uses at run time: time, events, exit codes, fail points.

pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod exit_code;
pub(crate) mod failpoint;
