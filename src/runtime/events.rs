//! Waits for everything that the supervisor waits for, with one thread and one ppoll(2).

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;

use super::clock;
use super::double_requests::DoubleRequests;
use crate::sys::poll::timeout_until;
use crate::sys::process::children;
use crate::sys::procfs::walk;
use crate::sys::signals::{Caught, Sender, Signals};
use crate::sys::time::Instant;

/// Children are reaped for at most this long before anything else is checked.
const REAPING: Duration = Duration::from_millis(10);

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Signal(Caught),
    /// A child of ours exited, either one that we started or one that was re-parented to us. It is already
    /// reaped.
    Exited(Pid, ExitStatus),
}

/// A descriptor that wakes the supervisor, in addition to signals.
#[derive(Clone, Copy)]
pub(crate) struct Wake<'a> {
    fd: BorrowedFd<'a>,
    flags: PollFlags,
}

impl<'a> Wake<'a> {
    pub(crate) fn readable(fd: BorrowedFd<'a>) -> Self {
        Self { fd, flags: PollFlags::IN }
    }

    pub(crate) fn writable(fd: BorrowedFd<'a>) -> Self {
        Self { fd, flags: PollFlags::OUT }
    }

    /// Wakes on a change of `cgroup.events`.
    pub(crate) fn changed(fd: BorrowedFd<'a>) -> Self {
        Self { fd, flags: PollFlags::PRI }
    }

    /// Waits for a change of `cgroup.events`, or until `deadline`. Without `events`, just waits until
    /// `deadline`.
    pub(crate) fn wait_for_change(events: Option<BorrowedFd<'_>>, deadline: Instant) {
        match events {
            Some(events) => Wake::changed(events).wait(deadline),
            None => drop(poll(&mut [], timeout_until(deadline, clock::now()).as_ref())),
        }
    }

    /// Waits until one of `wakes` is ready, or until `deadline`; signals stay pending.
    pub(crate) fn wait_for_any(wakes: &[Wake<'_>], deadline: Instant) {
        let mut fds: Vec<_> =
            wakes.iter().map(|wake| PollFd::from_borrowed_fd(wake.fd, wake.flags)).collect();
        let _ = poll(&mut fds, timeout_until(deadline, clock::now()).as_ref());
    }

    pub(crate) fn is_ready(&self) -> bool {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut [PollFd::from_borrowed_fd(self.fd, self.flags)], Some(&now)), Ok(1))
    }

    /// Waits for this descriptor alone; signals stay pending.
    pub(crate) fn wait(&self, deadline: Instant) {
        let timeout = timeout_until(deadline, clock::now());
        let _ = poll(&mut [PollFd::from_borrowed_fd(self.fd, self.flags)], timeout.as_ref());
    }
}

#[derive(Debug)]
pub(crate) struct Events {
    signals: Signals,
    /// More children may have exited than were reaped.
    unreaped: Cell<bool>,
    /// Children that we had before we started anything.
    preexisting: RefCell<Vec<Pid>>,
    requests: RefCell<DoubleRequests>,
}

impl Events {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            signals: Signals::block()?,
            unreaped: Cell::new(false),
            preexisting: RefCell::new(children::inherited()?),
            requests: RefCell::default(),
        })
    }

    /// The children that we had before we started anything, and that have not exited.
    pub(crate) fn preexisting_children(&self) -> Vec<Pid> {
        self.preexisting.borrow().clone()
    }

    /// Waits until something happens, one of `wakes` is ready, or `deadline` has passed, and returns what
    /// happened. Empty in the latter two cases.
    pub(crate) fn wait(&self, wakes: &[Wake<'_>], deadline: Option<Instant>) -> io::Result<Vec<Event>> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        fds.extend(wakes.iter().map(|wake| PollFd::from_borrowed_fd(wake.fd, wake.flags)));
        let deadline = if self.unreaped.get() { Some(clock::now()) } else { deadline };
        let timeout = deadline.and_then(|deadline| timeout_until(deadline, clock::now()));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => self.pending(),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns what has already happened, without waiting.
    pub(crate) fn pending(&self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut child_ended = self.unreaped.get();
        while let Some((caught, sender)) = self.signals.next()? {
            match caught.signal {
                Signal::SIGCHLD => child_ended = true,
                // A stop signal counts whichever process sent it: the whole job stops.
                _ if !caught.is_about_stopping() && self.is_our_own(sender) => {}
                _ if self.requests.borrow_mut().has_counted(caught.signal, sender) => {}
                _ => events.push(Event::Signal(caught)),
            }
        }
        // One SIGCHLD may stand for many children.
        if child_ended {
            let (ended, more) = children::reap(REAPING)?;
            self.preexisting.borrow_mut().retain(|child| ended.iter().all(|(pid, _)| pid != child));
            events.extend(ended.into_iter().map(|(pid, status)| Event::Exited(pid, status)));
            self.unreaped.set(more);
        }
        Ok(events)
    }

    /// Whether a process that sent us a signal descends from us. What it sends to its parent, or to its whole group, is
    /// not a request of the user: Xvfb tells its parent with SIGUSR1 that it is ready, and scripts run `kill 0`.
    ///
    /// The sender is looked up after it sent the signal. If it has exited and we are its parent, it is still our
    /// zombie. If another process has reaped it, it cannot be distinguished from a kill(1) by the user, and counts as
    /// one.
    fn is_our_own(&self, sender: Sender) -> bool {
        is_below(sender, rustix::process::getpid(), &self.preexisting.borrow())
    }
}

/// Whether the sender is a process that descends from a `supervisor`, other than through children that it had before its
/// session.
pub(crate) fn is_below(sender: Sender, supervisor: Pid, preexisting: &[Pid]) -> bool {
    let Sender::Process(sender) = sender else { return false };
    walk::ancestor_below(sender, supervisor).is_some_and(|child| !preexisting.contains(&child))
}
