//! The test process as a subreaper: every process that outlives cgrun becomes its child.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::DYING;
use crate::witness::{Leftover, Search};

pub(super) fn become_subreaper() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
}

/// Describes and kills the processes that outlive cgrun, however they escaped.
///
/// The kernel proves that none is left: waitid(2) returns ECHILD.
pub(super) fn kill_survivors() -> Vec<String> {
    let deadline = Instant::now() + DYING;
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
            Err(Errno::ECHILD) => return Vec::new(),
            Ok(WaitStatus::StillAlive) if Instant::now() > deadline => break,
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
            // Reaped, even if nix cannot express the status (a real-time signal).
            Ok(_) | Err(_) => {}
        }
    }
    let search = Search { parents: vec![std::process::id()], ..Search::default() };
    let survivors = search.leftovers().unwrap();
    assert!(!survivors.is_empty(), "waitid says that there are children, but /proc lists none");
    for survivor in &survivors {
        if let Leftover::Process { pid, .. } = survivor {
            // It is our own unreaped child, so its pid cannot have been reused.
            let _ = kill(Pid::from_raw((*pid).try_into().unwrap()), Signal::SIGKILL);
        }
    }
    survivors.iter().map(Leftover::to_string).collect()
}
