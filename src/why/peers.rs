//! Finds the processes that could end a wait: the other end of a pipe or a connection, the holder of a lock, the child.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::rc::Rc;

use rustix::process::Pid;

use super::graph::Tie;
use super::reason::{Blocker, Reason};
use super::seen::Seen;
use super::wait::{Children, Direction, File, FileKind, Wait};
use crate::sys::connections::{Connection, connections, unix_peers};
use crate::sys::procfs::descriptors::{access, open_files};
use crate::sys::procfs::locks::{FileLock, contended_locks, has_lock};
use crate::sys::procfs::stat::start_time;
use crate::sys::procfs::walk::all_pids;
use crate::sys::sockets::{Listener, listeners};
use crate::sys::time::Instant;

/// No more of those that have the same file open are looked at.
const MOST_HOLDERS: usize = 200;
/// Looking through the host for the other end of a pipe takes no longer.
const HOST_SEARCH: std::time::Duration = std::time::Duration::from_millis(300);

/// Which processes have a file open, by its name in `/proc/PID/fd`, and under which numbers.
type Holders = HashMap<OsString, Vec<(Pid, i32)>>;

/// A process that has one end of a pipe.
#[derive(Clone, Copy, Debug)]
struct EndOfPipe {
    pid: Pid,
    reads: bool,
    writes: bool,
}

#[derive(Debug)]
pub(super) struct Peers<'a> {
    seen: &'a BTreeMap<i32, Seen>,
    children: HashMap<Pid, Vec<Pid>>,
    holders: Holders,
    /// The rest is read only if it is asked for.
    pipes: RefCell<HashMap<OsString, Rc<Vec<EndOfPipe>>>>,
    outside: OnceCell<Holders>,
    locks: OnceCell<Vec<FileLock>>,
    connections: OnceCell<Vec<Connection>>,
    listeners: OnceCell<Vec<Listener>>,
    unix: OnceCell<HashMap<u32, u32>>,
}

impl<'a> Peers<'a> {
    pub(super) fn among(seen: &'a BTreeMap<i32, Seen>) -> Self {
        let mut holders = Holders::new();
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for it in seen.values() {
            if let Some(parent) = it.stat.parent {
                children.entry(parent).or_default().push(it.stat.pid);
            }
            for (&number, target) in it.files.targets.iter().flatten() {
                holders.entry(target.clone()).or_default().push((it.stat.pid, number));
            }
        }
        Self {
            seen,
            children,
            holders,
            pipes: RefCell::default(),
            outside: OnceCell::new(),
            locks: OnceCell::new(),
            connections: OnceCell::new(),
            listeners: OnceCell::new(),
            unix: OnceCell::new(),
        }
    }

    pub(super) fn reason(&self, pid: Pid, wait: &Wait) -> Reason {
        let mut reason = Reason::new(wait.clone());
        match wait {
            Wait::Child(which) => reason.blockers = self.firm(self.children_of(pid, *which)),
            Wait::Read(file) => self.at_file(pid, file, Direction::In, &mut reason),
            Wait::Write(file) => self.at_file(pid, file, Direction::Out, &mut reason),
            Wait::Connect(file) | Wait::Accept(file) => self.at_file(pid, file, Direction::In, &mut reason),
            Wait::Open(path, _) => reason.object = Some(path.to_string_lossy().into_owned()),
            Wait::FileLock(file) => self.at_lock(pid, file, &mut reason),
            Wait::Events(watched) => self.at_events(pid, watched, &mut reason),
            Wait::Signal => self.at_children(pid, &mut reason),
            _ => {}
        }
        reason
    }

    fn is_ours(&self, pid: Pid) -> bool {
        self.seen.contains_key(&pid.as_raw_nonzero().get())
    }

    fn firm(&self, pids: Vec<Pid>) -> Vec<Blocker> {
        pids.into_iter().map(|pid| Blocker { pid, tie: Tie::Firm, is_ours: self.is_ours(pid) }).collect()
    }

    fn children_of(&self, pid: Pid, which: Children) -> Vec<Pid> {
        let all = self.children.get(&pid).map(Vec::as_slice).unwrap_or_default();
        let group = |child: &Pid| self.seen.get(&child.as_raw_nonzero().get()).map(|it| it.stat.group);
        match which {
            Children::Any => all.to_vec(),
            Children::Group(wanted) => all.iter().copied().filter(|it| group(it) == Some(wanted)).collect(),
            Children::One(child) => all.iter().copied().filter(|it| *it == child).collect(),
        }
    }

    fn is_ancestor(&self, ancestor: Pid, of: Pid) -> bool {
        let parent = |pid: &Pid| self.seen.get(&pid.as_raw_nonzero().get())?.stat.parent;
        // Bounded, because processes that fork and exit while we read may seem to form a circle.
        std::iter::successors(parent(&of), parent).take(self.seen.len() + 1).any(|it| it == ancestor)
    }

    fn at_file(&self, pid: Pid, file: &File, direction: Direction, reason: &mut Reason) {
        let (peers, object) = self.other_ends(pid, file, direction);
        reason.object = object;
        reason.by_itself = !peers.is_empty() && peers.iter().all(|it| *it == pid);
        let tie = |peer: Pid| match direction {
            Direction::In if self.is_ancestor(peer, pid) => Tie::Orders,
            _ => Tie::Firm,
        };
        let peers = peers.into_iter().filter(|it| *it != pid);
        reason.blockers =
            peers.map(|pid| Blocker { pid, tie: tie(pid), is_ours: self.is_ours(pid) }).collect();
    }

    fn at_events(&self, pid: Pid, watched: &[(Direction, File)], reason: &mut Reason) {
        for (direction, file) in watched {
            // Those outside of the session are too many to be looked for.
            let (peers, object) = self.ends_in_session(file, *direction);
            for peer in peers.into_iter().filter(|it| *it != pid && self.is_ours(*it)) {
                let is_above = *direction == Direction::In && self.is_ancestor(peer, pid);
                let tie = if is_above { Tie::Orders } else { Tie::Event };
                if reason.blockers.iter().all(|it| it.pid != peer) {
                    reason.blockers.push(Blocker { pid: peer, tie, is_ours: true });
                    reason.object = reason.object.take().or(object.clone());
                }
            }
        }
        if reason.blockers.iter().all(|it| it.tie == Tie::Orders) {
            self.at_children(pid, reason);
        }
    }

    /// An event loop learns by a signal that a child has exited.
    fn at_children(&self, pid: Pid, reason: &mut Reason) {
        let children = self.children_of(pid, Children::Any);
        reason.are_children = !children.is_empty();
        let blocker = |pid| Blocker { pid, tie: Tie::Event, is_ours: true };
        reason.blockers.extend(children.into_iter().map(blocker));
    }

    fn at_lock(&self, pid: Pid, file: &File, reason: &mut Reason) {
        let target = file.number.and_then(|number| self.target(pid, number));
        reason.object = target.map(|target| target.to_string_lossy().into_owned());
        let locks = self.locks.get_or_init(|| contended_locks().unwrap_or_default());
        let Some(lock) = locks.iter().find(|lock| lock.waiters.contains(&pid)) else { return };
        let holder = lock.holder.filter(|it| start_time(*it).is_some());
        // A lock by flock belongs to all that have inherited the open file, even if its first owner is gone.
        let with_file = target.and_then(|target| self.holders.get(target)).into_iter().flatten();
        let mut holders: Vec<Pid> = with_file
            .take(MOST_HOLDERS)
            .filter(|(other, number)| *other != pid && has_lock(*other, *number, &lock.file))
            .map(|(other, _)| *other)
            .collect();
        holders.extend(holder.filter(|it| *it != pid));
        holders.sort_by_key(|it| (Some(*it) != holder, it.as_raw_nonzero()));
        holders.dedup();
        reason.blockers = self.firm(holders);
    }

    fn target(&self, pid: Pid, number: i32) -> Option<&'a OsStr> {
        let seen = self.seen.get(&pid.as_raw_nonzero().get())?;
        Some(seen.files.targets.as_ref()?.get(&number)?.as_os_str())
    }

    /// Those that have the other end of this file, the process itself included, and the name of what is there.
    fn other_ends(&self, pid: Pid, file: &File, direction: Direction) -> (Vec<Pid>, Option<String>) {
        let (mut ends, object) = self.ends_in_session(file, direction);
        if ends.iter().all(|it| *it == pid) {
            if let FileKind::Pipe(name) = &file.kind {
                ends.extend(self.ends_outside(name, direction));
            }
        }
        (ends, object)
    }

    fn ends_in_session(&self, file: &File, direction: Direction) -> (Vec<Pid>, Option<String>) {
        match &file.kind {
            FileKind::Pipe(name) => (facing(&self.ends_of_pipe(name), direction), None),
            FileKind::Path(path) => {
                let ends = facing(&self.ends_of_pipe(path), direction);
                (ends, Some(path.to_string_lossy().into_owned()))
            }
            FileKind::Socket(inode) => self.ends_of_socket(*inode),
            FileKind::Process(pid) => (pid.iter().copied().collect(), None),
            FileKind::Terminal(name) => (Vec::new(), Some(name.to_string_lossy().into_owned())),
            FileKind::Anonymous(_) | FileKind::Unknown => (Vec::new(), None),
        }
    }

    fn ends_of_pipe(&self, name: &OsStr) -> Rc<Vec<EndOfPipe>> {
        if let Some(known) = self.pipes.borrow().get(name) {
            return Rc::clone(known);
        }
        let found = Rc::new(self.holders.get(name).map(|it| ends(it)).unwrap_or_default());
        self.pipes.borrow_mut().insert(name.into(), Rc::clone(&found));
        found
    }

    /// Those outside of the session that have the other end, as far as we are allowed to see them.
    fn ends_outside(&self, name: &OsStr, direction: Direction) -> Vec<Pid> {
        let holders = self.outside.get_or_init(|| self.pipes_outside());
        holders.get(name).map(|it| facing(&ends(it), direction)).unwrap_or_default()
    }

    fn pipes_outside(&self) -> Holders {
        let until = Instant::now() + HOST_SEARCH;
        let us = rustix::process::getpid();
        let mut found = Holders::new();
        for pid in all_pids().into_iter().flatten().filter(|&pid| pid != us && !self.is_ours(pid)) {
            if Instant::now() >= until {
                break;
            }
            for file in open_files(pid).unwrap_or_default() {
                if file.target.as_encoded_bytes().starts_with(b"pipe:") {
                    found.entry(file.target).or_default().push((pid, file.number));
                }
            }
        }
        found
    }

    fn ends_of_socket(&self, inode: u32) -> (Vec<Pid>, Option<String>) {
        let connections = self.connections.get_or_init(|| connections().unwrap_or_default());
        if let Some(own) = connections.iter().find(|it| it.inode == inode) {
            let is_peer = |it: &&Connection| it.local == own.remote && it.remote == own.local;
            let peer = connections.iter().find(is_peer);
            let ends = match peer {
                Some(peer) if peer.inode != 0 => self.holders_of_socket(peer.inode),
                // It was not accepted yet.
                Some(_) => self.listening_on(own.remote),
                None if own.is_connecting => self.listening_on(own.remote),
                None => Vec::new(),
            };
            return (ends, Some(own.remote.to_string()));
        }
        let listeners = self.listeners.get_or_init(|| listeners().unwrap_or_default());
        if let Some(listener) = listeners.iter().find(|it| it.inode == inode) {
            return (Vec::new(), Some(listener.to_string()));
        }
        let peers = self.unix.get_or_init(|| unix_peers().unwrap_or_default());
        let ends = peers.get(&inode).map(|peer| self.holders_of_socket(*peer)).unwrap_or_default();
        (ends, None)
    }

    fn listening_on(&self, address: SocketAddr) -> Vec<Pid> {
        let listeners = self.listeners.get_or_init(|| listeners().unwrap_or_default());
        let is_it = |it: &&Listener| {
            it.port.number == address.port() && (it.address == address.ip() || it.address.is_unspecified())
        };
        listeners.iter().filter(is_it).flat_map(|it| self.holders_of_socket(it.inode)).collect()
    }

    fn holders_of_socket(&self, inode: u32) -> Vec<Pid> {
        let name = OsString::from(format!("socket:[{inode}]"));
        let holders = self.holders.get(&name).into_iter().flatten();
        let mut found: Vec<_> = holders.map(|&(pid, _)| pid).collect();
        found.dedup();
        found
    }
}

fn ends(holders: &[(Pid, i32)]) -> Vec<EndOfPipe> {
    let end = |&(pid, number): &(Pid, i32)| {
        let (reads, writes) = access(pid, number)?;
        Some(EndOfPipe { pid, reads, writes })
    };
    holders.iter().take(MOST_HOLDERS).filter_map(end).collect()
}

/// Those that have the end towards which this direction leads.
fn facing(ends: &[EndOfPipe], direction: Direction) -> Vec<Pid> {
    let is_other = |end: &&EndOfPipe| if direction == Direction::In { end.writes } else { end.reads };
    let mut found: Vec<Pid> = ends.iter().filter(is_other).map(|end| end.pid).collect();
    found.dedup();
    found
}
