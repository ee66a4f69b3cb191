//! The keys of the config. An unknown key is an error.
//!
//! `cgrun schema` is generated from these types, and their comments are its descriptions, which editors show. They are
//! written for the users of the config.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::diagnose::Diagnose;
use super::private_keys::PrivateKeys;
use super::value_schemas;
use super::values::{OnLeak, ReportKind, ServiceInput, ServiceName, StopSignal, Time, Variable, Word, Words};
use crate::containment::Require;
use crate::leaks::allow::Pattern;
use crate::limits::{Limits, SessionLimits};
use crate::scratch::{Keep, Tmp};
use crate::sys::port::Port;

/// The config of cgrun: cgrun.toml, or [tool.cgrun] in pyproject.toml.
#[derive(Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "the tables session, services, limits, diagnose, private and profiles"
)]
pub(crate) struct ConfigKeys {
    /// How a session runs, ends and is reported.
    pub session: SessionKeys,
    /// What is started before the command and stopped after it. The key of each table is the name of the service.
    #[schemars(with = "BTreeMap<ServiceName, ServiceKeys>")]
    pub services: BTreeMap<ServiceName, Spanned<ServiceKeys>>,
    /// What the whole session can use.
    pub limits: SessionLimits,
    /// The tool that reads the stack of a hung process, for programs whose name or command line matches the key, as in allow:
    /// its words, in which {pid} stands for the process, or false for no tool.
    pub diagnose: Diagnose,
    /// What the session has of its own, instead of sharing it with the host.
    pub private: PrivateKeys,
    /// Keys that replace those of session, limits and private if the profile is used: with --profile NAME or CGRUN_PROFILE, and the
    /// profile ci also in CI.
    pub profiles: BTreeMap<String, ProfileKeys>,
}

/// Keys that replace those of the config.
#[derive(Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { session = { on_leak = \"fail\" } }")]
pub(crate) struct ProfileKeys {
    /// Keys that replace those of [session], one by one.
    pub session: SessionKeys,
    /// Keys that replace those of [limits], one by one.
    pub limits: SessionLimits,
    /// Keys that replace those of [private], one by one.
    pub private: PrivateKeys,
}

#[derive(Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { ports = [3000] }")]
pub(crate) struct SessionKeys {
    /// Ports that must be free after the session, in addition to the services' own. By default 3000 and 8000.
    pub ports: Option<Vec<Port>>,
    /// How long a process is given to exit after it is asked to. Then it is killed. By default 5s.
    pub grace: Option<Time>,
    /// How long the whole cleanup may take. By default, after a signal, less than a known CI runner or container engine waits
    /// before it kills.
    pub stop_within: Option<Time>,
    /// Stop waiting for killed processes if none of them exits for this long. By default 2s.
    pub kill_wait: Option<Time>,
    /// How long a process that the command left behind is given to exit on its own before it counts as a leak. By default
    /// 100ms.
    pub settle: Option<Time>,
    /// End the session after this time, with exit code 124. By default there is no timeout.
    pub timeout: Option<Time>,
    /// End the session, with exit code 124, if the command neither uses the CPU nor reads or writes anything for this long.
    /// By default it can be idle forever.
    pub idle_timeout: Option<Time>,
    /// If the command still runs after this time, say what it is running, and again after twice the time, and so on. By
    /// default nothing is said.
    pub warn_after: Option<Time>,
    /// End the session if the process that started cgrun exits. By default false.
    pub end_with_parent: Option<bool>,
    /// The signal that lets a command that runs into a timeout write where it hangs, before it is asked to exit. By default
    /// there is none.
    pub timeout_signal: Option<StopSignal>,
    /// What to do about a leak. By default report.
    pub on_leak: Option<OnLeak>,
    /// Processes that do not count as leaks: a program's name, or a pattern for the command line, in which * stands for
    /// anything and ? for one character. They are stopped like the rest.
    pub allow: Option<Vec<Pattern>>,
    /// The file that lists the leaks that are known, relative to this file's directory. By default cgrun-leaks.toml, if it is
    /// there.
    pub baseline: Option<Word>,
    /// Reports to write, relative to this file's directory.
    #[schemars(schema_with = "value_schemas::reports")]
    pub reports: Option<BTreeMap<ReportKind, Word>>,
    /// Stop the processes that hold a service's port, instead of refusing to start. By default false.
    pub reclaim_ports: Option<bool>,
    /// The minimum containment to accept: cgroup, pidns (a PID namespace), tree, or cgroup+pidns for both. By default the
    /// strongest that the host offers.
    pub require: Option<Require>,
    /// session gives the session a temporary directory of its own, in TMPDIR, which is removed when the session ends. By
    /// default host.
    pub tmp: Option<Tmp>,
    /// When that directory is kept. By default never.
    pub keep_tmp: Option<Keep>,
    /// Remove the containers, pods, networks and volumes that the session creates through Docker or podman's service. By default
    /// false.
    pub containers: Option<bool>,
    /// As root: run the services and the command as this user.
    pub user: Option<Word>,
    /// Do not let any process of the session gain privileges: sudo and other setuid programs fail. By default false.
    pub no_new_privs: Option<bool>,
    /// Pass on only PATH, TERM, LANG, LC_*, TZ and COLORTERM from the environment. By default false.
    pub clean_env: Option<bool>,
    /// The directory for the services' logs, relative to this file's directory. By default in the user's state directory.
    pub logs: Option<Word>,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, expecting = "a table, such as { command = [\"npm\", \"start\"] }")]
pub(crate) struct ServiceKeys {
    /// The program and its arguments. No shell is involved.
    pub command: Words,
    /// Where it runs, relative to this file's directory. By default that directory.
    pub cwd: Option<Word>,
    /// Variables that are added to its environment.
    #[serde(default)]
    pub env: BTreeMap<Variable, Word>,
    /// Must be free before the session, belongs to the service while it runs, and must be free afterwards.
    #[schemars(with = "Option<Port>")]
    pub port: Option<Spanned<Port>>,
    /// When it is ready: one of http, tcp, log and command. By default when it listens on its port, if it has one.
    #[schemars(with = "Option<ReadyKeys>")]
    pub ready: Option<Spanned<ReadyKeys>>,
    /// Services that must be ready before this one starts.
    #[serde(default)]
    #[schemars(with = "Vec<ServiceName>")]
    pub depends_on: Vec<Spanned<ServiceName>>,
    /// The signal that asks it to exit. By default SIGTERM.
    #[serde(default)]
    pub stop_signal: StopSignal,
    /// How long it is given to exit after that signal. By default as long as [session] says.
    pub grace: Option<Time>,
    /// If it exits during the tests, the session ends. By default true.
    #[serde(default = "default_critical")]
    pub critical: bool,
    /// Its standard input. By default open.
    #[serde(default)]
    pub stdin: ServiceInput,
    /// What this service alone can use.
    #[serde(default)]
    pub limits: Limits,
}

fn default_critical() -> bool {
    true
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, expecting = "a table, such as { tcp = 8000 }")]
#[schemars(transform = value_schemas::one_probe)]
pub(crate) struct ReadyKeys {
    /// Ready when this URL of this host is answered with a status from 200 to 399.
    #[serde(default)]
    #[schemars(schema_with = "value_schemas::url")]
    pub http: Option<String>,
    /// Ready when it listens on this TCP port.
    #[serde(default)]
    #[schemars(schema_with = "value_schemas::tcp_port")]
    pub tcp: Option<Spanned<Port>>,
    /// Ready when a line of its log matches this regular expression.
    pub log: Option<String>,
    /// Ready when this command exits with 0.
    pub command: Option<Words>,
    /// How long to wait for it. By default 60s.
    pub timeout: Option<Time>,
}
