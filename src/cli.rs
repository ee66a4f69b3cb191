//! The command line, as clap sees it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::config::{OnLeak, Port, ReportKind, Time};
use crate::containment::Require;
use crate::leaks::allow::Pattern;
use crate::limits::size::{Cpus, Memory, Pids};

/// Run a test session in one transient cgroup: what it starts, ends with it.
///
/// Everything from COMMAND on belongs to COMMAND. `cgrun -- check` runs a program called check.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = false)]
#[command(
    override_usage = "cgrun [OPTIONS] COMMAND [ARG]...\n       cgrun run|doctor|check|sessions|stop|sweep|init"
)]
pub struct Cli {
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in the life of the program")]
pub enum Action {
    /// Run COMMAND in a session (the long form of `cgrun COMMAND`)
    Run(Run),
    /// Post-run check: watched ports free, no stale session; exit 0, 1, or 125 where it is not known
    Check(Check),
    /// Which containment this host gives, why not a stronger one, how to get it
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Live and stale sessions on this host
    Sessions {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End a live session: asked first, then by force; waits for the end
    Stop {
        /// As `cgrun sessions` shows it, or as CGRUN_SESSION
        id: String,
        /// How long it may take after each request [default: 15s]
        #[arg(long, value_name = "DUR", default_value = "15s", hide_default_value = true)]
        grace: Time,
    },
    /// Remove what dead runs left behind
    Sweep {
        /// Only say what would be ended
        #[arg(long)]
        dry_run: bool,
    },
    /// Write a commented cgrun.toml into the working directory
    Init,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub options: RunOptions,
    /// The test command and its arguments, passed on byte for byte
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Default, Args)]
pub struct RunOptions {
    #[command(flatten)]
    pub config: ConfigOptions,
    /// How long a process may take to end after it was asked to [default: 5s]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true)]
    pub grace: Option<Time>,
    /// How long the kernel may go without ending one of the killed processes [default: 2s]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true)]
    pub kill_wait: Option<Time>,
    /// How long what the command leaves behind may take to end by itself [default: 100ms]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true)]
    pub settle: Option<Time>,
    /// End the session after this time, with exit code 124
    #[arg(long, value_name = "DUR", allow_hyphen_values = true)]
    pub timeout: Option<Time>,
    /// Exit 121 where the command passed and something leaked, or only say it [default: report]
    #[arg(long, value_name = "WHAT")]
    pub on_leak: Option<OnLeak>,
    /// What may outlive the command, besides the config's: a program's name, or a command line with * and ?
    #[arg(long, value_name = "PATTERN", action = ArgAction::Append)]
    pub allow: Vec<Pattern>,
    /// Also write a report: json, junit or html; may be given more than once
    #[arg(long = "report", value_name = "KIND=FILE", value_parser = OsStringValueParser::new().try_map(kind_and_file))]
    pub reports: Vec<(ReportKind, PathBuf)>,
    /// End whoever holds a service's port instead of refusing to start
    #[arg(long)]
    pub reclaim_ports: bool,
    /// Hold the session by nothing weaker: cgroup, pidns, tree, or cgroup+pidns for both
    #[arg(long, value_name = "KIND")]
    pub require: Option<Require>,
    /// As root: run services and command as this user, without any capability
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// No program of the session gains privileges (sudo fails); the capability bounding set is emptied
    #[arg(long)]
    pub no_new_privs: bool,
    /// Keep only PATH, TERM, LANG, LC_*, TZ and COLORTERM of the environment
    #[arg(long)]
    pub clean_env: bool,
    /// Where the services' logs go
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    #[command(flatten)]
    pub limits: LimitOptions,
    /// Say nothing but errors and leaks
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also say what held the session, what it used, and what leaked by leave
    #[arg(short, long)]
    pub verbose: bool,
}

/// `json=FILE`. The file's name may be of any bytes.
fn kind_and_file(text: OsString) -> Result<(ReportKind, PathBuf), String> {
    let mut parts = text.as_bytes().splitn(2, |&byte| byte == b'=');
    match (parts.next(), parts.next()) {
        (Some(_), Some(b"-")) => Err("stdout is the command's; name a file".into()),
        (Some(kind), Some(file)) if !file.is_empty() => {
            Ok((String::from_utf8_lossy(kind).parse()?, PathBuf::from(OsStr::from_bytes(file))))
        }
        _ => Err("a report is KIND=FILE, such as json=cgrun.json".into()),
    }
}

#[derive(Debug, Default, Args)]
pub struct LimitOptions {
    /// How much memory the session may use, and no swap: 4GiB, or 50% of the host's
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<Memory>,
    /// How many processes and threads the session may have at a time
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids: Option<Pids>,
    /// How many CPUs the session may keep busy: 1.5, or 50% of the host's
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cpus: Option<Cpus>,
    /// Go on with a warning where a limit cannot be applied
    #[arg(long)]
    pub limits_best_effort: bool,
}

#[derive(Debug, Default, Args)]
pub struct ConfigOptions {
    /// Read this config instead of looking for one from the working directory upwards
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A port to watch; may be given more than once [default: 3000 and 8000]
    #[arg(short, long = "port", value_name = "N", action = ArgAction::Append, allow_hyphen_values = true)]
    pub ports: Vec<Port>,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub config: ConfigOptions,
}
