//! Becomes another user permanently, with no capability left.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, raise};
use nix::unistd::{
    Gid, Pid, Uid, User, getgroups, getppid, setfsgid, setfsuid, setgroups, setresgid, setresuid,
};

use super::capabilities;

/// The user that the session's processes run as, and the privileges they can gain.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Another user and that user's groups; `None` if it is ours.
    pub user: Option<(User, Vec<Gid>)>,
    /// setuid programs and file capabilities give no privilege (`PR_SET_NO_NEW_PRIVS`), and the bounding set is
    /// empty if we can empty it.
    pub no_new_privileges: bool,
}

/// While this value exists, files are opened, created and renamed with the rights of the session's user, and
/// belong to that user. So a link that the session's processes create cannot lead us to a file that they
/// could not reach themselves.
#[derive(Debug)]
pub(crate) struct ActingAs {
    /// The signal that we get when our parent dies, and that parent.
    death: Option<(Signal, Pid)>,
    groups: Vec<Gid>,
    user: Uid,
    group: Gid,
}

impl ActingAs {
    /// `None` if the session runs as our own user. After an error nothing has changed.
    pub(crate) fn session_user(identity: Option<&Identity>) -> nix::Result<Option<Self>> {
        let Some((user, groups)) = identity.and_then(|identity| identity.user.as_ref()) else {
            return Ok(None);
        };
        let ours = getgroups()?;
        let death = prctl::get_pdeathsig()?.map(|signal| (signal, getppid()));
        setgroups(groups)?;
        // These cannot fail for root, and return the previous value (setfsuid(2)).
        Ok(Some(Self { death, groups: ours, group: setfsgid(user.gid), user: setfsuid(user.uid) }))
    }
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        setfsuid(self.user);
        setfsgid(self.group);
        // We remain root, so these calls succeed again.
        let _ = setgroups(&self.groups);
        // The kernel forgets it when the file system's user changes (prctl(2), `PR_SET_PDEATHSIG`).
        if let Some((signal, parent)) = self.death {
            let _ = prctl::set_pdeathsig(signal);
            if getppid() != parent {
                let _ = raise(signal);
            }
        }
    }
}

impl Identity {
    /// Gives this thread, and no other, the user's rights to files, for good. Those in /proc are among them, so that it can read
    /// the environment of the user's processes without the right to trace them (ptrace(2), `PTRACE_MODE_FSCREDS`).
    pub(crate) fn lend_files_to_thread(&self) -> nix::Result<()> {
        let Some((user, groups)) = &self.user else { return Ok(()) };
        let groups: Vec<libc::gid_t> = groups.iter().map(|it| it.as_raw()).collect();
        // SAFETY: the list has that length. The function of libc would change all threads (nptl(7)).
        Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
        // These cannot fail for root (setfsuid(2)).
        setfsgid(user.gid);
        setfsuid(user.uid);
        Ok(())
    }

    /// Makes this thread the user for those to whom it connects (unix(7), `SO_PEERCRED`), after it has the user's rights to files.
    /// Its real and its saved user stay ours, so that the user's processes can neither signal nor trace it.
    pub(crate) fn lend_to_thread(&self) -> nix::Result<()> {
        const SAME: libc::uid_t = libc::uid_t::MAX;
        let Some((user, _)) = &self.user else { return Ok(()) };
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        // The functions of libc would change all threads (nptl(7)). The user comes last, because it loses the right to the rest.
        // SAFETY: these calls take no memory.
        unsafe {
            Errno::result(libc::syscall(libc::SYS_setresgid, SAME, gid, SAME))?;
            Errno::result(libc::syscall(libc::SYS_setresuid, SAME, uid, SAME))?;
        }
        Ok(())
    }

    /// Takes on this identity. Returns `false` with `errno` set if a step fails.
    ///
    /// # Safety
    /// Only in a freshly forked child that executes next. Makes system calls on memory that the parent laid out,
    /// and allocates nothing (signal-safety(7)).
    pub(super) unsafe fn assume(&self) -> bool {
        // SAFETY: the caller keeps the contract above.
        unsafe { self.try_assume() }.map_err(|errno| errno.set()).is_ok()
    }

    unsafe fn try_assume(&self) -> nix::Result<()> {
        if self.no_new_privileges {
            nix::sys::prctl::set_no_new_privs()?;
            // Done first, because it needs CAP_SETPCAP, which is lost with the user.
            if capabilities::may_drop_bounding()? {
                capabilities::drop_bounding()?;
            }
        }
        let Some((user, groups)) = &self.user else { return Ok(()) };
        setgroups(groups)?;
        setresgid(user.gid, user.gid, user.gid)?;
        setresuid(user.uid, user.uid, user.uid)?;
        if !user.uid.is_root() {
            // Securebits may have kept them (capabilities(7)).
            capabilities::drop_all()?;
        }
        Ok(())
    }
}
