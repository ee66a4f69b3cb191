//! Parses the command line, and the environment variables that stand for options.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use super::arguments::Cli;
use super::plain::plain_command;
use super::run_options::{Run, RunOptions};
use super::variables::options_from_variables;

pub(crate) fn parse() -> Result<Cli, Error> {
    let words: Vec<OsString> = std::env::args_os().collect();
    match plain_command(&words, std::env::vars_os().map(|(name, _)| name)) {
        Some(command) => Ok(Cli { action: None, run: Run { options: RunOptions::default(), command } }),
        None => parse_from(words, |name| std::env::var_os(name)),
    }
}

/// The options from variables are parsed as if they had been given first.
pub(super) fn parse_from(
    mut words: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Cli, Error> {
    let mut command = Cli::command();
    let mut matches = command.try_get_matches_from_mut(&words).map_err(without_wrong_tip)?;
    let (at, options) = match matches.subcommand() {
        None => (1, options_from_variables(&command, &matches, variable)?),
        Some((name @ ("run" | "check"), matches)) => match command.find_subcommand(name) {
            Some(command) => (2, options_from_variables(command, matches, variable)?),
            None => (2, Vec::new()),
        },
        Some(_) => (2, Vec::new()),
    };
    if !options.is_empty() {
        words.splice(at..at, options);
        matches = command.try_get_matches_from_mut(&words)?;
    }
    Cli::from_arg_matches(&matches)
}

/// clap advises to put `--` before an unknown option. That would run a program of its name.
fn without_wrong_tip(mut error: Error) -> Error {
    if error.kind() == ErrorKind::UnknownArgument {
        if let Some(ContextValue::StyledStrs(tips)) = error.remove(ContextKind::Suggested) {
            let right = tips.into_iter().filter(|tip| !tip.to_string().contains("as a value, use"));
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(right.collect()));
        }
    }
    error
}
