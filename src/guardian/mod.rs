//! Layer 5, if the supervisor is killed: a second process tears down the session in its place.
//!
//! The guardian is forked before anything of the session runs. A kill of the supervisor, its process group or its
//! session does not reach the guardian, which has its own session. It is our child, so that we can reap it: the
//! first process of a container often does not. It sleeps until the supervisor reports a clean end of the
//! session, or dies without doing so.

pub(crate) mod record;
mod relay;
mod watched_children;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::Pid;

use crate::containers::{Proxy, monitors};
use crate::containment::{MARKER, OUTER, Shelter};
use crate::counts::{self, By};
use crate::guardian::record::Record;
use crate::guardian::relay::Relay;
use crate::guardian::watched_children::{EVERY, WatchedChildren};
use crate::leaks;
use crate::runtime::clock;
use crate::runtime::events::{Events, Wake};
use crate::runtime::failpoint;
use crate::scratch;
use crate::sys::process::detach::{fork_detached, keep_only, reap_detached};
use crate::sys::process::first_process;
use crate::sys::process::keeper::ENDING;
use crate::sys::process::own_environment::forget_environment;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcStat;
use crate::teardown::{Cause, Context, DeadSupervisor, NoSupervisor, SERVICE, Teardown, raise_priority};
use crate::text::{PROCESS_LIMIT, plain};

const CLEAN: &[u8] = b"clean";
/// Follows an error number.
const FAILED: &[u8] = b"failed";
/// The bytes of an error number.
const ERRNO: usize = 4;
const READY: &[u8] = b"ready";
const ATTEMPTS: usize = 5;
/// How long the guardian may take to answer, even on a slow machine.
const ANSWER: Duration = Duration::from_secs(5);

/// The supervisor's connection to the guardian.
#[derive(Debug)]
pub(crate) struct Guardian {
    line: OwnedFd,
    /// Our own unreaped child, so the pid cannot be reused. `None` once it has been reaped.
    pid: Option<Pid>,
    is_ready: bool,
}

impl Guardian {
    /// Forks a guardian for `context`. It gets ready while we go on.
    pub(crate) fn fork(context: &mut Context, record: &Record) -> Result<Self> {
        Self::start(context, record, false)
    }

    /// One that `replaces` another has to find the children that the other one knew before it is ready.
    fn start(context: &mut Context, record: &Record, replaces: bool) -> Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .context("cannot create the guardian's socket (socketpair)")?;
        // The guardian's own handle on us, opened while we are certainly alive.
        let us = Process::open(rustix::process::getpid()).context("cannot open a pidfd for cgrun itself")?;
        let us = us.context("cgrun cannot find its own process")?;
        let pid = fork_detached(|| {
            let log = context.leak_log.iter().map(|log| log.file().as_fd());
            let kept = [theirs.as_fd(), us.as_fd()].into_iter().chain(log);
            let proxy = context.proxy.iter().flat_map(Proxy::descriptors);
            let kept: Vec<_> = kept.chain(context.containment.descriptors()).chain(proxy).collect();
            failpoint::disable();
            let invocation = std::env::var_os(SERVICE);
            hide_from_cookie_killers();
            // `keep_only` closes their descriptors, so they must not be dropped.
            std::mem::forget(std::mem::take(&mut context.components));
            // What the teardown needs is made now, because later the host may have none left.
            match keep_only(&kept).and_then(|()| Events::new()) {
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    let _ = send(&theirs, &[&errno.to_ne_bytes()[..], FAILED].concat(), SendFlags::NOSIGNAL);
                }
                Ok(events) => {
                    let mut children = WatchedChildren::default();
                    if replaces {
                        children.look(&us, context);
                    }
                    let shelter = context.containment.shelter(rustix::process::getpid());
                    // Without it, only that protection is missing.
                    let shelter = shelter.filter(|it| it.enter().is_ok());
                    // The supervisor may already be dead. That is no reason to stop: there is a session to tear
                    // down.
                    let _ = send(&theirs, READY, SendFlags::NOSIGNAL);
                    protect_from_oom();
                    watch(&theirs, &us, children, &events, invocation, context, record);
                    // If the supervisor is alive, it removes it.
                    let is_left_alone = us.wait(Duration::ZERO).unwrap_or(true);
                    shelter.filter(|_| is_left_alone).iter().for_each(Shelter::leave);
                }
            }
        })
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EAGAIN) => anyhow!("cannot fork the guardian: {PROCESS_LIMIT}"),
            _ => anyhow!("cannot fork the guardian: {}", plain(&error)),
        })?;
        first_process::wait_for(pid);
        drop(theirs);
        failpoint::reached("guardian forked");
        context.guardian = Some(pid);
        context.containment.spare(pid);
        Ok(Self { line: ours, pid: Some(pid), is_ready: false })
    }

    /// Waits until it is ready. If it is killed before that, forks another one. Must be called before anything of the
    /// session is started.
    pub(crate) fn await_ready(&mut self, context: &mut Context, record: &Record) -> Result<()> {
        if self.is_ready {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let said = match self.hears() {
                Ok(said) => said,
                Err(error) => {
                    self.kill();
                    self.end(context);
                    bail!("the guardian did not answer within {} s: {}", ANSWER.as_secs(), plain(&error));
                }
            };
            if said == READY {
                self.is_ready = true;
                return Ok(());
            }
            self.end(context);
            if let Some(Ok(errno)) = said.strip_suffix(FAILED).map(<[u8; ERRNO]>::try_from) {
                let error = io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
                bail!("the guardian cannot detach itself from its surroundings: {}", plain(&error));
            }
            *self = Self::start(context, record, true)?;
        }
        bail!("the guardian was killed {ATTEMPTS} times before it was ready")
    }

    /// Replaces the guardian if it was killed. Returns whether it did.
    pub(crate) fn ensure_guardian(&mut self, context: &mut Context, record: &Record) -> Result<bool> {
        self.await_ready(context, record)?;
        let dead = self.is_dead();
        if dead {
            self.is_ready = false;
            self.await_ready(context, record)?;
        }
        Ok(dead)
    }

    /// Tells the guardian that the session is over and clean, and waits until it has exited.
    pub(crate) fn dismiss(mut self, context: &mut Context) {
        let _ = send(&self.line, CLEAN, SendFlags::NOSIGNAL);
        self.end(context);
    }

    /// Waits until it has exited, kills it if it does not exit, and reaps it.
    fn end(&mut self, context: &mut Context) {
        let Some(pid) = self.pid.take() else { return };
        context.guardian = None;
        if let Ok(Some(process)) = Process::open(pid) {
            if !process.wait(ANSWER).unwrap_or(false) {
                let _ = process.signal(Signal::SIGKILL);
                let _ = process.wait(ANSWER);
            }
        }
        first_process::forget(pid);
        reap_detached(pid);
        context.containment.shelter(pid).iter().for_each(Shelter::remove);
    }

    fn kill(&self) {
        if let Some(Ok(Some(process))) = self.pid.map(Process::open) {
            let _ = process.signal(Signal::SIGKILL);
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

    /// The guardian's next message; empty if it has exited.
    fn hears(&self) -> io::Result<Vec<u8>> {
        Wake::readable(self.line.as_fd()).wait(clock::now() + ANSWER);
        let mut buffer = [0u8; 16];
        let (length, _) = recv(&self.line, &mut buffer, RecvFlags::DONTWAIT)?;
        Ok(buffer[..length].to_vec())
    }
}

/// Runs the guardian, from start to exit.
fn watch(
    line: &OwnedFd,
    supervisor: &Process,
    mut children: WatchedChildren,
    events: &Events,
    invocation: Option<OsString>,
    context: &mut Context,
    record: &Record,
) {
    let began = ProcStat::read(supervisor.pid).map(|it| it.started);
    let every = context.containment.can_be_left().then_some(&EVERY);
    let relay = Relay::new();
    // Opened while the supervisor keeps their pids.
    let way_out: Vec<_> =
        context.way_out.iter().filter_map(|&pid| Process::open(pid).ok().flatten()).collect();
    loop {
        let mut fds = vec![PollFd::new(supervisor, PollFlags::IN), PollFd::new(line, PollFlags::IN)];
        fds.extend(relay.wakes_on().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, every) {
            Ok(0) => {
                children.look(supervisor, context);
                continue;
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let died = !fds[0].revents().is_empty();
        relay.relay(supervisor, context);
        let mut buffer = [0u8; 16];
        match recv(line, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) if &buffer[..length] == CLEAN => return,
            _ if died => break,
            // The supervisor has closed the socket but may still be alive: only its death counts.
            Ok((0, _)) => {
                while !supervisor.wait(ANSWER).unwrap_or(true) {}
                break;
            }
            _ => {}
        }
    }
    raise_priority();
    context.children_outside = children.living();
    let monitors = monitors::finish_of(&context.containment, &context.children_outside, monitors::LONGEST);
    context.children_outside.extend(monitors);
    context.dead_supervisor =
        began.zip(rustix::process::getppid()).map(|(began, heir)| DeadSupervisor { began, heir, invocation });
    let verdict = Teardown::new(context, &Cause::SUPERVISOR_DIED, events, &mut NoSupervisor).run();
    counts::add(&verdict, &Cause::SUPERVISOR_DIED, By::Guardian);
    let tmp = record.end_scratch(&verdict, true, scratch::PATIENCE);
    record.write(&verdict, tmp.as_ref());
    // They end with the supervisor. Its heir reaps them.
    for process in &way_out {
        if !process.wait(ENDING).unwrap_or(false) {
            let _ = process.signal(Signal::SIGKILL);
        }
    }
    context.limits.restore();
}

/// CI runners kill all processes whose environment contains a variable of the job. The guardian must not be found
/// that way, because it has to deal with the processes that were not.
fn hide_from_cookie_killers() {
    // Kept: the markers of an outer session, which is allowed to kill us, and the marks of a test that runs cgrun, so
    // that they are not mistaken for those of a leak.
    let kept: Vec<_> = [MARKER, OUTER].into_iter().chain(leaks::variable_names()).collect();
    forget_environment(&kept);
}

/// Makes the kernel choose another process when memory is short. This needs privilege; without it, only that
/// protection is missing.
fn protect_from_oom() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
}
