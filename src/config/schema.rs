//! The config file's keys and what their values may be. Unknown keys are errors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use toml::Spanned;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub session: Session,
    pub services: BTreeMap<ServiceName, Spanned<Service>>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// Watched besides the services' own ports.
    pub ports: Option<Vec<Port>>,
    pub grace: Option<Time>,
    pub kill_wait: Option<Time>,
    /// How long a process may take to leave by itself after the command before it counts as a leak.
    pub settle: Option<Time>,
    pub timeout: Option<Time>,
    pub on_leak: Option<OnLeak>,
    pub reclaim_ports: Option<bool>,
    /// Where the services' logs go, from the config's directory.
    pub logs: Option<PathBuf>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub command: Spanned<Vec<String>>,
    pub cwd: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub port: Option<Spanned<Port>>,
    pub ready: Option<Spanned<Ready>>,
    #[serde(default)]
    pub depends_on: Vec<Spanned<String>>,
    #[serde(default)]
    pub stop_signal: StopSignal,
    pub grace: Option<Time>,
    #[serde(default = "yes")]
    pub critical: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    pub http: Option<String>,
    pub tcp: Option<Spanned<Port>>,
    pub log: Option<String>,
    pub command: Option<Vec<String>>,
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
        let number = i64::deserialize(deserializer)?;
        number.to_string().parse().map_err(|expected: String| {
            de::Error::invalid_value(Unexpected::Signed(number), &expected.as_str())
        })
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
