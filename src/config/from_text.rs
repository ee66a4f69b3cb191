//! Config values that are parsed as they are on the command line, so that both accept the same values.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::containment::Require;
use crate::leaks::allow::Pattern;

/// Reads a string through `FromStr`.
pub(super) struct FromText<T> {
    expected: &'static str,
    target: PhantomData<T>,
}

impl<T> FromText<T> {
    pub(super) fn new(expected: &'static str) -> Self {
        Self { expected, target: PhantomData }
    }
}

impl<T: FromStr<Err = String>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a program's name, or a pattern for a command line"))
    }
}

impl<'de> Deserialize<'de> for Require {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a containment, such as \"cgroup\""))
    }
}
