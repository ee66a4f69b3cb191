//! cgrun: what a test session starts, ends with it.

mod cli;
mod commands;
mod config;
mod containment;
mod guardian;
mod leaks;
mod limits;
mod plan;
mod ports;
mod readiness;
mod registry;
mod report;
mod runtime;
mod session;
mod sys;
mod teardown;
mod text;

use std::path::PathBuf;
use std::process::exit;

use anyhow::{Context, Result};
use clap::Parser;

use cli::{Action, Cli, ConfigOptions, Run};
use config::Config;
use plan::Verbosity;
use report::Reporter;
use runtime::exit_code::{self, Exit};
use session::program::ProgramError;

fn main() -> ! {
    sys::signals::die_of_crashes();
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        exit(if error.use_stderr() { exit_code::FAILED.into() } else { 0 });
    });
    // A panic has torn the session down while it unwound; the hook has said where it was.
    let result = std::panic::catch_unwind(|| dispatch(cli));
    match result.unwrap_or(Ok(Exit::Code(exit_code::FAILED))) {
        Ok(Exit::Code(code)) => exit(code.into()),
        Ok(Exit::Signal(signal)) => sys::signals::die_of(signal),
        Err(error) => {
            Reporter::new(Verbosity::Normal).error(&text::error_chain(&error));
            exit(code_of(&error).into())
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit> {
    let report = Reporter::new(Verbosity::Normal);
    let records = plan::records(&state_directory());
    match cli.action {
        None => run(cli.run),
        Some(Action::Run(args)) => run(args),
        Some(Action::Check(args)) => {
            let config = find_config(&args.config)?;
            commands::check::check(&plan::watched_ports(&args.config, config.as_ref())?, &report)
        }
        Some(Action::Doctor { json }) => commands::doctor::doctor(json),
        Some(Action::Sessions { json }) => commands::sessions::print_sessions(&records, json),
        Some(Action::Stop { id, grace }) => commands::stop::stop(&id, grace.0, &records, &report),
        Some(Action::Sweep { dry_run }) => commands::sweep::sweep(&records, dry_run, &report),
        Some(Action::Init) => commands::init::init(&report),
    }
}

fn run(args: Run) -> Result<Exit> {
    let config = find_config(&args.options.config)?;
    let plan = plan::plan(args, config.as_ref(), working_directory()?, state_directory())?;
    let report = Reporter::new(plan.verbosity);
    session::run(plan, &report)
}

fn find_config(options: &ConfigOptions) -> Result<Option<Config>> {
    match &options.config {
        Some(path) => Ok(Some(Config::read(&working_directory()?.join(path))?)),
        None => Ok(Config::discover(&working_directory()?)?),
    }
}

fn working_directory() -> Result<PathBuf> {
    std::env::current_dir().context("the working directory is gone; enter one that exists")
}

/// Where programs keep what they note for later, by the XDG base directory specification.
fn state_directory() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("cgrun")
}

fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(ProgramError::NotFound { .. }) => exit_code::NOT_FOUND,
        Some(ProgramError::NotExecutable { .. }) => exit_code::NOT_EXECUTABLE,
        _ => exit_code::FAILED,
    }
}
