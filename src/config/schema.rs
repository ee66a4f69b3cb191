//! The config file's keys and what their values may be. Unknown keys are errors.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::{self, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use toml::Spanned;

use super::limits::{Limits, SessionLimits};
use crate::containment::Require;
use crate::leaks::allow::Pattern;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "the tables session, services and limits")]
pub struct File {
    pub session: Session,
    pub services: BTreeMap<ServiceName, Spanned<Service>>,
    pub limits: SessionLimits,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { ports = [3000] }")]
pub struct Session {
    /// Watched besides the services' own ports.
    pub ports: Option<Vec<Port>>,
    pub grace: Option<Time>,
    pub kill_wait: Option<Time>,
    /// How long a process may take to leave by itself after the command before it counts as a leak.
    pub settle: Option<Time>,
    pub timeout: Option<Time>,
    pub on_leak: Option<OnLeak>,
    /// What may outlive the command: an executable's name, or a pattern for the command line.
    pub allow: Option<Vec<Pattern>>,
    pub reports: Option<BTreeMap<ReportKind, Word>>,
    pub reclaim_ports: Option<bool>,
    /// The least that is to hold the session.
    pub require: Option<Require>,
    /// Whom the session's processes run as.
    pub user: Option<Word>,
    pub no_new_privs: Option<bool>,
    pub clean_env: Option<bool>,
    /// Where the services' logs go, from the config's directory.
    pub logs: Option<Word>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, expecting = "a table, such as { command = [\"npm\", \"start\"] }")]
pub struct Service {
    pub command: Words,
    pub cwd: Option<Word>,
    #[serde(default)]
    pub env: BTreeMap<Variable, Word>,
    pub port: Option<Spanned<Port>>,
    pub ready: Option<Spanned<Ready>>,
    #[serde(default)]
    pub depends_on: Vec<Spanned<ServiceName>>,
    #[serde(default)]
    pub stop_signal: StopSignal,
    pub grace: Option<Time>,
    #[serde(default = "yes")]
    pub critical: bool,
    #[serde(default)]
    pub limits: Limits,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, expecting = "a table, such as { tcp = 8000 }")]
pub struct Ready {
    pub http: Option<String>,
    pub tcp: Option<Spanned<Port>>,
    pub log: Option<String>,
    pub command: Option<Words>,
    pub timeout: Option<Time>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnLeak {
    /// Say what leaked; the exit code stays the command's.
    Report,
    /// And exit 121 where the command passed.
    Fail,
}

/// What a report is written as.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum ReportKind {
    Json,
    Junit,
    Html,
}

impl FromStr for ReportKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "junit" => Ok(Self::Junit),
            "html" => Ok(Self::Html),
            _ => Err(format!("no report {text:?}; there are json, junit and html")),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a program's name, or a pattern for a command line"))
    }
}

/// A TCP port, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Self(port)),
            _ => Err("a port is a number from 1 to 65535".into()),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(PortVisitor)
    }
}

struct PortVisitor;

impl Visitor<'_> for PortVisitor {
    type Value = Port;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a port, a number from 1 to 65535")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Port, E> {
        let wrong = |_| E::invalid_value(Unexpected::Signed(number), &self);
        number.to_string().parse().map_err(wrong)
    }
}

/// A duration such as `5s`, `500ms`, `2m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// Longer than any session; keeps sums of durations and instants from overflowing.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST => Ok(Self(duration)),
            Ok(_) => Err("a duration is at most a year".into()),
            Err(_) => Err("a duration is a number with its unit, such as 5s, 500ms or 2m".into()),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a duration in quotes, such as \"5s\""))
    }
}

/// The signal that asks a service to end: a name such as `SIGTERM`, or `TERM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSignal(pub Signal);

impl Default for StopSignal {
    fn default() -> Self {
        Self(Signal::SIGTERM)
    }
}

impl FromStr for StopSignal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        Signal::from_str(&format!("SIG{name}"))
            .map(Self)
            .map_err(|_| format!("{text:?} is no signal; write its name, such as \"SIGTERM\" or \"SIGINT\""))
    }
}

impl<'de> Deserialize<'de> for StopSignal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a signal's name, such as \"SIGTERM\""))
    }
}

impl<'de> Deserialize<'de> for Require {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a containment, such as \"cgroup\""))
    }
}

/// Names a service, its leaf cgroup and its log file, so it must be a plain file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName(pub String);

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.chars().all(plain) && text.len() <= 64 {
            Ok(Self(text.to_string()))
        } else {
            Err(format!(
                "{text:?} cannot name a service; use up to 64 letters, digits, - _ or . and start with a letter or digit"
            ))
        }
    }
}

impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a service's name"))
    }
}

/// Text that a program can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("no program can be given a NUL character; leave it out".into());
        }
        Ok(Self(text.to_string()))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a string in quotes"))
    }
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<Word>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of words, such as [\"npm\", \"run\", \"dev\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
        let mut words: Vec<Word> = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        match words.first() {
            Some(program) if !program.0.is_empty() => Ok(Words(words)),
            Some(_) => Err(A::Error::custom("the program's name is empty; say what to run")),
            None => Err(A::Error::invalid_length(0, &self)),
        }
    }
}

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable(pub String);

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains(['=', '\0']) {
            return Err(format!("{text:?} cannot name a variable; a name is not empty and has no = in it"));
        }
        Ok(Self(text.to_string()))
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a variable's name"))
    }
}

/// Reads a string through `FromStr`, so that file and command line accept the same.
struct Parsed<T> {
    expected: &'static str,
    target: std::marker::PhantomData<T>,
}

impl<T> Parsed<T> {
    fn new(expected: &'static str) -> Self {
        Self { expected, target: std::marker::PhantomData }
    }
}

impl<T: FromStr<Err = String>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
