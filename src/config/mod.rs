//! The config: its file, keys, values and diagnostics.

mod diagnostic;
mod file;
mod from_text;
mod keys;
pub mod template;
mod values;

pub use file::{Config, FILE_NAME};
pub use keys::{ReadyKeys, ServiceKeys};
pub use values::{OnLeak, Port, ReportKind, ServiceName, Time, Words};
