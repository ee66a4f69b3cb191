//! The keys of the config. An unknown key is an error.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::values::{OnLeak, ReportKind, ServiceInput, ServiceName, StopSignal, Time, Variable, Word, Words};
use crate::containment::Require;
use crate::leaks::allow::Pattern;
use crate::limits::{Limits, SessionLimits};
use crate::sys::port::Port;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "the tables session, services and limits")]
pub(crate) struct ConfigKeys {
    pub session: SessionKeys,
    pub services: BTreeMap<ServiceName, Spanned<ServiceKeys>>,
    pub limits: SessionLimits,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { ports = [3000] }")]
pub(crate) struct SessionKeys {
    /// Watched in addition to the services' own ports.
    pub ports: Option<Vec<Port>>,
    pub grace: Option<Time>,
    /// How long the whole teardown may take.
    pub stop_within: Option<Time>,
    pub kill_wait: Option<Time>,
    /// How long a process that the command left behind is given to exit on its own before it counts as a leak.
    pub settle: Option<Time>,
    pub timeout: Option<Time>,
    pub on_leak: Option<OnLeak>,
    /// Leaks that are not counted: a program's name, or a pattern for the command line.
    pub allow: Option<Vec<Pattern>>,
    pub reports: Option<BTreeMap<ReportKind, Word>>,
    pub reclaim_ports: Option<bool>,
    /// The minimum containment to accept.
    pub require: Option<Require>,
    /// The user that the session's processes run as.
    pub user: Option<Word>,
    pub no_new_privs: Option<bool>,
    pub clean_env: Option<bool>,
    /// The directory for the services' logs, relative to the config's directory.
    pub logs: Option<Word>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, expecting = "a table, such as { command = [\"npm\", \"start\"] }")]
pub(crate) struct ServiceKeys {
    pub command: Words,
    pub cwd: Option<Word>,
    #[serde(default)]
    pub env: BTreeMap<Variable, Word>,
    pub port: Option<Spanned<Port>>,
    pub ready: Option<Spanned<ReadyKeys>>,
    #[serde(default)]
    pub depends_on: Vec<Spanned<ServiceName>>,
    #[serde(default)]
    pub stop_signal: StopSignal,
    pub grace: Option<Time>,
    #[serde(default = "default_critical")]
    pub critical: bool,
    #[serde(default)]
    pub stdin: ServiceInput,
    #[serde(default)]
    pub limits: Limits,
}

fn default_critical() -> bool {
    true
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, expecting = "a table, such as { tcp = 8000 }")]
pub(crate) struct ReadyKeys {
    pub http: Option<String>,
    pub tcp: Option<Spanned<Port>>,
    pub log: Option<String>,
    pub command: Option<Words>,
    pub timeout: Option<Time>,
}
