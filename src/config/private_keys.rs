//! `[private]`: what a session has of its own.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::private::Private;

#[derive(Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, expecting = "a table, such as { net = true }")]
pub(crate) struct PrivateKeys {
    /// Give the session a network of its own, with nothing but a loopback interface: no port is taken, and no other session
    /// can reach its services. By default false.
    pub net: Option<bool>,
}

impl PrivateKeys {
    pub(super) fn replaced(self, by: Self) -> Self {
        Self { net: by.net.or(self.net) }
    }

    pub(crate) fn private(&self) -> Private {
        Private { net: self.net.unwrap_or(false) }
    }
}
