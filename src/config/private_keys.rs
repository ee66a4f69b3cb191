//! `[private]`: what a session has of its own.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::forward::Forward;
use super::from_text::FromText;
use super::private_kinds::{Network, Private};
use crate::limits::Memory;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { net = true }")]
pub(crate) struct PrivateKeys {
    /// Give the session a network of its own, with nothing but a loopback interface: no port is taken, and no other session
    /// can reach its services. "outbound" adds a way to the outside by pasta (package passt). By default false, with --shards
    /// true.
    pub net: Option<Network>,
    /// Ports of the host's loopback that lead into the session's network, by pasta, such as ["8080:8000"]: port 8080 of the host
    /// leads to port 8000 of the session. It needs a network of the session's own.
    pub forward: Option<Vec<Forward>>,
    /// Give the session its own shared memory, semaphores and message queues of System V, and message queues of POSIX, which
    /// would otherwise stay on the host when a process is killed. By default false, with --shards
    /// true.
    pub ipc: Option<bool>,
    /// Give the session its own /dev/shm, where POSIX's shared memory and semaphores are. By default false, with --shards
    /// true.
    pub shm: Option<bool>,
    /// Give the session its own /tmp and /var/tmp, in which it sees only what its commands and variables name. By default
    /// false, with --shards true.
    pub tmp: Option<bool>,
    /// How much each directory in memory can hold: a size such as 2GiB, or 10% of the host's memory. By default 50%.
    pub size: Option<Memory>,
}

impl PrivateKeys {
    pub(super) fn replaced(self, by: Self) -> Self {
        Self {
            net: by.net.or(self.net),
            forward: by.forward.or(self.forward),
            ipc: by.ipc.or(self.ipc),
            shm: by.shm.or(self.shm),
            tmp: by.tmp.or(self.tmp),
            size: by.size.or(self.size),
        }
    }

    /// What is private, and otherwise whether everything is.
    pub(crate) fn private(&self, otherwise: bool) -> Private {
        Private {
            net: self.net.unwrap_or(if otherwise { Network::Own } else { Network::Shared }),
            ipc: self.ipc.unwrap_or(otherwise),
            shm: self.shm.unwrap_or(otherwise),
            tmp: self.tmp.unwrap_or(otherwise),
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NetworkVisitor)
    }
}

struct NetworkVisitor;

impl Visitor<'_> for NetworkVisitor {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or \"outbound\"")
    }

    fn visit_bool<E: Error>(self, is_own: bool) -> Result<Network, E> {
        Ok(if is_own { Network::Own } else { Network::Shared })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Network, E> {
        match text {
            "outbound" => Ok(Network::Outbound),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Forward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("ports, such as \"8080:8000\""))
    }
}
