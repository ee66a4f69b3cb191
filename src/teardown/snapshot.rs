//! Who is still there, and where they came from.

use std::time::Duration;

use rustix::process::Pid;

use crate::clock;
use crate::containment::{ContainmentError, Leaf};
use crate::events::Wake;
use crate::sys::proc::{self, ProcessInfo};

/// A forking crowd may not come to a stand in time.
const FREEZE: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_micros(200);
/// Bounds of one snapshot: after these, the rest is only counted.
const READ: Duration = Duration::from_millis(500);
const DESCRIBED: usize = 200;

/// A process that should not have been there, or many of one kind.
#[derive(Debug)]
pub struct Leak {
    pub how: How,
    pub process: ProcessInfo,
    /// The test during which it was started, by its own account.
    pub started_during: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Still there after the command had ended.
    OutlivedCommand,
    /// Of a service, and still there when its grace was over.
    OutlivedService(String),
    /// Of a command that asked whether this service is ready.
    OutlivedProbe(String),
    /// Had left its own cgroup for another one in the session.
    Strayed,
    /// Had left the session's cgroup.
    Escaped,
}

/// The living of one leaf.
#[derive(Debug, Default)]
pub struct Crowd {
    pub described: Vec<Leak>,
    /// The rest, as far as they live.
    pub undescribed: usize,
}

/// A leaf whose processes stand still, until this is dropped. Nobody in it comes or goes meanwhile,
/// and a crowd cannot keep us from the processor.
pub struct Still<'a>(&'a Leaf);

impl<'a> Still<'a> {
    /// Only for a truer picture: where it cannot be had in time, they are met as they move.
    pub fn hold(leaf: &'a Leaf) -> Self {
        let still = Self(leaf);
        let patience = clock::now() + FREEZE;
        if leaf.freeze(true).is_ok() {
            while leaf.is_frozen().is_ok_and(|frozen| !frozen) && clock::now() < patience {
                // The kernel's notice may be 15 ms late.
                Wake::wait_for_change(leaf.events(), clock::now() + LOOK);
            }
        }
        still
    }
}

impl Drop for Still<'_> {
    /// What cannot be let go on can still be killed.
    fn drop(&mut self) {
        let _ = self.0.freeze(false);
    }
}

/// Reads who is in `leaf` while it stands still.
pub fn take(leaf: &Leaf, how: &How) -> Result<Crowd, ContainmentError> {
    let _still = Still::hold(leaf);
    leaf.members().map(|members| describe(members, how))
}

fn describe(members: Vec<Pid>, how: &How) -> Crowd {
    let deadline = clock::now() + READ;
    let mut crowd = Crowd::default();
    for pid in members {
        if crowd.described.len() == DESCRIBED || clock::now() >= deadline {
            crowd.undescribed += usize::from(proc::start_time(pid).is_some());
        } else if let Some(process) = ProcessInfo::read(pid).filter(|process| !process.is_zombie) {
            crowd.described.push(Leak::new(how.clone(), process));
        }
    }
    crowd
}

impl Leak {
    pub fn new(how: How, process: ProcessInfo) -> Self {
        let started_during = proc::variable(process.pid, "PYTEST_CURRENT_TEST");
        let started_during = started_during.map(|test| proc::readable(&test.to_string_lossy()));
        Self { how, process, started_during }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teardown::Verdict;

    #[test]
    fn the_dead_are_not_counted_and_the_unread_are() {
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        let zombie = Pid::from_raw(dead.id() as i32).unwrap();
        while proc::start_time(zombie).is_some() {
            std::thread::sleep(LOOK);
        }
        let us = rustix::process::getpid();
        let members = [vec![zombie], vec![us; DESCRIBED], vec![zombie, us]].concat();
        let mut verdict = Verdict::default();
        verdict.add_leaks(describe(members, &How::OutlivedCommand));
        assert_eq!((verdict.leaks.len(), verdict.leaked()), (DESCRIBED, DESCRIBED + 1));
        dead.wait().unwrap();
    }
}
