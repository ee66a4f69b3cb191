//! Services that every other module uses at run time: the CI system, time, events, exit codes, fail points, the state
//! directory, the working directory.

pub(crate) mod ci;
pub(crate) mod clock;
mod double_requests;
pub(crate) mod events;
pub(crate) mod exit_code;
pub(crate) mod failpoint;
pub(crate) mod state_directory;
pub(crate) mod working_directory;
