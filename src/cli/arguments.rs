//! The command line's options and commands, as clap sees them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgGroup, Args, CommandFactory, Parser, Subcommand};

use crate::commands::completions::Shell;
use crate::commands::ps::{Request, Selection, Token};
use crate::config::{OnLeak, ReportKind, StopSignal, Time};
use crate::containment::Require;
use crate::leaks::allow::Pattern;
use crate::limits::{Cpus, Memory, Pids};
use crate::sys::port::Port;

/// Run a test session in one transient cgroup: nothing that it starts outlives it
///
/// Everything from COMMAND on belongs to COMMAND. `cgrun -- check` runs a program called check.
/// The command line overrides the config; `cgrun init` writes a config with all available keys.
/// Each option can also be set by a variable: CGRUN_GRACE=9s means --grace 9s.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = false)]
#[command(
    override_usage = "cgrun [OPTIONS] COMMAND [ARG]...\n       cgrun run|doctor|check|merge|sessions|ps|why|stop|sweep|init|completions|man|schema"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub action: Option<CliCommand>,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Debug, Subcommand)]
// Their options are declared only if the subcommand is used.
#[command(defer = true)]
#[expect(clippy::large_enum_variant, reason = "there is one per process")]
pub(crate) enum CliCommand {
    /// Run COMMAND in a session (the long form of `cgrun COMMAND`)
    Run(Run),
    /// Check that watched ports are free and no session is stale: exit 0 or 1
    ///
    /// The exit code is 125 if that cannot be determined.
    Check(Check),
    /// Show this host's containment and how to get a stronger one
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Merge the JSON reports of many sessions into one, by test and by host
    ///
    /// Without --html, --json, --junit or --markdown, a summary is printed. The exit code is 1 if a report was left out.
    Merge(Merge),
    /// List sessions on this host: live, stale, and recently ended by a guardian or a sweep
    ///
    /// The latter are your own of the last seven days.
    Sessions {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the processes of a session with the test that started each
    ///
    /// With --during or --new-since, the exit code is 1 if there are any. `cgrun -- ps` runs the program ps.
    Ps(PsOptions),
    /// Say what each process of a session waits for, and which one to look at if it hangs
    ///
    /// It only looks: no process is stopped. `cgrun -- why` runs a program called why.
    Why {
        /// The session's id [default: the session that this is in, or the only one of this user]
        id: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Also show where in their code the processes at the end of the chain wait; gdb, eu-stack and jcmd
        /// stop them for a moment, or send them a signal
        #[arg(long)]
        stacks: bool,
        /// Take [diagnose] from this config instead of the nearest cgrun.toml or pyproject.toml
        #[arg(short, long, value_name = "FILE", requires = "stacks")]
        config: Option<PathBuf>,
    },
    /// End a live session, and wait until it has ended
    ///
    /// It is ended by force if it does not exit when asked.
    Stop {
        /// The session's id, as `cgrun sessions` and CGRUN_SESSION show it
        id: String,
        /// How long the session is given to end after each request
        #[arg(long, value_name = "DUR", default_value = "15s")]
        grace: Time,
    },
    /// Clean up after cgrun processes that died
    Sweep {
        /// Only show which sessions would be ended
        #[arg(long)]
        dry_run: bool,
    },
    /// Write a commented cgrun.toml into the working directory
    Init,
    /// Print a completion script for bash, zsh or fish
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, in roff
    Man,
    /// Print the JSON Schema of the config, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub options: RunOptions,
    /// The test command and its arguments, passed on byte for byte
    // The short help has the usage line, and must fit one screen.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, hide_short_help = true)]
    pub command: Vec<OsString>,
}

/// The value of options that a variable or the config switches on or off, and the command line too: `--clean-env=false`.
const SWITCH: &str = "BOOL";

/// Lets an option with this value be written without it.
fn with_optional_value(arg: Arg) -> Arg {
    if arg.get_value_names().is_none_or(|it| it != [SWITCH]) {
        return arg;
    }
    let arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    arg.value_parser(BoolishValueParser::new()).hide_possible_values(true)
}

/// The options' headings in help.
const SESSION: &str = "Session";
const SERVICES: &str = "Services and ports";
const LEAKS: &str = "Leaks and reports";
const CONTAINMENT: &str = "Containment";
const LIMITS: &str = "Limits";

#[derive(Debug, Default, Args)]
#[command(mut_args = with_optional_value)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub config: ConfigOptions,

    /// How long a process is given to exit after it is asked to [default: 5s]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true, help_heading = SESSION)]
    pub grace: Option<Time>,
    /// End the session after this time, with exit code 124
    #[arg(long, value_name = "DUR", allow_hyphen_values = true, help_heading = SESSION)]
    pub timeout: Option<Time>,
    /// End the session, with exit code 124, if the command neither uses the CPU nor reads or writes
    /// anything for this long
    #[arg(long, value_name = "DUR", allow_hyphen_values = true, help_heading = SESSION, hide_short_help = true)]
    pub idle_timeout: Option<Time>,
    /// If the command still runs after this time, say what it is running, and again after twice the
    /// time, and so on
    #[arg(long, value_name = "DUR", allow_hyphen_values = true, help_heading = SESSION, hide_short_help = true)]
    pub warn_after: Option<Time>,
    /// Let a command that runs into a timeout write where it hangs, by this signal, before it is asked to exit
    #[arg(long, value_name = "SIGNAL", help_heading = SESSION, hide_short_help = true)]
    pub timeout_signal: Option<StopSignal>,
    /// How long a process that the command left behind is given to exit on its own before it
    /// counts as a leak [default: 100ms]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true, help_heading = SESSION, hide_short_help = true)]
    pub settle: Option<Time>,
    /// How long the whole cleanup may take; services that are stopped one after another share this time
    /// [default: less than a known CI runner or container engine waits before it kills]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true, help_heading = SESSION, hide_short_help = true)]
    pub stop_within: Option<Time>,
    /// Stop waiting for killed processes if none of them exits for this long [default: 2s]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true, help_heading = SESSION, hide_short_help = true)]
    pub kill_wait: Option<Time>,
    /// Pass on only PATH, TERM, LANG, LC_*, TZ and COLORTERM from the environment
    #[arg(long, value_name = SWITCH, help_heading = SESSION, hide_short_help = true)]
    pub clean_env: Option<bool>,
    /// Print only errors and leaks
    #[arg(short, long, conflicts_with = "verbose", help_heading = SESSION)]
    pub quiet: bool,
    /// Also print the containment, what the session used, and allowed leaks
    #[arg(short, long, help_heading = SESSION)]
    pub verbose: bool,

    /// Stop what holds a service's port, instead of refusing to start
    #[arg(long, value_name = SWITCH, help_heading = SERVICES)]
    pub reclaim_ports: Option<bool>,
    /// Write the services' logs to this directory
    #[arg(long, value_name = "DIR", help_heading = SERVICES, hide_short_help = true)]
    pub logs: Option<PathBuf>,

    /// `report` a leak, or also `fail` with 121 [default: report]
    #[arg(long, value_name = "POLICY", hide_possible_values = true, help_heading = LEAKS)]
    pub on_leak: Option<OnLeak>,
    /// Do not count these processes as leaks: a program's name, or a pattern with * and ? for its
    /// command line (repeatable)
    #[arg(long, value_name = "PATTERN", action = ArgAction::Append, help_heading = LEAKS)]
    pub allow: Vec<Pattern>,
    /// Read the known leaks from this file; they do not fail the session [default: cgrun-leaks.toml next to the config
    /// or, without one, in the working directory, if it exists]
    #[arg(long, value_name = "FILE", help_heading = LEAKS, hide_short_help = true)]
    pub baseline: Option<PathBuf>,
    /// Add everything that leaks in this run to the known leaks
    #[arg(long, conflicts_with = "update_baseline", help_heading = LEAKS, hide_short_help = true)]
    pub write_baseline: bool,
    /// Remove from the known leaks what does not leak in this run, which has to run all tests
    #[arg(long, help_heading = LEAKS, hide_short_help = true)]
    pub update_baseline: bool,
    /// Also write a report: json, junit or html (repeatable)
    #[arg(
        long = "report",
        value_name = "KIND=FILE",
        value_parser = OsStringValueParser::new().try_map(kind_and_file),
        help_heading = LEAKS
    )]
    pub reports: Vec<(ReportKind, PathBuf)>,

    /// Minimum containment to accept: cgroup, pidns, tree, or cgroup+pidns for both
    #[arg(long, value_name = "KIND", help_heading = CONTAINMENT)]
    pub require: Option<Require>,
    /// As root: run services and command as this user, without any capabilities
    #[arg(long, value_name = "NAME", help_heading = CONTAINMENT)]
    pub user: Option<String>,
    /// Do not let any process gain privileges (sudo fails), and empty the capability bounding set
    #[arg(long, value_name = SWITCH, help_heading = CONTAINMENT, hide_short_help = true)]
    pub no_new_privs: Option<bool>,

    #[command(flatten)]
    pub limits: LimitOptions,
}

/// `json=FILE`. The file's name may contain any bytes.
fn kind_and_file(text: OsString) -> Result<(ReportKind, PathBuf), String> {
    let mut parts = text.as_bytes().splitn(2, |&byte| byte == b'=');
    match (parts.next(), parts.next()) {
        (Some(_), Some(b"-")) => Err("stdout belongs to the command; name a file".into()),
        (Some(kind), Some(file)) if !file.is_empty() => {
            Ok((String::from_utf8_lossy(kind).parse()?, PathBuf::from(OsStr::from_bytes(file))))
        }
        _ => Err("write KIND=FILE, such as json=cgrun.json".into()),
    }
}

#[derive(Debug, Default, Args)]
pub(crate) struct LimitOptions {
    /// Maximum memory, not counting swap: 4GiB, or 50% of the host's
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = LIMITS)]
    pub memory: Option<Memory>,
    /// Maximum number of processes and threads
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = LIMITS)]
    pub pids: Option<Pids>,
    /// Maximum CPU use, in CPUs: 1.5, or 50% of the host's
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = LIMITS)]
    pub cpus: Option<Cpus>,
    /// Warn about a limit that cannot be applied, and run without it
    #[arg(long, value_name = SWITCH, help_heading = LIMITS, hide_short_help = true)]
    pub limits_best_effort: Option<bool>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct ConfigOptions {
    /// Read this config instead of the nearest cgrun.toml or pyproject.toml
    #[arg(short, long, value_name = "FILE", help_heading = SESSION)]
    pub config: Option<PathBuf>,
    /// Read no config
    #[arg(long, conflicts_with_all = ["config", "profile"], help_heading = SESSION, hide_short_help = true)]
    pub no_config: bool,
    /// Use this profile of the config [default: ci in CI, if the config has it]
    #[arg(long, value_name = "NAME", help_heading = SESSION, hide_short_help = true)]
    pub profile: Option<String>,
    /// Watch this port (repeatable) [default: 3000 and 8000]
    #[arg(short, long = "port", value_name = "N", action = ArgAction::Append, allow_hyphen_values = true, help_heading = SERVICES)]
    pub ports: Vec<Port>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("selected").args(["during", "new_since"]).multiple(true)))]
pub(crate) struct PsOptions {
    /// The session's id [default: the session that this is in, or the only one of this user]
    pub id: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print only a token for --new-since: this moment, in or outside of a session
    #[arg(long, conflicts_with_all = ["id", "json", "during", "new_since"])]
    pub token: bool,
    /// List only what was started during this test, as reports name it
    #[arg(long, value_name = "TEST")]
    pub during: Option<String>,
    /// List only what the process that calls cgrun, or its test, has started since this token and left running
    #[arg(long, value_name = "TOKEN")]
    pub new_since: Option<Token>,
    /// How long these processes are given to exit on their own before they are listed
    #[arg(long, value_name = "DUR", default_value = "0s")]
    pub settle: Time,
    /// End what is listed, unless it is allowed to outlive the command
    #[arg(long, requires = "selected")]
    pub end: bool,
    /// How long a process is given to exit before it is killed
    #[arg(long, value_name = "DUR", default_value = "5s", requires = "end")]
    pub grace: Time,
    /// Print which of the processes on stdin, as in the leak log, are in the baseline; for hooks
    #[arg(long, hide = true, exclusive = true)]
    pub known: bool,
}

impl PsOptions {
    pub(crate) fn request(self) -> Request {
        let Self { id, json, token, during, new_since, settle, end, grace, known } = self;
        let selection = Selection { during, new_since };
        Request { id, json, token, known, selection, settle: settle.0, end: end.then_some(grace.0) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// What `cgrun --report json=FILE` or `cgrun merge --json FILE` wrote
    #[arg(value_name = "REPORT", required_unless_present = "files_from")]
    pub reports: Vec<PathBuf>,
    /// Also merge the reports that this file names, one in each line; - is stdin
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,
    /// Say what is new since this report, what is gone, and what is still there
    #[arg(long, value_name = "REPORT")]
    pub against: Option<PathBuf>,
    /// What to do about a leak: `report` it, or `fail` with 121; with --against, only about a new one
    #[arg(long, value_name = "POLICY", hide_possible_values = true, default_value = "report")]
    pub on_leak: OnLeak,
    /// Write a page for people; - is stdout
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write a report that can be merged again, and compared with
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a JUnit report, with a suite for each session
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write Markdown, for the summary of a job or for a chat
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// The names of cgrun's own commands.
pub(crate) fn command_names() -> impl Iterator<Item = String> {
    Cli::command()
        .get_subcommands()
        .map(|command| command.get_name().to_string())
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_help_fits_one_screen() {
        let help = Cli::command().term_width(100).render_help().to_string();
        let options = help.lines().filter(|line| line.trim_start().starts_with('-')).count();
        assert!(options <= 24, "{options} options:\n{help}");
        assert!(help.lines().count() <= 50, "{} lines:\n{help}", help.lines().count());
    }
}
