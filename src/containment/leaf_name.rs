//! The name of a session's leaf: in its cgroup's directory, in `CGRUN_LEAF`, and in reports.

use std::fmt;
use std::str::FromStr;

/// Which component of the session a leaf holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LeafName {
    /// The commands that ask whether this service is ready.
    Probe(String),
    Service(String),
    Command,
}

impl LeafName {
    /// The component's name for people and in reports: `command`, `service web`, `probe web`.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Probe(service) => format!("probe {service}"),
            Self::Service(service) => format!("service {service}"),
            Self::Command => "command".into(),
        }
    }
}

/// `command`, `service.web`, `probe.web`
impl fmt::Display for LeafName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(service) => write!(f, "probe.{service}"),
            Self::Service(service) => write!(f, "service.{service}"),
            Self::Command => f.write_str("command"),
        }
    }
}

impl FromStr for LeafName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once('.') {
            Some(("probe", service)) => Ok(Self::Probe(service.into())),
            Some(("service", service)) => Ok(Self::Service(service.into())),
            None if text == "command" => Ok(Self::Command),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_name_is_parsed_into_its_component() {
        for name in [LeafName::Command, LeafName::Service("web.x".into()), LeafName::Probe("web".into())] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for other in ["", "namespace", "of-the-command", "command.x"] {
            assert_eq!(other.parse::<LeafName>(), Err(()), "{other}");
        }
    }
}
