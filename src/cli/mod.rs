//! The command line.

mod arguments;
mod parse;
mod plain;
mod shells;
mod variables;

pub(crate) use arguments::{
    Cli, CliCommand, ConfigOptions, LimitOptions, Merge, Run, RunOptions, command_names,
};
pub(crate) use parse::parse;
pub(crate) use shells::{command_for_completions, command_for_man_page};
pub(crate) use variables::misspelled;
