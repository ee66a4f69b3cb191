//! Mounts the cgroup2 file system without attaching it to any directory.
//!
//! A container may show its cgroups through a read-only mount and still permit this. A process with
//! CAP_SYS_ADMIN in the user namespace that owns its cgroup namespace can mount cgroup2 (cgroup_namespaces(7)).
//! Only that process needs the namespaces; the mount works in every process that has its descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::fork::fork_with;
use super::pidfd::Process;
use crate::sys::poll::timeout_until;
use crate::sys::time::Instant;

const ERRNO: usize = size_of::<i32>();
/// How long the child may take for each step. It takes milliseconds, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Mounts cgroup2 with our own cgroup as its root, and returns the directory of that cgroup. It stays mounted
/// until the descriptor is closed. `with_user` creates a user namespace for the privilege to do so.
///
/// Must be called while this process has a single thread.
pub(crate) fn mount_own_cgroup(with_user: bool) -> io::Result<OwnedFd> {
    let user = if with_user { libc::CLONE_NEWUSER } else { 0 };
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // SAFETY: this process has one thread, so the child finds no lock held.
    let pid = unsafe { fork_with(user | libc::CLONE_NEWCGROUP | libc::CLONE_NEWNS) }?;
    let Some(pid) = Pid::from_raw(pid) else {
        let sent = mount_here().and_then(|mount| send_descriptor(&theirs, &mount));
        if let Err(error) = sent {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let _ = rustix::net::send(&theirs, &errno.to_ne_bytes(), SendFlags::NOSIGNAL);
        }
        // SAFETY: exits without unwinding, so no code of the parent runs.
        unsafe { libc::_exit(0) }
    };
    drop(theirs);
    receive_from(pid, &ours, PATIENCE)
}

/// Receives the mount from this child of ours, and reaps it. A child that does not answer in time is killed.
fn receive_from(child: Pid, line: &OwnedFd, patience: Duration) -> io::Result<OwnedFd> {
    // The child closes its end when it exits, even if it is killed.
    let deadline = Instant::now() + patience;
    let mut fds = [PollFd::new(line, PollFlags::IN)];
    let ready = loop {
        match poll(&mut fds, timeout_until(deadline, Instant::now()).as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            ready => break ready,
        }
    };
    let received = match ready {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) => receive_descriptor(line),
        Err(errno) => Err(errno.into()),
    };
    if let Ok(Some(process)) = Process::open(child) {
        if received.is_err() {
            let _ = process.signal(Signal::SIGKILL);
        }
        let _ = process.wait(patience);
    }
    // A child that cannot even be killed is noticed when the teardown checks for remaining children.
    let _ = waitpid(Some(child), WaitOptions::NOHANG);
    received
}

fn mount_here() -> io::Result<OwnedFd> {
    let file_system = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(file_system.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(file_system.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn send_descriptor(line: &OwnedFd, descriptor: &OwnedFd) -> io::Result<()> {
    let descriptors = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(line, &[IoSlice::new(&0i32.to_ne_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_descriptor(line: &OwnedFd) -> io::Result<OwnedFd> {
    let mut errno = [0u8; ERRNO];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let data = &mut [IoSliceMut::new(&mut errno)];
        match recvmsg(line, data, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            message => break message?.bytes,
        }
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match (descriptor, length, i32::from_ne_bytes(errno)) {
        (Some(descriptor), ..) => Ok(descriptor),
        (None, ERRNO, errno) if errno != 0 => Err(io::Error::from_raw_os_error(errno)),
        _ => Err(io::Error::other("the process that mounts cgroup2 sent no reply")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::procfs::stat;

    #[test]
    fn a_child_that_does_not_answer_is_killed_and_reaped() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        // SAFETY: the child only repeats one system call.
        let child = unsafe { fork_with(0) }.unwrap();
        let Some(child) = Pid::from_raw(child) else {
            loop {
                // SAFETY: it only waits.
                unsafe { libc::pause() };
            }
        };
        let begin = Instant::now();
        let error = receive_from(child, &ours, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        assert!(stat::parent(child).is_none(), "it was not reaped");
        drop(theirs);
    }
}
