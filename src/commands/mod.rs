//! All cgrun commands except `run`, one file each.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod man;
pub(crate) mod merge;
mod output;
pub(crate) mod ps;
pub(crate) mod schema;
pub(crate) mod sessions;
pub(crate) mod stop;
pub(crate) mod sweep;
pub(crate) mod why;
