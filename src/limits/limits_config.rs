//! The sections `[limits]` and `[services.NAME.limits]` of the config.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};

use super::cpus::Cpus;
use super::cpuset::CpuSet;
use super::io_weight::IoWeight;
use super::limit::{Limit, limits_set_in};
use super::memory::{Memory, Swap};
use super::pids::Pids;

/// The limits of a session or a service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { memory = \"4GiB\" }")]
pub(crate) struct Limits {
    /// The maximum memory, not counting swap: a size such as 4GiB, or 50% of the host's. By default there is no limit.
    pub memory: Option<Memory>,
    /// The maximum swap in addition to memory. By default 0 if memory is limited.
    pub swap: Option<Swap>,
    /// The maximum number of processes and threads. By default there is no limit.
    pub pids: Option<Pids>,
    /// The maximum CPU use, in CPUs: 1.5, or 50% of the host's. By default there is no limit.
    pub cpus: Option<Cpus>,
    /// The share of disk I/O relative to others, from 1 to 10000. By default 100.
    pub io_weight: Option<IoWeight>,
    /// The CPUs to run on, such as 0-3,6. By default all.
    pub cpuset: Option<CpuSet>,
}

/// The limits of the whole session.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { memory = \"4GiB\" }")]
pub(crate) struct SessionLimits {
    /// The maximum memory, not counting swap: a size such as 4GiB, or 50% of the host's. By default there is no limit.
    pub memory: Option<Memory>,
    /// The maximum swap in addition to memory. By default 0 if memory is limited.
    pub swap: Option<Swap>,
    /// The maximum number of processes and threads. By default there is no limit.
    pub pids: Option<Pids>,
    /// The maximum CPU use, in CPUs: 1.5, or 50% of the host's. By default there is no limit.
    pub cpus: Option<Cpus>,
    /// The share of disk I/O relative to others, from 1 to 10000. By default 100.
    pub io_weight: Option<IoWeight>,
    /// The CPUs to run on, such as 0-3,6. By default all.
    pub cpuset: Option<CpuSet>,
    /// Warn about a limit that cannot be applied, and run without it. By default false.
    pub best_effort: Option<bool>,
    /// With --shards, give each an equal part of memory, swap, pids and cpus instead of all of it. By default false.
    pub divided: Option<bool>,
}

impl Limits {
    /// The limits that are set.
    pub(crate) fn names(&self) -> Vec<Limit> {
        limits_set_in!(self)
    }
}

impl SessionLimits {
    pub(crate) fn limits(&self) -> Limits {
        let Self { memory, swap, pids, cpus, io_weight, .. } = *self;
        Limits { memory, swap, pids, cpus, io_weight, cpuset: self.cpuset.clone() }
    }
}

/// Reads a TOML number or string through `FromStr`, so that config and command line accept the same.
struct NumberOrText<T> {
    expected: &'static str,
    target: PhantomData<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for NumberOrText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        if number.is_finite() {
            self.visit_str(&number.to_string())
        } else {
            Err(E::invalid_type(Unexpected::Float(number), &self))
        }
    }
}

macro_rules! number_or_text {
    ($($type:ty, $expected:literal;)*) => {
        $(impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(NumberOrText { expected: $expected, target: PhantomData })
            }
        })*
    };
}

number_or_text! {
    Memory, "a size, such as \"4GiB\" or \"50%\"";
    Swap, "a size, such as \"1GiB\" or 0";
    Pids, "a number of processes, such as 2000";
    Cpus, "a number of CPUs, such as 1.5 or \"50%\"";
    IoWeight, "a weight from 1 to 10000";
    CpuSet, "CPU numbers, such as \"0-3,6\"";
}
