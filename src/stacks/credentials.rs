//! The rights with which a tool reads the stack of a process: never more than the process itself has.

use nix::unistd::{Gid, Uid, User};
use rustix::process::Pid;

use crate::sys::process::identity::Identity;
use crate::sys::procfs::status::Status;
use crate::sys::users::without_entry;

/// The user and the groups of a process (proc_pid_status(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Its real, effective and saved user are the same.
    pub is_plain: bool,
}

impl Credentials {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        Self::from_status(&Status::of(pid)?)
    }

    fn from_status(status: &Status) -> Option<Self> {
        let numbers = |name| status.numbers::<u32>(name);
        let (uids, gids) = (numbers("Uid")?, numbers("Gid")?);
        let is_plain = uids.get(..3)?.iter().all(|uid| uid == &uids[0]);
        Some(Self { uid: *uids.get(1)?, gid: *gids.get(1)?, groups: numbers("Groups")?, is_plain })
    }

    /// What a tool has to become. `None` if it runs as we do: as this user already, or because we cannot change ours.
    pub(super) fn identity(&self) -> Option<Identity> {
        if !Uid::effective().is_root() || self.uid == 0 {
            return None;
        }
        let user = User { gid: self.gid.into(), ..without_entry(self.uid) };
        let groups = self.groups.iter().copied().map(Gid::from_raw).collect();
        Some(Identity { user: Some((user, groups)), no_new_privileges: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_process_has_its_user_and_groups() {
        let status =
            "Name:\ta\nUid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\nGroups:\t24 27 \n";
        let wanted = Credentials { uid: 1000, gid: 1001, groups: vec![24, 27], is_plain: true };
        let parse = |status| Credentials::from_status(&Status::of_text(status));
        assert_eq!(parse(status), Some(wanted));
        let set = status.replace("1000\t1000\t1000\t1000", "1000\t0\t0\t0");
        assert!(!parse(&set).unwrap().is_plain);
    }
}
