//! What can be private.

use std::str::FromStr;

use nix::sched::CloneFlags;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Private {
    /// A network with nothing but a loopback interface.
    pub net: bool,
    /// Shared memory, semaphores and message queues of System V, and message queues of POSIX (ipc_namespaces(7)).
    pub ipc: bool,
}

impl Private {
    /// The namespaces that it takes.
    pub(super) fn namespaces(self) -> CloneFlags {
        let mut flags = CloneFlags::empty();
        flags.set(CloneFlags::CLONE_NEWNET, self.net);
        flags.set(CloneFlags::CLONE_NEWIPC, self.ipc);
        flags
    }
}

impl FromStr for Private {
    type Err = String;

    /// `net,ipc`, or `none`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut private = Self::default();
        if text == "none" {
            return Ok(private);
        }
        for kind in text.split(',') {
            match kind.trim() {
                "net" => private.net = true,
                "ipc" => private.ipc = true,
                _ => return Err(format!("cannot make {kind:?} private; use net, ipc, net,ipc or none")),
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
        assert_eq!("ipc".parse(), Ok(Private { net: false, ipc: true }));
        assert_eq!("net, ipc".parse(), Ok(Private { net: true, ipc: true }));
        assert_eq!("none".parse(), Ok(Private::default()));
        for wrong in ["", "none,net", "net,", "network", "net;ipc"] {
            wrong.parse::<Private>().unwrap_err();
        }
    }
}
