//! The leaks that a team knows and has not fixed yet, in a file of their repository: `cgrun-leaks.toml`.
//!
//! Each is a line of its own, which names its owner and its program, so that lines that two people add can be merged, and
//! both be kept in a conflict. Known leaks are ended like all others, and do not fail a session.

mod edit;
#[cfg(test)]
mod edit_tests;
mod entry;
mod error;
mod file;
mod judge;
mod known_leaks;
mod pattern;

pub(crate) use edit::Edited;
pub(crate) use entry::Entry;
pub(crate) use error::BaselineError;
pub(crate) use file::{Baseline, FILE_NAME};
pub(crate) use known_leaks::{KNOWN_LEAKS, KnownLeaks};
