//! cgrun: everything a test session starts ends with the session.

// Only the GNU C library gives the arguments to a program that std does not start.
#![cfg_attr(all(not(test), target_env = "gnu"), no_main)]

mod baseline;
mod cli;
mod commands;
mod config;
mod containers;
mod containment;
mod counts;
mod guardian;
mod leaks;
mod leftovers;
mod limits;
mod merge;
mod plan;
mod ports;
mod private;
mod readiness;
mod registry;
mod report;
mod runtime;
mod scratch;
mod session;
mod shards;
mod stacks;
mod sys;
mod teardown;
mod text;
mod why;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use cli::{Cli, CliCommand, ConfigOptions, Run};
use config::{Config, TrustedUsers};
use plan::{SessionPlan, Verbosity};
use report::Reporter;
use runtime::ci::Ci;
use runtime::exit_code::{self, Exit};
use runtime::{state_directory, working_directory};
use session::SessionError;
use shards::Shards;
use stacks::Rules;
use sys::process::starters::Starters;

#[cfg(all(not(test), target_env = "gnu"))]
sys::entry::begin_with!(start);

#[cfg(not(all(not(test), target_env = "gnu")))]
fn main() {
    sys::signals::die_of_crashes();
    start();
}

fn start() -> ! {
    sys::preload::shed_libraries();
    let cli = cli::parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { exit_code::FAILED.into() } else { 0 });
    });
    // If a panic occurs, the session is torn down while it unwinds, and the panic hook prints its location.
    let result = std::panic::catch_unwind(|| dispatch(cli));
    let exit = result.unwrap_or(Ok(Exit::Code(exit_code::FAILED))).unwrap_or_else(|error| {
        if !matches!(error, SessionError::Interrupted(_)) {
            Reporter::new(Verbosity::Normal).error(&error.to_string());
        }
        error.exit()
    });
    match exit {
        Exit::Code(code) => std::process::exit(code.into()),
        Exit::Signal(signal) => sys::signals::die_of(signal),
    }
}

fn dispatch(cli: Cli) -> Result<Exit, SessionError> {
    sys::process::descriptor_limit::raise();
    let report = Reporter::new(Verbosity::Normal);
    let records = || plan::records(&state_directory::locate(|warning| report.say(warning)));
    Ok(match cli.action.unwrap_or(CliCommand::Run(cli.run)) {
        CliCommand::Run(args) => run(args)?,
        CliCommand::Check(args) => {
            let config = find_config(&args.config, &TrustedUsers::of_this_run(None))?;
            let watched = plan::watched_ports(&args.config, config.as_ref())?;
            commands::check::check(&watched, args.json, &report)?
        }
        CliCommand::Doctor { json, user } => commands::doctor::doctor(json, user.as_deref())?,
        CliCommand::Merge(args) => commands::merge::merge(args, &report)?,
        CliCommand::Sessions(options) => commands::sessions::sessions(&options.request()?, records, &report)?,
        CliCommand::Ps(options) => commands::ps::ps(&options.request(), records, &report)?,
        CliCommand::Why { id, json, stacks, config } => {
            let rules = if stacks { Some(diagnose(config)?) } else { None };
            commands::why::why(id.as_deref(), json, rules.as_ref(), records, &report)?
        }
        CliCommand::Stop { id, grace } => commands::stop::stop(&id, grace.0, &records(), &report)?,
        CliCommand::Sweep { dry_run } => commands::sweep::sweep(&records(), dry_run, &report)?,
        CliCommand::Init => commands::init::init(&report)?,
        CliCommand::Completions { shell } => {
            commands::completions::print_script(shell, cli::command_for_completions())?
        }
        CliCommand::Schema => commands::schema::print_schema()?,
        CliCommand::Man => commands::man::print_page(cli::command_for_man_page())?,
    })
}

fn run(args: Run) -> Result<Exit, SessionError> {
    sys::process::first_process::stand_before();
    let options = &args.options;
    let shards = options.shards.map(|count| Shards { count, fail_fast: options.fail_fast });
    let cwd = working_directory()?;
    let trusted = TrustedUsers::of_this_run(options.user.as_deref());
    let config = find_config(&options.config, &trusted)?;
    let baseline = plan::baseline(options, config.as_ref(), &cwd, &trusted)?;
    let mut warning = None;
    let state = state_directory::locate(|text| warning = Some(text.to_string()));
    let plan = SessionPlan { baseline, ..plan::plan(args, config.as_ref(), cwd, state)? };
    let report = Reporter::new(plan.verbosity);
    if plan.verbosity == Verbosity::Verbose {
        config.iter().filter_map(Config::used_profile).for_each(|profile| report.say(&profile));
        plan.baseline.iter().for_each(|it| report.say(&it.text()));
    }
    warning.iter().for_each(|warning| report.say(warning));
    for (name, meant) in cli::misspelled(std::env::vars_os().map(|(name, _)| name)) {
        report.say(&format!("the variable {name} is unknown; did you mean {meant}?"));
    }
    let starters = plan.end_with_parent.then(Starters::find).transpose();
    let starters = starters.context("cannot end with the process that started cgrun (--end-with-parent)")?;
    match shards {
        Some(shards) => shards::run(plan, shards, starters, &report),
        None => session::run(plan, starters, &report),
    }
}

/// The tools that the config names for the stacks of hung processes.
fn diagnose(config: Option<PathBuf>) -> Result<Rules> {
    let options = ConfigOptions { config, ..ConfigOptions::default() };
    let config = find_config(&options, &TrustedUsers::of_this_run(None))?;
    Ok(config.as_ref().map(Config::rules).unwrap_or_default())
}

fn find_config(options: &ConfigOptions, trusted: &TrustedUsers) -> Result<Option<Config>> {
    let config = match &options.config {
        _ if options.no_config => return Ok(None),
        Some(path) => Some(Config::read(&working_directory()?.join(path))?),
        None => Config::discover(&working_directory()?, trusted)?,
    };
    let profile = options.profile.as_deref();
    match (config, profile) {
        (Some(config), _) => Ok(Some(config.with_profile(profile, Ci::detect())?)),
        (None, Some(name)) => {
            bail!("there is no profile {name:?}, because there is no config; write one, or name it with -c")
        }
        (None, None) => Ok(None),
    }
}

fn working_directory() -> Result<PathBuf> {
    working_directory::path().context("the working directory no longer exists; change to one that does")
}
