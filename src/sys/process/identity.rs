//! Becoming another user for good, with no capability left.

use caps::CapSet;
use nix::unistd::{Gid, Uid, User, getgroups, setfsgid, setfsuid, setgroups, setresgid, setresuid};

/// Whom the session's processes run as, and what they may become.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Another user, and that user's groups; otherwise us.
    pub user: Option<(User, Vec<Gid>)>,
    /// setuid programs and file capabilities give nothing (`PR_SET_NO_NEW_PRIVS`), and the bounding set is
    /// empty, where we have the power to empty it.
    pub no_new_privileges: bool,
}

/// While it lives, files are opened, made and renamed with a user's rights, and are that user's: what the
/// session's processes lay in our way leads us to nothing that they could not have reached themselves.
#[derive(Debug)]
pub struct Lent {
    groups: Vec<Gid>,
    user: Uid,
    group: Gid,
}

impl Lent {
    /// `None` where the session's processes are us. An error means that nothing has changed.
    pub fn of(identity: Option<&Identity>) -> nix::Result<Option<Self>> {
        let Some((user, groups)) = identity.and_then(|identity| identity.user.as_ref()) else {
            return Ok(None);
        };
        let ours = getgroups()?;
        setgroups(groups)?;
        // These cannot fail for root, and answer with what was (setfsuid(2)).
        Ok(Some(Self { groups: ours, group: setfsgid(user.gid), user: setfsuid(user.uid) }))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        setfsuid(self.user);
        setfsgid(self.group);
        // Our effective user is root all the time; what it did once it may do again.
        let _ = setgroups(&self.groups);
    }
}

impl Identity {
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
        let Some((user, groups)) = &self.user else { return Ok(()) };
        setgroups(groups)?;
        setresgid(user.gid, user.gid, user.gid)?;
        setresuid(user.uid, user.uid, user.uid)?;
        if !user.uid.is_root() {
            // Securebits may have kept them (capabilities(7)).
            for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
                caps::clear(None, set).map_err(refused)?;
            }
        }
        Ok(())
    }
}
