//! Layer 5, where the supervisor is the victim: a second process ends the session that the first one
//! cannot end any more.
//!
//! It is forked before anything of the session runs. Whoever kills the supervisor does not hit it:
//! it is in a session of its own and not a child of ours. It sleeps until the supervisor says that
//! it has ended the session, or dies without having said so.

pub(crate) mod record;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use crate::guardian::record::Record;
use crate::runtime::clock;
use crate::runtime::events::{Events, Wake};
use crate::runtime::failpoint;
use crate::sys::process::detach::{fork_detached, keep_only};
use crate::sys::process::pidfd::Process;
use crate::teardown::{Cause, Context, NoSupervisor, Teardown, raise_priority};

const CLEAN: &[u8] = b"clean";
/// The bytes of a pid.
const PID: usize = 4;
const ATTEMPTS: usize = 5;
/// How long the guardian may take to answer, on the slowest machine.
const ANSWER: Duration = Duration::from_secs(5);

/// The supervisor's hold on it.
#[derive(Debug)]
pub(crate) struct Guardian {
    line: OwnedFd,
}

impl Guardian {
    /// Forks it and waits until it stands guard over `context`. Where somebody kills it on the way,
    /// there is another one.
    pub(crate) fn arm(context: &mut Context, record: &Record) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            if let Some(guardian) = Self::try_arm(context, record)? {
                return Ok(guardian);
            }
        }
        bail!("the guardian was killed {ATTEMPTS} times before it stood guard")
    }

    fn try_arm(context: &mut Context, record: &Record) -> Result<Option<Self>> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .context("cannot make the guardian's line (socketpair)")?;
        // Its own handle on us, taken while we surely live.
        let us = Process::open(rustix::process::getpid()).context("cannot open a pidfd of our own")?;
        let us = us.context("we are not alive")?;
        fork_detached(|| {
            let kept: Vec<_> =
                [theirs.as_fd(), us.as_fd()].into_iter().chain(context.containment.descriptors()).collect();
            failpoint::disable();
            // Their descriptors are closed here; nothing of them is needed.
            std::mem::forget(std::mem::take(&mut context.components));
            if keep_only(&kept).is_ok() {
                // Nobody may be there to hear it any more: so much the more there is to do.
                let _ = send(&theirs, &std::process::id().to_ne_bytes(), SendFlags::NOSIGNAL);
                protect_from_oom();
                watch(&theirs, &us, context, record);
            }
        })
        .context("cannot fork the guardian")?;
        drop(theirs);
        failpoint::reached("guardian forked");
        let guardian = Self { line: ours };
        let Ok(pid) = <[u8; PID]>::try_from(guardian.hears()?) else { return Ok(None) };
        context.guardian = rustix::process::Pid::from_raw(i32::from_ne_bytes(pid));
        context.guardian.into_iter().for_each(|pid| context.containment.spare(pid));
        Ok(Some(guardian))
    }

    /// Puts another one in its place where it was killed; `true` then.
    pub(crate) fn ensure_guardian(&mut self, context: &mut Context, record: &Record) -> Result<bool> {
        let dead = self.is_dead();
        if dead {
            context.guardian_replaced = true;
            *self = Self::arm(context, record)?;
        }
        Ok(dead)
    }

    /// The session is over and clean: the guardian may go. Waits until it has.
    pub(crate) fn dismiss(self) {
        if send(&self.line, CLEAN, SendFlags::NOSIGNAL).is_ok() {
            let _ = self.hears();
        }
    }

    /// Readable when it has died.
    pub(crate) fn line(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }

    fn is_dead(&self) -> bool {
        let mut fds = [PollFd::new(&self.line, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
    }

    /// The next thing it says; nothing where it has ended.
    fn hears(&self) -> io::Result<Vec<u8>> {
        Wake::readable(self.line.as_fd()).wait(clock::now() + ANSWER);
        let mut buffer = [0u8; 16];
        let (length, _) = recv(&self.line, &mut buffer, RecvFlags::DONTWAIT)?;
        Ok(buffer[..length].to_vec())
    }
}

/// The guardian's whole life.
fn watch(line: &OwnedFd, supervisor: &Process, context: &mut Context, record: &Record) {
    loop {
        let mut fds = [PollFd::new(supervisor, PollFlags::IN), PollFd::new(line, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let died = !fds[0].revents().is_empty();
        let mut buffer = [0u8; 16];
        match recv(line, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) if &buffer[..length] == CLEAN => return,
            _ if died => break,
            // Its end of the line is closed, but it may live on without us: only its death counts.
            Ok((0, _)) => {
                while !supervisor.wait(ANSWER).unwrap_or(true) {}
                break;
            }
            _ => {}
        }
    }
    let Ok(events) = Events::new() else { return };
    raise_priority();
    let verdict = Teardown::new(context, &Cause::SUPERVISOR_DIED, &events, &mut NoSupervisor).run();
    record.write(&verdict);
    context.limits.restore();
}

/// The kernel is to choose somebody else when memory is short. Needs privilege; without it, nothing
/// is lost but that.
fn protect_from_oom() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
}
