//! The leaks: which processes are still alive, during which test each was started, and which the user allows.

pub(crate) mod allow;
mod attribution;
mod current_test;
mod detail;
mod held;
mod leak;
mod log;
mod log_entry;
mod origin;
mod owner;
mod pause;
mod program;
#[cfg(test)]
mod program_tests;
mod roots;
mod runners;
mod snapshot;
mod spaced_paths;

pub(crate) use attribution::infer_origins;
pub(crate) use current_test::{CurrentTest, TestReader};
pub(crate) use detail::Detail;
pub(crate) use held::SHARED;
pub(crate) use leak::{EndedBy, How, Leak, Place};
pub(crate) use log::LARGEST as LARGEST_LOG;
pub(crate) use log::{LEAK_LOG, LeakLog, Logged, append_to_log, remove_stale_log};
pub(crate) use log_entry::{LogEntry, LoggedProcess};
pub(crate) use origin::{Evidence, Origin, worker_text};
pub(crate) use owner::Owner;
pub(crate) use program::program;
pub(crate) use roots::roots;
pub(crate) use runners::{InheritedMarks, bats_name, origin_in, variable_names};
pub(crate) use snapshot::{Frozen, Snapshot, describe_all, describe_one};
