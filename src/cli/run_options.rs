//! The options of a run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, Args};

use crate::config::{OnLeak, Private, ReportKind, StopSignal, Time};
use crate::containment::Require;
use crate::leaks::allow::Pattern;
use crate::limits::{Cpus, Memory, Pids};
use crate::scratch::{Keep, Tmp};
use crate::sys::port::Port;

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
    /// End the session if the process that started cgrun exits
    #[arg(long, value_name = SWITCH, help_heading = SESSION, hide_short_help = true)]
    pub end_with_parent: Option<bool>,
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
    /// Run COMMAND in N private sessions at once
    ///
    /// In its arguments and those of the services, {shard} stands for 1 to N, {index} for 0 to N-1, and {shards} for N. Everything that --private
    /// can make private is, unless that option or the config says otherwise.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=500),
        conflicts_with_all = ["write_baseline", "update_baseline"],
        help_heading = SESSION
    )]
    pub shards: Option<u16>,
    /// End the other shards as soon as one fails
    #[arg(long, requires = "shards", help_heading = SESSION, hide_short_help = true)]
    pub fail_fast: bool,
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
    /// Do not count these as leaks: a program's name, or a pattern (repeatable)
    ///
    /// A pattern is for the command line: * stands for anything, and ? for one character.
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
    /// Also write a report: json, junit, html or summary (repeatable)
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
    /// Give the session its own network (net, or net=outbound for one with a way out), System V IPC (ipc), /dev/shm (shm),
    /// /tmp and /var/tmp (tmp): a list with commas, all, or none [default: none, with --shards all]
    #[arg(long, value_name = "KINDS", help_heading = CONTAINMENT, hide_short_help = true)]
    pub private: Option<Private>,
    /// `host` shares the directory for temporary files, `session` makes one that goes with the session [default: host]
    #[arg(long, value_name = "WHOSE", hide_possible_values = true, help_heading = CONTAINMENT, hide_short_help = true)]
    pub tmp: Option<Tmp>,
    /// Keep that of the session: `never`, `on_failure` or `always` [default: never]
    #[arg(long, value_name = "WHEN", hide_possible_values = true, help_heading = CONTAINMENT, hide_short_help = true)]
    pub keep_tmp: Option<Keep>,
    /// Remove the containers, pods, networks and volumes that the session creates through Docker or podman's service
    #[arg(long, value_name = SWITCH, help_heading = CONTAINMENT, hide_short_help = true)]
    pub containers: Option<bool>,
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
    /// With --shards: give each an equal part of memory, swap, pids and cpus instead of all of it
    #[arg(long, value_name = SWITCH, help_heading = LIMITS, hide_short_help = true)]
    pub divide_limits: Option<bool>,
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
