//! A TCP or UDP port.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// `8000`, a TCP port, or `8125/udp`. The number is from 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub number: u16,
    pub protocol: Protocol,
}

impl Port {
    pub(crate) const fn tcp(number: u16) -> Self {
        Self { number, protocol: Protocol::Tcp }
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((number, "udp")) => (number, Protocol::Udp),
            Some(_) => ("", Protocol::Tcp),
        };
        match number.parse::<u16>() {
            Ok(number) if number > 0 => Ok(Self { number, protocol }),
            _ => Err("a port is a number from 1 to 65535, or 8125/udp for UDP".into()),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => self.number.fmt(f),
            Protocol::Udp => write!(f, "{}/udp", self.number),
        }
    }
}

/// A number for TCP, and text for UDP.
impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.protocol {
            Protocol::Tcp => serializer.serialize_u16(self.number),
            Protocol::Udp => serializer.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_written_as_it_is_read() {
        for (text, written) in [("8000", "8000"), ("8000/tcp", "8000"), ("8125/udp", "8125/udp")] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), written);
        }
        for text in ["", "0", "0/udp", "65536", "/udp", "80/", "80/sctp", "80/udp/udp", "80/tcp/tcp", "-1"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }
}
