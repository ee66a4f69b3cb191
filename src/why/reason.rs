//! A wait together with the processes that could end it.

use rustix::process::Pid;

use super::graph::{Rank, Tie};
use super::line::Line;
use super::wait::{FileKind, Wait};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reason {
    pub wait: Wait,
    /// Those that could end the wait.
    pub blockers: Vec<Blocker>,
    /// What it waits at: an address, or the name of a file.
    pub object: Option<String>,
    /// What is known of the connection that it waits at.
    pub line: Option<Line>,
    /// Whether nobody but the process itself could end the wait.
    pub by_itself: bool,
    /// The same, except that it has other threads, which can wait for something else.
    pub by_its_threads: bool,
    /// It waits for events, and all that is known is that these are its children.
    pub are_children: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocker {
    pub pid: Pid,
    pub tie: Tie,
    /// Whether it belongs to the session.
    pub is_ours: bool,
}

impl Reason {
    pub(super) fn new(wait: Wait) -> Self {
        Self {
            wait,
            blockers: Vec::new(),
            object: None,
            line: None,
            by_itself: false,
            by_its_threads: false,
            are_children: false,
        }
    }

    /// How much it says about a hang if no other process of the session is behind it.
    pub(super) fn rank(&self) -> Rank {
        let is_held_outside = self.blockers.iter().any(|blocker| !blocker.is_ours);
        let takes_orders = self.takes_orders();
        match &self.wait {
            Wait::Stopped(_) | Wait::Traced(_) => Rank::Stopped,
            Wait::Busy(_) => Rank::Busy,
            Wait::FileLock(_) if is_held_outside => Rank::HeldOutside,
            Wait::FileLock(_) => Rank::NoPeer,
            Wait::Open(..) => Rank::NoPeer,
            Wait::Read(_) | Wait::Write(_) if self.by_itself => Rank::NoPeer,
            Wait::Read(_) | Wait::Write(_) if self.by_its_threads => Rank::Lock,
            Wait::Uninterruptible(_) => Rank::Kernel,
            Wait::Connect(_) => Rank::NoAnswer,
            Wait::Read(file) if matches!(file.kind, FileKind::Terminal(_)) || file.number == Some(0) => {
                if takes_orders {
                    Rank::Idle
                } else {
                    Rank::Input
                }
            }
            Wait::Read(_) if takes_orders => Rank::Idle,
            Wait::Read(_) | Wait::Write(_) => Rank::Outside,
            Wait::Transaction => Rank::Outside,
            Wait::DatabaseLock => Rank::Lock,
            Wait::Futex { shared: true } => Rank::SharedLock,
            Wait::Futex { shared: false } => Rank::Lock,
            Wait::Sleep(_) => Rank::Sleep,
            Wait::Events(_) if self.waits_outside() => {
                if self.line.is_some_and(|line| line.is_connecting) {
                    Rank::NoAnswer
                } else {
                    Rank::Outside
                }
            }
            Wait::Accept(_) | Wait::Events(_) => Rank::Idle,
            Wait::Signal | Wait::Child(_) | Wait::Other(_) | Wait::Running | Wait::Unknown(_) => {
                Rank::Unknown
            }
        }
    }

    /// Whether it waits for an answer that does not come from this session.
    fn waits_outside(&self) -> bool {
        self.line.is_some() && self.blockers.iter().all(|it| !it.is_ours)
    }

    /// Whether it only waits for what an ancestor writes.
    pub(super) fn takes_orders(&self) -> bool {
        !self.blockers.is_empty() && self.blockers.iter().all(|it| it.tie == Tie::Orders)
    }

    /// Whether it tells more than that the thread is at rest.
    pub(super) fn is_telling(&self) -> bool {
        let is_behind_it = self.blockers.iter().any(|blocker| blocker.tie != Tie::Orders);
        let rank = self.rank();
        !self.are_children && is_behind_it || rank >= Rank::Sleep && rank != Rank::Lock
    }
}
