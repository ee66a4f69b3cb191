//! A port of the host that leads into the session's network.

use std::fmt;
use std::str::FromStr;

use crate::sys::port::Port;

/// `8080:8000`: port 8080 of the host's loopback leads to port 8000 of the session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub outer: u16,
    pub inner: u16,
}

impl Forward {
    pub(crate) fn outer_port(self) -> Port {
        Port::tcp(self.outer)
    }
}

impl FromStr for Forward {
    type Err = String;

    /// `8080:8000`, or `8000` for the same port on both sides
    fn from_str(text: &str) -> Result<Self, String> {
        let (outer, inner) = text.split_once(':').unwrap_or((text, text));
        let port = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err(format!(
                "{text:?} is not a port; write a port of the host and one of the session, such as \"8080:8000\""
            )),
            Ok(number) => Ok(number),
        };
        Ok(Self { outer: port(outer)?, inner: port(inner)? })
    }
}

/// As pasta takes it.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "127.0.0.1/{}:{}", self.outer, self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_leads_to_the_same_or_another_one() {
        assert_eq!("8080:8000".parse(), Ok(Forward { outer: 8080, inner: 8000 }));
        assert_eq!("8000".parse(), Ok(Forward { outer: 8000, inner: 8000 }));
        for wrong in ["", ":", "8080:", "0:1", "65536", "127.0.0.1:80:80", "-1"] {
            wrong.parse::<Forward>().unwrap_err();
        }
    }
}
