//! The command line.

mod arguments;
mod command_options;
mod parse;
mod plain;
mod run_options;
mod shells;
mod variables;

pub(crate) use arguments::{Cli, CliCommand, command_names};
pub(crate) use command_options::Merge;
pub(crate) use parse::parse;
pub(crate) use run_options::{ConfigOptions, LimitOptions, Run, RunOptions};
pub(crate) use shells::{command_for_completions, command_for_man_page};
pub(crate) use variables::misspelled;
