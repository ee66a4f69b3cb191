//! The config: its file, keys, values and diagnostics.

mod diagnostic;
mod discover;
mod file;
mod from_text;
mod keys;
pub(crate) mod template;
mod trust;
mod values;

pub(crate) use file::{Config, FILE_NAME};
pub(crate) use keys::{ReadyKeys, ServiceKeys};
pub(crate) use trust::TrustedUsers;
pub(crate) use values::{OnLeak, ReportKind, ServiceInput, ServiceName, Time, Words};
