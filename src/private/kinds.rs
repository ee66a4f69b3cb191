//! What can be private.

use std::str::FromStr;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Private {
    /// A network with nothing but a loopback interface.
    pub net: bool,
}

impl FromStr for Private {
    type Err = String;

    /// `net`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut private = Self::default();
        for kind in text.split(',') {
            match kind {
                "net" => private.net = true,
                _ => return Err(format!("cannot make {kind:?} private; use net")),
            }
        }
        Ok(private)
    }
}
