//! `[private]`: what a session has of its own.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::private::Private;

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { net = true }")]
pub(crate) struct PrivateKeys {
    /// Give the session a network of its own, with nothing but a loopback interface: no port is taken, and no other session
    /// can reach its services. By default false, with --shards true.
    pub net: Option<bool>,
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
}

impl PrivateKeys {
    pub(super) fn replaced(self, by: Self) -> Self {
        Self {
            net: by.net.or(self.net),
            ipc: by.ipc.or(self.ipc),
            shm: by.shm.or(self.shm),
            tmp: by.tmp.or(self.tmp),
        }
    }

    /// What is private, and otherwise whether everything is.
    pub(crate) fn private(self, otherwise: bool) -> Private {
        Private {
            net: self.net.unwrap_or(otherwise),
            ipc: self.ipc.unwrap_or(otherwise),
            shm: self.shm.unwrap_or(otherwise),
            tmp: self.tmp.unwrap_or(otherwise),
        }
    }
}
