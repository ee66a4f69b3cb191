//! Takes a snapshot of the processes that are still alive: freezes a leaf, and describes its processes.

use std::collections::HashSet;
use std::ffi::OsString;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::attribution::{Marks, OriginReader};
use super::detail::Detail;
use super::held::Held;
use super::leak::{How, Leak, Undescribed};
use super::pause::is_pause_process;
use crate::containment::{ContainmentError, Leaf};
use crate::ports::servers;
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::descriptors::descriptor_targets;
use crate::sys::procfs::descriptors::holds_socket;
use crate::sys::procfs::descriptors::own_streams;
use crate::sys::procfs::descriptors::socket_inode;
use crate::sys::procfs::details::cgroup_of;
use crate::sys::procfs::details::executable;
use crate::sys::procfs::details::working_directory;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::sockets::Listener;

/// How long to wait for the freeze, which may not finish if processes fork all the time.
const FREEZE: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_micros(200);
/// A snapshot describes at most `DESCRIBED` processes, and stops after `READ` if it has described `AT_LEAST`.
/// It only counts the rest.
const READ: Duration = Duration::from_millis(500);
const DESCRIBED: usize = 1000;
const AT_LEAST: usize = 250;
/// The terminal lists 20. Unless one of them may hold a port, it is enough to look at so many, the first that were started,
/// and to describe the worst of them.
const LOOKED_AT: usize = 500;
const SHOWN: usize = 100;

/// The living processes of one leaf.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub described: Vec<Leak>,
    /// The other living processes.
    pub undescribed: Vec<Undescribed>,
}

/// A leaf whose processes are frozen until this is dropped. Until then none of them starts or exits, and they
/// take no processor time from us.
pub(crate) struct Frozen(Rc<Leaf>);

impl Frozen {
    /// Freezing only makes the snapshot more accurate: if the leaf does not freeze in time, its processes are
    /// read while they run.
    pub(crate) fn freeze(leaf: &Rc<Leaf>) -> Self {
        let frozen = Self(Rc::clone(leaf));
        let deadline = clock::now() + FREEZE;
        if leaf.freeze(true).is_ok() {
            while leaf.is_frozen().is_ok_and(|is_frozen| !is_frozen) && clock::now() < deadline {
                // Poll, because the kernel's notification may be 15 ms late.
                Wake::wait_for_change(leaf.events(), clock::now() + LOOK);
            }
        }
        frozen
    }
}

impl Drop for Frozen {
    /// If thawing fails, the processes can still be killed.
    fn drop(&mut self) {
        let _ = self.0.freeze(false);
    }
}

impl Frozen {
    /// Describes all processes of the leaf.
    pub(crate) fn snapshot(&self, how: &How, detail: &Detail) -> Result<Snapshot, ContainmentError> {
        self.0.members().map(|members| describe_all(members, how, detail))
    }

    /// Describes only those that are wanted.
    pub(crate) fn snapshot_where(
        &self,
        wanted: impl FnOnce(Vec<Pid>) -> Vec<Pid>,
        how: &How,
        detail: &Detail,
    ) -> Result<Snapshot, ContainmentError> {
        self.0.members().map(|members| describe_all(wanted(members), how, detail))
    }
}

/// Describes these processes, the roots of their trees first, because those show what needs to be fixed. podman's pause process,
/// which no test could have ended, is none of them.
pub(crate) fn describe_all(members: Vec<Pid>, how: &How, detail: &Detail) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut stats = Vec::new();
    let pids: HashSet<Pid> = members.iter().copied().collect();
    if members.is_empty() {
        return snapshot;
    }
    let mut surroundings = Surroundings::read(detail);
    let is_for_terminal = matches!(detail, Detail::Terminal(_)) && surroundings.listeners.is_empty();
    let (looked_at, most) = if is_for_terminal { (LOOKED_AT, SHOWN) } else { (members.len(), DESCRIBED) };
    // A cgroup lists parents before their children.
    let (looked_at, counted) = members.split_at(members.len().min(looked_at));
    snapshot.undescribed.extend(counted.iter().map(|&pid| Undescribed { pid, name: String::new() }));
    for &pid in looked_at {
        match ProcStat::read(pid) {
            Some(stat) if is_pause_process(&stat) => {}
            Some(stat) => stats.push(stat),
            // If /proc is mounted with hidepid, it hides the processes of other users (proc(5)).
            None if Process::exists(pid) => {
                snapshot.undescribed.push(Undescribed { pid, name: String::new() })
            }
            None => {}
        }
    }
    let is_root = |it: &ProcStat| it.parent.is_none_or(|parent| !pids.contains(&parent));
    let (mut roots, others): (Vec<_>, Vec<_>) = stats.into_iter().partition(is_root);
    roots.sort_by_key(|it| !it.ignores(Signal::SIGTERM));
    let begin = clock::now();
    for stat in roots.into_iter().chain(others) {
        let described = snapshot.described.len();
        let took = clock::since(begin);
        // A process that holds a port is the most useful to know, so these are looked for a little longer.
        let is_late = took >= READ && (took >= 2 * READ || !surroundings.is_listening(stat.pid));
        if described == most || described >= AT_LEAST && is_late {
            snapshot.undescribed.push(Undescribed { pid: stat.pid, name: stat.name });
        } else if let Some(process) = ProcessInfo::with_stat(stat.pid, &stat.name, stat.started) {
            snapshot.described.push(surroundings.describe(how.clone(), process, stat));
        }
    }
    snapshot
}

/// Describes one process. `None` if it has exited.
pub(crate) fn describe_one(how: How, process: ProcessInfo) -> Option<Leak> {
    let stat = ProcStat::read(process.pid)?;
    Some(Surroundings::read(&Detail::Report).describe(how, process, stat))
}

/// The data that is read once for all processes of a snapshot.
struct Surroundings {
    is_for_report: bool,
    /// What it holds is not shown in a listing.
    needs_held: bool,
    /// The program is shown, or its name can be allowed.
    needs_executable: bool,
    /// The listeners, if a process of the snapshot may have one.
    listeners: Vec<Listener>,
    streams: [Option<OsString>; 3],
    /// The command's session.
    session: i32,
    origins: OriginReader,
}

impl Surroundings {
    fn read(detail: &Detail) -> Self {
        // Used only for the description. Whether a watched port is free is checked elsewhere.
        let mut listeners = servers();
        if !detail.may_listen(&listeners) {
            listeners.clear();
        }
        Self {
            is_for_report: matches!(detail, Detail::Report),
            needs_held: !matches!(detail, Detail::Listing(_)),
            needs_executable: !matches!(detail, Detail::Terminal(_)),
            listeners,
            streams: own_streams(),
            session: nix::unistd::getsid(None).map_or(0, nix::unistd::Pid::as_raw),
            origins: OriginReader::new(detail.inherited_marks()),
        }
    }

    fn needs_descriptors(&self) -> bool {
        self.needs_held || !self.listeners.is_empty()
    }

    fn is_listening(&self, pid: Pid) -> bool {
        let inodes: Vec<u32> = self.listeners.iter().map(|it| it.inode).collect();
        !inodes.is_empty() && holds_socket(pid, &inodes)
    }

    fn describe(&mut self, how: How, process: ProcessInfo, stat: ProcStat) -> Leak {
        let pid = process.pid;
        let descriptors = if self.needs_descriptors() { descriptor_targets(pid) } else { Vec::new() };
        let sockets: Vec<u32> = descriptors.iter().filter_map(|it| socket_inode(it)).collect();
        let is_its = |listener: &&Listener| sockets.contains(&listener.inode);
        let names = ["stdin", "stdout", "stderr"].into_iter().zip(&self.streams);
        let is_held = |stream: &Option<OsString>| {
            stream.as_ref().is_some_and(|it| it != "/dev/null" && descriptors.contains(it))
        };
        let is_command = matches!(how, How::OutlivedCommand | How::ChangedCgroup | How::Escaped);
        // Services run outside of any test, whatever their environment seems to say.
        let marks = if is_command { self.origins.read(&stat) } else { Marks::default() };
        Leak {
            held: if self.needs_held { Held::of(pid, &descriptors) } else { Held::default() },
            is_daemon: is_command && stat.session != self.session,
            executable: self.needs_executable.then(|| executable(pid)).flatten(),
            working_directory: self.is_for_report.then(|| working_directory(pid)).flatten(),
            listening: self.listeners.iter().filter(is_its).map(ToString::to_string).collect(),
            streams: names.filter(|(_, stream)| is_held(stream)).map(|(name, _)| name).collect(),
            cgroup: self.is_for_report.then(|| cgroup_of(pid).ok().flatten()).flatten(),
            started_during: marks.origin,
            has_cleared_environment: marks.is_cleared,
            had_to_be_killed: false,
            is_known: false,
            how,
            process,
            stat,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::procfs::stat;

    #[test]
    fn dead_processes_are_not_counted_but_undescribed_ones_are() {
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        let zombie = Pid::from_raw(dead.id() as i32).unwrap();
        while stat::start_time(zombie).is_some() {
            crate::sys::time::sleep(LOOK);
        }
        let us = rustix::process::getpid();
        let members = [vec![zombie], vec![us; DESCRIBED + 1], vec![zombie]].concat();
        let snapshot = describe_all(members, &How::OutlivedCommand, &Detail::Report);
        // On a slow machine fewer may be described.
        assert!(snapshot.described.len() <= DESCRIBED, "{}", snapshot.described.len());
        assert_eq!(snapshot.described.len() + snapshot.undescribed.len(), DESCRIBED + 1);
        dead.wait().unwrap();
    }
}
