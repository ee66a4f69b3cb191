//! Who is still there, and where they came from.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Pid;

use super::attribution::{Account, Origin, OriginReader};
use crate::containment::{ContainmentError, Leaf};
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::details::{self, Glimpse};
use crate::sys::pidfd::Process;
use crate::sys::proc::{self, ProcessInfo};
use crate::sys::sock_diag::{self, Listener};

/// A forking crowd may not come to a stand in time.
const FREEZE: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_micros(200);
/// Bounds of one snapshot: after these, the rest is only counted. So many are described in any case.
const READ: Duration = Duration::from_millis(500);
const DESCRIBED: usize = 1000;
const AT_LEAST: usize = 250;

/// A process that should not have been there.
#[derive(Clone, Debug)]
pub struct Leak {
    pub how: How,
    pub process: ProcessInfo,
    pub glimpse: Glimpse,
    /// It has left the session (setsid(2)) of the command, which is ours.
    pub is_daemon: bool,
    pub executable: Option<OsString>,
    pub working_directory: Option<OsString>,
    /// Where it listens for TCP connections.
    pub listening: Vec<SocketAddr>,
    /// Those of the command's `stdin`, `stdout` and `stderr` that it has open.
    pub streams: Vec<&'static str>,
    /// The cgroup it was in, as the kernel names it.
    pub place: Option<String>,
    pub started_during: Option<Origin>,
    /// Its environment says nothing, not even which session it is of.
    pub is_cleared: bool,
    /// It was asked to end, and was still there when its grace was over.
    pub had_to_be_killed: bool,
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
    ChangedCgroup,
    /// Had left the session's cgroup.
    Escaped,
}

/// The living of one leaf.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub described: Vec<Leak>,
    /// The rest, as far as they live.
    pub undescribed: Vec<Undescribed>,
}

/// One of whom nothing was read but its name.
#[derive(Debug)]
pub struct Undescribed {
    pub pid: Pid,
    /// As the kernel keeps it; empty where even that is hidden from us.
    pub name: String,
}

/// A leaf whose processes stand still, until this is dropped. Nobody in it comes or goes meanwhile,
/// and a crowd cannot keep us from the processor.
pub struct Frozen<'a>(&'a Leaf);

impl<'a> Frozen<'a> {
    /// Only for a truer picture: where it cannot be had in time, they are met as they move.
    pub fn freeze(leaf: &'a Leaf) -> Self {
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

impl Drop for Frozen<'_> {
    /// What cannot be let go on can still be killed.
    fn drop(&mut self) {
        let _ = self.0.freeze(false);
    }
}

impl Frozen<'_> {
    /// Reads who is in it.
    pub fn take(&self, how: &How) -> Result<Snapshot, ContainmentError> {
        self.0.members().map(|members| describe(members, how))
    }

    /// Only those that do not descend from `first`.
    pub fn take_beside(&self, first: Pid, how: &How) -> Result<Snapshot, ContainmentError> {
        self.0.members().map(|members| describe(beside(members, first), how))
    }
}

/// Describes the roots of the crowd's trees first: they were started by what is to be mended.
pub fn describe(members: Vec<Pid>, how: &How) -> Snapshot {
    let mut crowd = Snapshot::default();
    let mut glimpses = Vec::new();
    for pid in members {
        match Glimpse::of(pid) {
            Some(glimpse) => glimpses.push(glimpse),
            // Mounted with hidepid, /proc does not show others' processes (proc(5)).
            None if is_alive(pid) => crowd.undescribed.push(Undescribed { pid, name: String::new() }),
            None => {}
        }
    }
    let pids: HashSet<Pid> = glimpses.iter().map(|it| it.pid).collect();
    let is_root = |it: &Glimpse| it.parent.is_none_or(|parent| !pids.contains(&parent));
    let (roots, others): (Vec<_>, Vec<_>) = glimpses.into_iter().partition(is_root);
    if roots.is_empty() {
        return crowd;
    }
    let mut surroundings = Surroundings::look();
    let deadline = clock::now() + READ;
    for glimpse in roots.into_iter().chain(others) {
        let described = crowd.described.len();
        if described == DESCRIBED || described >= AT_LEAST && clock::now() >= deadline {
            crowd.undescribed.push(Undescribed { pid: glimpse.pid, name: glimpse.name });
        } else if let Some(process) = ProcessInfo::named(glimpse.pid, &glimpse.name, glimpse.started) {
            crowd.described.push(surroundings.describe(how.clone(), process, glimpse));
        }
    }
    crowd
}

/// Without /proc.
fn is_alive(pid: Pid) -> bool {
    let has_ended = |process: Process| process.wait(Duration::ZERO).unwrap_or(false);
    Process::open(pid).is_ok_and(|process| process.is_some_and(|process| !has_ended(process)))
}

/// Those that do not descend from `first`.
pub fn beside(members: Vec<Pid>, first: Pid) -> Vec<Pid> {
    let parents: HashMap<Pid, Option<Pid>> = members.iter().map(|&pid| (pid, proc::parent(pid))).collect();
    let descends = |pid: &Pid| {
        let up = |pid: &Pid| parents.get(pid).copied().flatten();
        // Bounded: what we read of those that move may go round in a circle.
        std::iter::successors(Some(*pid), up).take(members.len() + 1).any(|it| it == first)
    };
    members.iter().copied().filter(|pid| !descends(pid)).collect()
}

/// What is read once for all of a crowd.
struct Surroundings {
    listeners: Vec<Listener>,
    streams: [Option<OsString>; 3],
    /// The command's session.
    session: i32,
    witness: OriginReader,
}

impl Surroundings {
    fn look() -> Self {
        Self {
            // Only for the description: whether a watched port is free is looked at elsewhere.
            listeners: sock_diag::listeners().unwrap_or_default(),
            streams: details::own_streams(),
            session: nix::unistd::getsid(None).map_or(0, nix::unistd::Pid::as_raw),
            witness: OriginReader::new(),
        }
    }

    fn describe(&mut self, how: How, process: ProcessInfo, glimpse: Glimpse) -> Leak {
        let pid = process.pid;
        let descriptors = details::descriptors(pid);
        let sockets: Vec<u32> = descriptors.iter().filter_map(|it| details::socket(it)).collect();
        let is_its = |listener: &&Listener| sockets.contains(&listener.inode);
        let address = |it: &Listener| SocketAddr::new(it.address, it.port);
        let names = ["stdin", "stdout", "stderr"].into_iter().zip(&self.streams);
        let is_held = |stream: &Option<OsString>| {
            stream.as_ref().is_some_and(|it| it != "/dev/null" && descriptors.contains(it))
        };
        let is_command = matches!(how, How::OutlivedCommand | How::ChangedCgroup | How::Escaped);
        // Services run in no test, whatever their environment seems to say.
        let account = if is_command { self.witness.ask(&glimpse) } else { Account::default() };
        Leak {
            is_daemon: is_command && glimpse.session != self.session,
            executable: details::executable(pid),
            working_directory: details::working_directory(pid),
            listening: self.listeners.iter().filter(is_its).map(address).collect(),
            streams: names.filter(|(_, stream)| is_held(stream)).map(|(name, _)| name).collect(),
            place: proc::cgroup_of(pid).ok().flatten(),
            started_during: account.origin,
            is_cleared: account.is_cleared,
            had_to_be_killed: false,
            how,
            process,
            glimpse,
        }
    }
}

impl Leak {
    /// One that was met outside of a crowd. `None` where it is gone meanwhile.
    pub fn of(how: How, process: ProcessInfo) -> Option<Self> {
        let glimpse = Glimpse::of(process.pid)?;
        Some(Surroundings::look().describe(how, process, glimpse))
    }

    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Its pid may be somebody else's later, not with this start.
    pub fn key(&self) -> (Pid, u64) {
        (self.process.pid, self.glimpse.started)
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
        let members = [vec![zombie], vec![us; DESCRIBED + 1], vec![zombie]].concat();
        let mut verdict = Verdict::default();
        verdict.add_leaks(describe(members, &How::OutlivedCommand));
        // Fewer may be described where the time for that is over.
        assert!(verdict.leaks.len() <= DESCRIBED, "{}", verdict.leaks.len());
        assert_eq!(verdict.leaked(), DESCRIBED + 1);
        dead.wait().unwrap();
    }
}
