//! What can be private.

use std::str::FromStr;

const OUTBOUND: &str = "net=outbound";

/// The network of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Network {
    /// The host's.
    #[default]
    Shared,
    /// Nothing but a loopback interface.
    Own,
    /// The same, and a way to what is outside.
    Outbound,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Private {
    pub net: Network,
    /// Shared memory, semaphores and message queues of System V, and message queues of POSIX (ipc_namespaces(7)).
    pub ipc: bool,
    /// Shared memory and semaphores of POSIX: `/dev/shm` (shm_overview(7)).
    pub shm: bool,
    /// `/tmp` and `/var/tmp`.
    pub tmp: bool,
}

impl Private {
    pub(crate) const ALL: Self = Self { net: Network::Own, ipc: true, shm: true, tmp: true };

    /// `net, ipc`
    pub(crate) fn names(self) -> String {
        let net = match self.net {
            Network::Shared => None,
            Network::Own => Some("net"),
            Network::Outbound => Some(OUTBOUND),
        };
        let others = [("ipc", self.ipc), ("shm", self.shm), ("tmp", self.tmp)];
        let others = others.iter().filter(|(_, is_private)| *is_private).map(|(name, _)| *name);
        net.into_iter().chain(others).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn has_network(self) -> bool {
        self.net != Network::Shared
    }
}

impl FromStr for Private {
    type Err = String;

    /// `net,ipc`, `all`, `all,net=outbound` or `none`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut private = Self::default();
        if text == "none" {
            return Ok(private);
        }
        for kind in text.split(',') {
            match kind.trim() {
                "all" => private = Self::ALL,
                "net" => private.net = Network::Own,
                OUTBOUND => private.net = Network::Outbound,
                "ipc" => private.ipc = true,
                "shm" => private.shm = true,
                "tmp" => private.tmp = true,
                "none" => return Err("none cannot be combined with anything".into()),
                _ => {
                    return Err(format!(
                        "unknown kind {kind:?}; use all, none, or a list of net (or {OUTBOUND}), ipc, shm and tmp"
                    ));
                }
            }
        }
        Ok(private)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_separated_by_commas() {
        let none = Private::default();
        assert_eq!("ipc".parse(), Ok(Private { ipc: true, ..none }));
        assert_eq!("net, ipc,shm".parse(), Ok(Private { tmp: false, ..Private::ALL }));
        assert_eq!(("all".parse(), "none".parse()), (Ok(Private::ALL), Ok(none)));
        let outbound = Private { net: Network::Outbound, ..Private::ALL };
        assert_eq!(("all,net=outbound".parse(), outbound.names().parse()), (Ok(outbound), Ok(outbound)));
        for wrong in ["", "none,net", "net,", "network", "net;ipc"] {
            wrong.parse::<Private>().unwrap_err();
        }
    }
}
