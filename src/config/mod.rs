//! The config: its file, keys, values and diagnostics.

mod diagnostic;
mod file;
mod from_text;
mod keys;
pub(crate) mod template;
mod values;

pub(crate) use file::{Config, FILE_NAME};
pub(crate) use keys::{ReadyKeys, ServiceKeys};
pub(crate) use values::{OnLeak, Port, ReportKind, ServiceName, Time, Words};
