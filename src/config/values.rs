//! The types of the config's values.

use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};

use super::from_text::FromText;
use crate::sys::port::Port;

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnLeak {
    /// Report the leak; the exit code stays the command's.
    Report,
    /// Also exit with 121 if the command passed.
    Fail,
}

/// The format of a report.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReportKind {
    Json,
    Junit,
    Html,
    /// One line.
    Summary,
}

impl FromStr for ReportKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "junit" => Ok(Self::Junit),
            "html" => Ok(Self::Html),
            "summary" => Ok(Self::Summary),
            _ => Err(format!("unknown report format {text:?}; use json, junit, html or summary")),
        }
    }
}

/// The standard input of a service.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ServiceInput {
    /// No input, and no end of file.
    #[default]
    Open,
    /// End of file at once.
    Null,
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortVisitor)
    }
}

struct PortVisitor;

impl Visitor<'_> for PortVisitor {
    type Value = Port;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a port, a number from 1 to 65535, or \"8125/udp\"")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Port, E> {
        let wrong = |_| E::invalid_value(Unexpected::Signed(number), &self);
        number.to_string().parse().map_err(wrong)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Port, E> {
        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// A duration such as `5s`, `500ms`, `2m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub Duration);

/// Longer than any session. The limit keeps sums of durations and instants from overflowing.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST => Ok(Self(duration)),
            Ok(_) => Err("a duration can be at most one year".into()),
            Err(_) => Err("a duration is a number with a unit, such as 5s, 500ms or 2m".into()),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a duration in quotes, such as \"5s\""))
    }
}

/// The signal that asks a service to stop: a name such as `SIGTERM`, or `TERM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopSignal(pub Signal);

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
            .map_err(|_| format!("unknown signal {text:?}; write a name such as \"SIGTERM\" or \"SIGINT\""))
    }
}

impl<'de> Deserialize<'de> for StopSignal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a signal's name, such as \"SIGTERM\""))
    }
}

/// The name of a service, its leaf cgroup and its log file, so it must be a plain file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceName(pub String);

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.chars().all(plain) && text.len() <= 64 {
            Ok(Self(text.to_string()))
        } else {
            Err(format!(
                "invalid service name {text:?}; use up to 64 letters, digits, - _ or . and start with a letter or digit"
            ))
        }
    }
}

impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a service's name"))
    }
}

/// Text that can be passed to a program because it contains no NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub String);

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a NUL character cannot be passed to a program; remove it".into());
        }
        Ok(Self(text.to_string()))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a string in quotes"))
    }
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub Vec<Word>);

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
            Some(_) => Err(A::Error::custom("the program's name is empty; specify what to run")),
            None => Err(A::Error::invalid_length(0, &self)),
        }
    }
}

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Variable(pub String);

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains(['=', '\0']) {
            return Err(format!("invalid variable name {text:?}; a name must not be empty or contain ="));
        }
        Ok(Self(text.to_string()))
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a variable's name"))
    }
}
