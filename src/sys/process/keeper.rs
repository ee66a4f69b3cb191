//! Runs a program beside this process, and kills it when this process ends, however it ends.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, getpid, getppid};

use super::detach::{fork_detached, keep_only, reap_detached};
use super::pidfd::Process;

/// How long the program may take to get ready, even on a slow machine.
const BEGINNING: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// A killed process that is not stuck exits well within this time.
const ENDING: Duration = Duration::from_secs(2);
const READY: &[u8] = b"ready";
/// How much of what it says about a failure is read.
const LONGEST_COMPLAINT: u64 = 2_000;

/// A program and its keeper: a child that wait(2) does not see, which kills the program when we are gone. If the keeper is
/// killed, the kernel kills the program.
#[derive(Debug)]
pub(crate) struct Kept {
    keeper: Process,
    line: Option<OwnedFd>,
}

/// Starts the program, and waits until it writes something to its standard output. If it exits before that, the error is
/// what it wrote to its standard error.
///
/// Must be called while this process has a single thread.
pub(crate) fn keep(command: Command) -> io::Result<Kept> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let pid = fork_detached(|| {
        let result = keep_only(&[theirs.as_fd()]).and_then(|()| watch(command, &theirs));
        if let Err(error) = result {
            let _ = send(&theirs, error.to_string().as_bytes(), SendFlags::NOSIGNAL);
        }
    })?;
    drop(theirs);
    let keeper = Process::open(pid)?.ok_or_else(|| io::Error::other("its keeper is gone"))?;
    let kept = Kept { keeper, line: Some(ours) };
    kept.hear().map(|()| kept)
}

impl Kept {
    fn hear(&self) -> io::Result<()> {
        let Some(line) = &self.line else { return Ok(()) };
        if !matches!(poll(&mut [PollFd::new(line, PollFlags::IN)], Some(&BEGINNING)), Ok(1)) {
            return Err(io::Error::other(format!("it was not ready within {} s", BEGINNING.tv_sec)));
        }
        let mut said = [0u8; LONGEST_COMPLAINT as usize + 100];
        let (length, _) = recv(line, &mut said, RecvFlags::DONTWAIT)?;
        match &said[..length] {
            READY => Ok(()),
            said => Err(io::Error::other(String::from_utf8_lossy(said).into_owned())),
        }
    }

    pub(crate) fn keeper(&self) -> Pid {
        self.keeper.pid
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.keeper.has_exited()
    }
}

/// Kills the program, and waits until it is gone.
impl Drop for Kept {
    fn drop(&mut self) {
        self.line = None;
        if !self.keeper.wait(ENDING).unwrap_or(false) {
            let _ = self.keeper.signal(Signal::SIGKILL);
            let _ = self.keeper.wait(ENDING);
        }
        reap_detached(self.keeper.pid);
    }
}

/// Runs the keeper, until the program exits or the other end of the line is closed.
fn watch(mut command: Command, line: &OwnedFd) -> io::Result<()> {
    let complaints = File::from(memfd_create("complaints", MemfdFlags::CLOEXEC)?);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints.try_clone()?);
    let us = getpid();
    // SAFETY: prctl(2) and getppid(2) are async-signal-safe.
    unsafe { command.pre_exec(move || die_with(us)) };
    let mut child = command.spawn()?;
    let result = report_and_wait(&mut child, complaints, line);
    let _ = child.kill();
    let _ = child.wait();
    result
}

fn report_and_wait(child: &mut Child, complaints: File, line: &OwnedFd) -> io::Result<()> {
    let mut output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    if is_first_ready(output.as_fd(), line.as_fd())? {
        if output.read(&mut [0])? == 0 {
            return Err(complaint(complaints)?);
        }
        let _ = send(line, READY, SendFlags::NOSIGNAL);
        let pid = Pid::from_raw(child.id() as i32).ok_or(io::ErrorKind::NotFound)?;
        let program = Process::open(pid)?.ok_or(io::ErrorKind::NotFound)?;
        is_first_ready(program.as_fd(), line.as_fd())?;
    }
    Ok(())
}

/// Waits for either, and returns whether the first is readable.
fn is_first_ready(first: impl AsFd, line: impl AsFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(&first, PollFlags::IN), PollFd::new(&line, PollFlags::IN)];
    while let Err(errno) = poll(&mut fds, None) {
        if errno != rustix::io::Errno::INTR {
            return Err(errno.into());
        }
    }
    Ok(!fds[0].revents().is_empty())
}

fn complaint(mut complaints: File) -> io::Result<io::Error> {
    complaints.rewind()?;
    let mut said = Vec::new();
    complaints.take(LONGEST_COMPLAINT).read_to_end(&mut said)?;
    Ok(io::Error::other(String::from_utf8_lossy(&said).trim().to_owned()))
}

fn die_with(parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    match getppid() {
        Some(pid) if pid == parent => Ok(()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let error = keep(shell("echo 'no such thing' >&2; exit 3")).unwrap_err();
        assert_eq!(error.to_string(), "no such thing");
    }

    #[test]
    fn a_program_runs_until_it_is_dropped() {
        let kept = keep(shell("echo ready; exec sleep 1000")).unwrap();
        let program = crate::sys::procfs::walk::children(kept.keeper()).unwrap()[0];
        assert!(kept.is_running() && Process::exists(program));
        drop(kept);
        assert!(!Process::exists(program));
    }

    #[test]
    fn the_kernel_kills_it_if_the_keeper_is_killed() {
        let kept = keep(shell("echo ready; exec sleep 1000")).unwrap();
        let program = crate::sys::procfs::walk::children(kept.keeper()).unwrap()[0];
        let program = Process::open(program).unwrap().unwrap();
        kept.keeper.signal(Signal::SIGKILL).unwrap();
        assert!(program.wait(ENDING).unwrap());
        assert!(!kept.is_running());
    }
}
