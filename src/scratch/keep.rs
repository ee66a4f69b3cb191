//! Whether a session has a temporary directory of its own, and when it stays.

use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tmp {
    /// The one that cgrun has.
    Host,
    /// One of its own in that, which goes with the session.
    Session,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Keep {
    /// It is removed with the session.
    #[default]
    Never,
    /// It stays if cgrun exits with anything but 0.
    #[value(alias = "on-failure")]
    OnFailure,
    /// It stays.
    Always,
}

impl Keep {
    pub(super) fn keeps(self, has_failed: bool) -> bool {
        self == Self::Always || self == Self::OnFailure && has_failed
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnFailure => "on_failure",
            Self::Always => "always",
        }
    }
}
