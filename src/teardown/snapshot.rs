//! Who is still there, and where they came from.

use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::containment::{CgroupError, Leaf};
use crate::sys::proc::{self, ProcessInfo};

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
    /// Had left its own cgroup for another one in the session.
    Strayed,
    /// Had left the session's cgroup.
    Escaped,
}

/// The living of one leaf.
#[derive(Debug, Default)]
pub struct Crowd {
    pub described: Vec<ProcessInfo>,
    /// All of them, those described included.
    pub count: usize,
}

/// Reads who is in `leaf` while nobody new is born there, and lets it go on.
///
/// It is not waited for that all stand still: that takes milliseconds, and who is there is known
/// without it. What is born before the freeze takes hold is killed like the rest.
pub fn take(leaf: &Leaf) -> Result<Crowd, CgroupError> {
    // Only for a truer picture: where it cannot be done, they are read as they move.
    let _ = leaf.freeze(true);
    let crowd = leaf.members().map(describe);
    let _ = leaf.freeze(false);
    crowd
}

fn describe(members: Vec<Pid>) -> Crowd {
    let deadline = Instant::now() + READ;
    let described: Vec<_> = members
        .iter()
        .take_while(|_| Instant::now() < deadline)
        .filter_map(|&pid| ProcessInfo::read(pid))
        .filter(|process| !process.is_zombie)
        .take(DESCRIBED)
        .collect();
    Crowd { described, count: members.len() }
}

impl Leak {
    pub fn new(how: How, process: ProcessInfo) -> Self {
        let started_during = proc::variable(process.pid, "PYTEST_CURRENT_TEST");
        let started_during = started_during.map(|test| proc::readable(&test.to_string_lossy()));
        Self { how, process, started_during }
    }
}
