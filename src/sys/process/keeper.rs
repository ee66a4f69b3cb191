//! Runs a program beside this process, and kills it when this process ends, however it ends.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, getpid, getppid};

use super::detach::{fork_detached, keep_only, reap_detached};
use super::line::Line;
use super::own_environment::forget_environment;
use super::pidfd::Process;

/// How long the program may take to get ready, even if many start at once on a slow machine.
const BEGINNING: Duration = Duration::from_secs(30);
/// A killed process that is not stuck exits well within this time.
pub(crate) const ENDING: Duration = Duration::from_secs(2);
/// Precedes the program's pid.
const READY: &[u8] = b"ready";
/// How much of what it says about a failure is read.
const LONGEST_COMPLAINT: u64 = 2_000;

/// A program and its keeper: a child that wait(2) does not see, which kills the program when we are gone. If the keeper is
/// killed, the kernel kills the program, unless it has changed its rights since (`PR_SET_PDEATHSIG`).
#[derive(Debug)]
pub(crate) struct Kept {
    keeper: Process,
    program: Pid,
    line: Option<Line>,
}

/// Starts the program, with no variables but these of ours, and waits until it writes something to its standard output. If it
/// exits before that, the error is what it wrote to its standard error. Signals that are blocked here are blocked there.
///
/// Must be called while this process has a single thread.
pub(crate) fn keep(command: Command, variables: &[&str]) -> io::Result<Kept> {
    let (ours, theirs) = Line::pair()?;
    let pid = fork_detached(|| {
        forget_environment(variables);
        // It closes our end of the line too.
        let result = keep_only(&[theirs.as_fd()]).and_then(|()| watch(command, &theirs));
        if let Err(error) = result {
            theirs.say(error.to_string().as_bytes());
        }
    })?;
    drop(theirs);
    let keeper = Process::open(pid)?.ok_or_else(|| io::Error::other("its keeper is gone"))?;
    let mut kept = Kept { keeper, program: pid, line: Some(ours) };
    let said = kept.line.as_ref().map_or(Ok(Vec::new()), |line| line.hear(BEGINNING))?;
    let program = said.strip_prefix(READY).and_then(|pid| Some(i32::from_ne_bytes(pid.try_into().ok()?)));
    match program.and_then(Pid::from_raw) {
        Some(program) => kept.program = program,
        None if said.is_empty() => return Err(io::Error::other("its keeper was killed")),
        None => return Err(io::Error::other(String::from_utf8_lossy(&said).into_owned())),
    }
    Ok(kept)
}

impl Kept {
    /// The keeper and the program.
    pub(crate) fn pids(&self) -> [Pid; 2] {
        [self.keeper.pid, self.program]
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
fn watch(mut command: Command, line: &Line) -> io::Result<()> {
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

fn report_and_wait(child: &mut Child, complaints: File, line: &Line) -> io::Result<()> {
    let mut output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    if !is_first_ready(output.as_fd(), line.as_fd())? {
        return Ok(());
    }
    if output.read(&mut [0])? == 0 {
        return Err(complaint(complaints)?);
    }
    let pid = child.id() as i32;
    line.say(&[READY, &pid.to_ne_bytes()].concat());
    let program = Pid::from_raw(pid).map(Process::open).transpose()?.flatten();
    is_first_ready(program.ok_or(io::ErrorKind::NotFound)?.as_fd(), line.as_fd())?;
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

    fn kept(script: &str) -> io::Result<Kept> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        keep(command, &["PATH"])
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let error = kept("echo 'no such thing' >&2; exit 3").unwrap_err();
        assert_eq!(error.to_string(), "no such thing");
    }

    #[test]
    fn a_program_runs_until_it_is_dropped() {
        let kept = kept("[ -n \"$PATH\" ] && [ -z \"$HOME\" ] && echo ready; exec sleep 1000").unwrap();
        let [keeper, program] = kept.pids();
        assert!(kept.is_running() && Process::exists(keeper) && Process::exists(program));
        drop(kept);
        assert!(!Process::exists(keeper) && !Process::exists(program));
    }

    #[test]
    fn the_kernel_kills_it_if_the_keeper_is_killed() {
        let kept = kept("echo ready; exec sleep 1000").unwrap();
        let program = Process::open(kept.program).unwrap().unwrap();
        kept.keeper.signal(Signal::SIGKILL).unwrap();
        assert!(program.wait(ENDING).unwrap());
        assert!(!kept.is_running());
    }
}
