//! What can be private.

use std::str::FromStr;

use nix::sched::CloneFlags;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Private {
    /// A network with nothing but a loopback interface.
    pub net: bool,
    /// Shared memory, semaphores and message queues of System V, and message queues of POSIX (ipc_namespaces(7)).
    pub ipc: bool,
    /// Shared memory and semaphores of POSIX: `/dev/shm` (shm_overview(7)).
    pub shm: bool,
    /// `/tmp` and `/var/tmp`.
    pub tmp: bool,
}

impl Private {
    pub(crate) const ALL: Self = Self { net: true, ipc: true, shm: true, tmp: true };

    /// `net, ipc`
    pub(crate) fn names(self) -> String {
        let kinds = [("net", self.net), ("ipc", self.ipc), ("shm", self.shm), ("tmp", self.tmp)];
        kinds
            .iter()
            .filter(|(_, is_private)| *is_private)
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The namespaces that it takes.
    pub(super) fn namespaces(self) -> CloneFlags {
        let mut flags = CloneFlags::empty();
        flags.set(CloneFlags::CLONE_NEWNET, self.net);
        flags.set(CloneFlags::CLONE_NEWIPC, self.ipc);
        flags.set(CloneFlags::CLONE_NEWNS, self.shm || self.tmp);
        flags
    }
}

impl FromStr for Private {
    type Err = String;

    /// `net,ipc`, `all` or `none`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut private = Self::default();
        match text {
            "all" => return Ok(Self::ALL),
            "none" => return Ok(private),
            _ => {}
        }
        for kind in text.split(',') {
            match kind.trim() {
                "net" => private.net = true,
                "ipc" => private.ipc = true,
                "shm" => private.shm = true,
                "tmp" => private.tmp = true,
                _ => {
                    return Err(format!(
                        "unknown kind {kind:?}; use all, none, or a list of net, ipc, shm and tmp"
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
        for wrong in ["", "none,net", "net,", "network", "net;ipc"] {
            wrong.parse::<Private>().unwrap_err();
        }
    }
}
