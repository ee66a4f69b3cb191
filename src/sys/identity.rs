//! Becoming another user for good, with no capability left.

use std::ffi::CString;

use caps::CapSet;
use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};

/// Whom the session's processes run as.
#[derive(Clone, Debug)]
pub struct Identity {
    pub user: User,
    groups: Vec<Gid>,
    /// setuid programs and file capabilities give nothing (`PR_SET_NO_NEW_PRIVS`), and the bounding set is
    /// empty.
    pub no_new_privileges: bool,
}

impl Identity {
    /// Looks up which groups the user is in.
    pub fn of(user: User, no_new_privileges: bool) -> nix::Result<Self> {
        let name = CString::new(user.name.as_bytes()).map_err(|_| nix::errno::Errno::EINVAL)?;
        let groups = getgrouplist(&name, user.gid)?;
        Ok(Self { user, groups, no_new_privileges })
    }

    /// Only where we are that user already.
    pub fn is_ours(&self) -> bool {
        Uid::effective() == self.user.uid && Uid::current() == self.user.uid
    }

    /// Becomes it. `false` with `errno` set where a step fails. Allocates, so only for a process with a
    /// single thread; for a child that executes next.
    pub(super) fn assume(&self) -> bool {
        self.try_assume().map_err(|errno| errno.set()).is_ok()
    }

    fn try_assume(&self) -> nix::Result<()> {
        let refused = |_: caps::errors::CapsError| nix::errno::Errno::EPERM;
        if self.no_new_privileges {
            nix::sys::prctl::set_no_new_privs()?;
            // Needs CAP_SETPCAP, which goes with the user.
            if caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP).map_err(refused)? {
                caps::clear(None, CapSet::Bounding).map_err(refused)?;
            }
        }
        if !self.is_ours() {
            setgroups(&self.groups)?;
            setresgid(self.user.gid, self.user.gid, self.user.gid)?;
            setresuid(self.user.uid, self.user.uid, self.user.uid)?;
        }
        if !self.user.uid.is_root() {
            // Securebits may have kept them (capabilities(7)).
            for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
                caps::clear(None, set).map_err(refused)?;
            }
        }
        Ok(())
    }
}
