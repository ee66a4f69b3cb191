//! The config: its file, keys, values and diagnostics.

mod diagnose;
mod diagnostic;
mod discover;
mod file;
mod forward;
mod from_text;
mod keys;
mod private_keys;
mod private_kinds;
mod profiles;
mod schema;
pub(crate) mod template;
mod toml_terms;
mod trust;
mod value_schemas;
mod values;

pub(crate) use diagnostic::ConfigError;
pub(crate) use discover::find_trusted;
pub(crate) use file::{Config, FILE_NAME};
pub(crate) use forward::Forward;
pub(crate) use keys::{ReadyKeys, ServiceKeys};
pub(crate) use private_keys::PrivateKeys;
pub(crate) use private_kinds::{Network, Private};
pub(crate) use schema::schema;
pub(crate) use toml_terms::in_toml_terms;
pub(crate) use trust::{Distrust, TrustedUsers};
pub(crate) use values::{OnLeak, ReportKind, ServiceInput, ServiceName, StopSignal, Time, Words};
