//! Creates a PID namespace, and lets new processes enter it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use caps::{CapSet, Capability};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use rustix::process::Pid;

use super::detach::keep_only;
use super::fork::fork_with;
use super::line::Line;
use super::pidfd::Process;

/// How long the first process may take to set itself up, even on a slow machine.
const BEGINNING: Duration = Duration::from_secs(10);
/// A killed process that is not stuck exits well within this time.
const ENDING: Duration = Duration::from_secs(2);
const READY: u8 = u8::MAX;

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceStep {
    /// The kernel refused the namespaces.
    Clone,
    /// Mapping the user and group ids into the user namespace.
    Map,
    /// Joining the session's cgroup.
    Join,
    /// Making its mounts private.
    Mounts,
    /// Mounting a `/proc` that shows the namespace.
    Proc,
    /// Starting: the first process exited, or reported nothing.
    Begin,
}

impl NamespaceStep {
    const ALL: [Self; 6] = [Self::Clone, Self::Map, Self::Join, Self::Mounts, Self::Proc, Self::Begin];
}

#[derive(Debug)]
pub(crate) struct NamespaceError {
    pub step: NamespaceStep,
    pub source: io::Error,
}

/// A namespace to enter, for [`super::spawn::spawn`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance<'a> {
    /// A pidfd of its first process.
    pub init: BorrowedFd<'a>,
    pub with_user: bool,
}

impl Entrance<'_> {
    /// The arguments of [`enter`], for setns(2), which takes a pidfd since Linux 5.8 and enters a user
    /// namespace first.
    pub(crate) fn raw(&self) -> (RawFd, libc::c_int) {
        (self.init.as_raw_fd(), flags(self.with_user))
    }
}

fn flags(with_user: bool) -> libc::c_int {
    let user = if with_user { libc::CLONE_NEWUSER } else { 0 };
    user | libc::CLONE_NEWPID | libc::CLONE_NEWNS
}

/// Creates a PID and a mount namespace, and a user namespace around them if `with_user` is set. The first
/// process joins the cgroup of `procs`, reaps children, and exits when the returned line is closed or
/// when we die.
///
/// Must be called while this process has a single thread.
pub(crate) fn create(
    procs: Option<BorrowedFd<'_>>,
    with_user: bool,
) -> Result<(Process, Line), NamespaceError> {
    let failed = |step| move |errno: rustix::io::Errno| NamespaceError { step, source: errno.into() };
    let (ours, theirs) =
        Line::pair().map_err(|source| NamespaceError { step: NamespaceStep::Begin, source })?;
    // Read these before the fork: in the namespace they have no meaning.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: this process has one thread, so the child finds no lock held.
    let pid = unsafe { fork_with(flags(with_user)) };
    let pid = pid.map_err(|errno| NamespaceError { step: NamespaceStep::Clone, source: errno.into() })?;
    let Some(pid) = Pid::from_raw(pid) else {
        drop(ours);
        let begun = set_up(procs, with_user.then_some((uid, gid))).and_then(|()| {
            keep_only(&[theirs.as_fd()])
                .map_err(|source| NamespaceError { step: NamespaceStep::Begin, source })
        });
        let said = begun.as_ref().map_or_else(
            |failed| {
                let errno = failed.source.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
                [failed.step as u8, errno[0], errno[1], errno[2], errno[3]]
            },
            |()| [READY, 0, 0, 0, 0],
        );
        theirs.say(&said);
        if begun.is_ok() {
            // No process in the namespace can kill this one, and the kernel reaps the children.
            theirs.until_closed();
        }
        // SAFETY: exits without unwinding, so no code of the parent runs.
        unsafe { libc::_exit(0) }
    };
    drop(theirs);
    // It is our own unreaped child, so its pid cannot have been reused.
    let init = Process::open(pid).ok().flatten();
    let init = init.ok_or_else(|| failed(NamespaceStep::Begin)(rustix::io::Errno::SRCH))?;
    match hear(&ours) {
        Ok(()) => Ok((init, ours)),
        Err(error) => {
            drop(ours);
            let _ = init.signal(nix::sys::signal::Signal::SIGKILL);
            let _ = init.wait(ENDING);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
            Err(error)
        }
    }
}

fn hear(line: &Line) -> Result<(), NamespaceError> {
    let said = line.hear(BEGINNING).unwrap_or_default();
    match said[..] {
        [READY, 0, 0, 0, 0] => Ok(()),
        [step, ref errno @ ..] if errno.len() == 4 => {
            let errno = i32::from_ne_bytes([errno[0], errno[1], errno[2], errno[3]]);
            let step =
                NamespaceStep::ALL.into_iter().find(|it| *it as u8 == step).unwrap_or(NamespaceStep::Begin);
            Err(NamespaceError { step, source: io::Error::from_raw_os_error(errno) })
        }
        _ => Err(NamespaceError { step: NamespaceStep::Begin, source: io::Error::other("it sent no reply") }),
    }
}

/// Sets up the first process, before it does anything else. `user` holds the user and group ids to map.
fn set_up(procs: Option<BorrowedFd<'_>>, user: Option<(u32, u32)>) -> Result<(), NamespaceError> {
    let at = |step| move |source: io::Error| NamespaceError { step, source };
    // Its own process group, so that signals for our job do not reach it. It stays in our session: otherwise
    // the kernel would treat the session's process groups as orphaned, and hang up their stopped processes.
    let us = nix::unistd::Pid::from_raw(0);
    let _ = nix::unistd::setpgid(us, us);
    if let Some(procs) = procs {
        rustix::io::write(procs, b"0").map_err(|errno| at(NamespaceStep::Join)(errno.into()))?;
    }
    if let Some((uid, gid)) = user {
        map_user(uid, gid).map_err(at(NamespaceStep::Map))?;
    }
    // Die with the supervisor, even if another process holds the socket open.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(|errno| at(NamespaceStep::Begin)(errno.into()))?;
    // SAFETY: SIG_IGN is no handler of ours, so nothing of ours runs in signal context.
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::Signal::SIGCHLD, nix::sys::signal::SigHandler::SigIgn)
    }
    .map_err(|errno| at(NamespaceStep::Begin)(errno.into()))?;
    separate_mounts().map_err(at(NamespaceStep::Mounts))?;
    let nothing: Option<&str> = None;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), plain, nothing)
        .map_err(|errno| at(NamespaceStep::Proc)(errno.into()))
}

/// Whether we can create namespaces, and mount in them, without a user namespace around them (CAP_SYS_ADMIN).
pub(crate) fn needs_no_user() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false)
}

/// In a new mount namespace: what is mounted from here on is not seen outside.
pub(crate) fn separate_mounts() -> io::Result<()> {
    let nothing: Option<&str> = None;
    Ok(mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)?)
}

/// Moves this process into new namespaces. In a user namespace it keeps its user and group.
///
/// Must be called while this process has a single thread.
pub(crate) fn unshare(namespaces: CloneFlags) -> io::Result<()> {
    // In the user namespace they have no meaning until they are mapped.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    nix::sched::unshare(namespaces)?;
    if namespaces.contains(CloneFlags::CLONE_NEWUSER) { map_user(uid, gid) } else { Ok(()) }
}

/// Makes this user and group, which are those that created our user namespace, valid inside it.
pub(super) fn map_user(uid: u32, gid: u32) -> io::Result<()> {
    let write = |file, text: String| std::fs::write(Path::new("/proc/self").join(file), text);
    // Needed since Linux 3.19 if the group is mapped without privilege (user_namespaces(7)).
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("gid_map", format!("{gid} {gid} 1"))
}

/// Whether a user namespace can be created. A child tries it.
///
/// Must be called while this process has a single thread.
pub(crate) fn can_make_user_namespace() -> bool {
    // SAFETY: this process has one thread, so the child finds no lock held.
    match unsafe { fork_with(libc::CLONE_NEWUSER) }.map(Pid::from_raw) {
        Err(_) => false,
        // SAFETY: exits without unwinding, so no code of the parent runs.
        Ok(None) => unsafe { libc::_exit(0) },
        Ok(Some(pid)) => {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            true
        }
    }
}

/// Makes the next child of this process enter the namespace. The calling process must do nothing else
/// afterwards.
///
/// # Safety
/// Async-signal-safe. The caller must have one thread and share its file system state with no other process.
pub(crate) unsafe fn enter(init: RawFd, flags: libc::c_int) -> bool {
    // SAFETY: setns(2) takes plain numbers.
    unsafe { libc::setns(init, flags) == 0 }
}
