//! Finds the processes that could end a wait: the other end of a pipe or a connection, the holder of a lock, the child.

mod holders;
mod locks;
mod sockets;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;

use rustix::process::Pid;

use super::graph::Tie;
use super::line::{Line, Other};
use super::postgres;
use super::reason::{Blocker, Reason};
use super::seen::Seen;
use super::terminals::{self, Terminals};
use super::wait::{Children, Direction, File, FileKind, Wait};
use crate::sys::port::Protocol;
use crate::sys::unix_sockets::UnixPeer;
use holders::Holders;
use locks::Locks;
use sockets::{OtherEnd, Socket, Sockets};

#[derive(Debug)]
pub(super) struct Peers<'a> {
    seen: &'a BTreeMap<i32, Seen>,
    children: HashMap<Pid, Vec<Pid>>,
    holders: Holders<'a>,
    /// The rest is read only if it is asked for.
    locks: Locks,
    sockets: OnceCell<Sockets>,
    terminals: OnceCell<Terminals>,
}

/// What is at the other end of a file.
#[derive(Debug, Default)]
struct Ends {
    pids: Vec<Pid>,
    object: Option<String>,
    line: Option<Line>,
    kind: EndsKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EndsKind {
    #[default]
    Usual,
    /// There is none: it listens.
    Listener,
    /// A client, which a server does not wait for.
    Client,
}

impl Ends {
    /// Whether only this process has them.
    fn are_own(&self, pid: Pid) -> bool {
        !self.pids.is_empty() && self.pids.iter().all(|it| *it == pid)
    }
}

impl<'a> Peers<'a> {
    pub(super) fn among(seen: &'a BTreeMap<i32, Seen>) -> Self {
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for it in seen.values() {
            if let Some(parent) = it.stat.parent {
                children.entry(parent).or_default().push(it.stat.pid);
            }
        }
        let holders = Holders::among(seen);
        Self {
            seen,
            children,
            holders,
            locks: Locks::default(),
            sockets: OnceCell::new(),
            terminals: OnceCell::new(),
        }
    }

    pub(super) fn reason(&self, subject: &Seen, wait: &Wait) -> Reason {
        postgres::refine(self.usual_reason(subject.stat.pid, wait), subject, self.seen)
    }

    fn usual_reason(&self, pid: Pid, wait: &Wait) -> Reason {
        let mut reason = Reason::new(self.only_socket(pid, wait).unwrap_or_else(|| wait.clone()));
        match &reason.wait.clone() {
            Wait::Child(which) => reason.blockers = self.firm(self.children_of(pid, *which)),
            Wait::Read(file) => self.at_file(pid, file, Direction::In, &mut reason),
            Wait::Write(file) => self.at_file(pid, file, Direction::Out, &mut reason),
            Wait::Connect(file) | Wait::Accept(file) => self.at_file(pid, file, Direction::In, &mut reason),
            Wait::Open(path, _) => reason.object = Some(path.to_string_lossy().into_owned()),
            Wait::FileLock(file) => self.at_lock(pid, file, &mut reason),
            Wait::Events(watched) => self.at_events(pid, watched, &mut reason),
            Wait::Signal | Wait::Unknown(_) => self.at_children(pid, &mut reason),
            _ => {}
        }
        reason
    }

    fn firm(&self, pids: Vec<Pid>) -> Vec<Blocker> {
        let is_ours = |pid| self.holders.is_ours(pid);
        pids.into_iter().map(|pid| Blocker { pid, tie: Tie::Firm, is_ours: is_ours(pid) }).collect()
    }

    fn children_of(&self, pid: Pid, which: Children) -> Vec<Pid> {
        let all = self.children.get(&pid).map(Vec::as_slice).unwrap_or_default();
        let group = |child: &Pid| self.seen.get(&child.as_raw_nonzero().get()).map(|it| it.stat.group);
        match which {
            Children::Any => all.to_vec(),
            Children::Group(wanted) => all.iter().copied().filter(|it| group(it) == Some(wanted)).collect(),
            Children::One(child) => all.iter().copied().filter(|it| Some(*it) == child).collect(),
        }
    }

    fn is_ancestor(&self, ancestor: Pid, of: Pid) -> bool {
        let parent = |pid: &Pid| self.seen.get(&pid.as_raw_nonzero().get())?.stat.parent;
        // Bounded, because processes that fork and exit while we read may seem to form a circle.
        std::iter::successors(parent(&of), parent).take(self.seen.len() + 1).any(|it| it == ancestor)
    }

    fn at_file(&self, pid: Pid, file: &File, direction: Direction, reason: &mut Reason) {
        let mut ends = self.ends_in_session(file, direction);
        if ends.pids.iter().all(|it| *it == pid) {
            self.look_outside(file, direction, &mut ends);
        }
        if ends.kind == EndsKind::Listener {
            reason.wait = Wait::Accept(file.clone());
        } else if ends.line.is_some_and(|line| line.is_connecting) {
            reason.wait = Wait::Connect(file.clone());
        }
        let is_own = ends.are_own(pid);
        reason.object = ends.object;
        reason.line = ends.line;
        let has_threads = self.seen.get(&pid.as_raw_nonzero().get()).is_some_and(|it| it.stat.threads > 1);
        reason.by_itself = is_own && !has_threads;
        reason.by_its_threads = is_own && has_threads;
        let tie = |peer: Pid| match direction {
            Direction::In if matches!(file.kind, FileKind::Terminal(_)) => Tie::Typing,
            Direction::In if self.is_ancestor(peer, pid) => Tie::Orders,
            _ if ends.kind == EndsKind::Client => Tie::Event,
            _ => Tie::Firm,
        };
        let peers = ends.pids.into_iter().filter(|it| *it != pid);
        let is_ours = |pid| self.holders.is_ours(pid);
        reason.blockers = peers.map(|pid| Blocker { pid, tie: tie(pid), is_ours: is_ours(pid) }).collect();
    }

    /// Waiting for the events of a single socket is as good as reading it, or writing to it. With both of its ends, an event
    /// loop wakes itself, as that of asyncio does.
    fn only_socket(&self, pid: Pid, wait: &Wait) -> Option<Wait> {
        let Wait::Events(watched) = wait else { return None };
        let [(direction, file)] = &watched[..] else { return None };
        if !matches!(file.kind, FileKind::Socket(_)) || self.ends_in_session(file, *direction).are_own(pid) {
            return None;
        }
        Some(match direction {
            Direction::In => Wait::Read(file.clone()),
            Direction::Out => Wait::Write(file.clone()),
        })
    }

    fn at_events(&self, pid: Pid, watched: &[(Direction, File)], reason: &mut Reason) {
        // What does not come from this session, and requests, for which a server waits only if it waits for nothing else.
        let mut outside: Option<(&File, Ends)> = None;
        let mut requests = Reason::new(reason.wait.clone());
        for (direction, file) in watched {
            let ends = self.ends_in_session(file, *direction);
            let is_ours = |it: &Pid| *it != pid && self.holders.is_ours(*it);
            let of_kind = if ends.kind == EndsKind::Client { &mut requests } else { &mut *reason };
            for peer in ends.pids.iter().copied().filter(is_ours) {
                let is_above = *direction == Direction::In && self.is_ancestor(peer, pid);
                let tie = if is_above { Tie::Orders } else { Tie::Event };
                if of_kind.blockers.iter().all(|it| it.pid != peer) {
                    of_kind.blockers.push(Blocker { pid: peer, tie, is_ours: true });
                    if of_kind.object.is_none() {
                        (of_kind.object, of_kind.line) = (ends.object.clone(), ends.line);
                    }
                }
            }
            if ends.line.is_some() && ends.kind == EndsKind::Usual && !ends.pids.iter().any(is_ours) {
                outside = outside.filter(|(_, known)| is_connecting(known)).or(Some((file, ends)));
            }
        }
        let is_at_rest = |it: &Reason| it.blockers.iter().all(|it| it.tie == Tie::Orders);
        if !is_at_rest(reason) {
            return;
        }
        let has_children = !self.children_of(pid, Children::Any).is_empty();
        match outside {
            Some((file, mut ends)) if !has_children || is_connecting(&ends) => {
                // Those at the other end of all files would be too many to be looked for.
                self.look_outside(file, Direction::In, &mut ends);
                reason.blockers = self.firm(ends.pids);
                (reason.object, reason.line) = (ends.object, ends.line);
            }
            _ if !is_at_rest(&requests) => {
                requests.blockers.splice(0..0, reason.blockers.drain(..));
                *reason = requests;
            }
            _ => self.at_children(pid, reason),
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
        reason.blockers = self.firm(self.locks.holders(pid, target, &self.holders));
    }

    fn target(&self, pid: Pid, number: i32) -> Option<&'a OsStr> {
        let seen = self.seen.get(&pid.as_raw_nonzero().get())?;
        Some(seen.files.targets.as_ref()?.get(&number)?.as_os_str())
    }

    /// The processes of the session that have the other end of this file.
    fn ends_in_session(&self, file: &File, direction: Direction) -> Ends {
        let ends = |pids, object| Ends { pids, object, ..Ends::default() };
        match &file.kind {
            FileKind::Pipe(name) => ends(self.holders.of_pipe(name, direction), None),
            FileKind::Path(path) => {
                ends(self.holders.of_pipe(path, direction), Some(path.to_string_lossy().into_owned()))
            }
            FileKind::Socket(inode) => self.ends_of_socket(*inode, &|inode| self.holders.of_socket(inode)),
            FileKind::Process(pid) => ends(pid.iter().copied().collect(), None),
            FileKind::Terminal(name) => ends(self.terminals().masters(name), Some(name.clone())),
            FileKind::Master(None) => Ends::default(),
            FileKind::Master(Some(number)) => {
                ends(self.terminals().programs(*number), Some(terminals::name_of(*number)))
            }
            FileKind::Anonymous(_) | FileKind::Unknown => Ends::default(),
        }
    }

    /// Adds those outside of the session.
    fn look_outside(&self, file: &File, direction: Direction, ends: &mut Ends) {
        match &file.kind {
            FileKind::Pipe(name) => ends.pids.extend(self.holders.of_pipe_outside(name, direction)),
            FileKind::Socket(inode) => {
                let outside = self.ends_of_socket(*inode, &|inode| self.holders.of_socket_outside(inode));
                ends.pids.extend(&outside.pids);
                if !outside.pids.is_empty() {
                    ends.line = outside.line;
                }
            }
            _ => {}
        }
    }

    fn terminals(&self) -> &Terminals {
        self.terminals.get_or_init(|| Terminals::of(self.seen))
    }

    fn ends_of_socket(&self, inode: u32, holders: &dyn Fn(u32) -> Vec<Pid>) -> Ends {
        let sockets = self.sockets.get_or_init(|| Sockets::read(self.seen.values().map(|it| it.stat.pid)));
        match sockets.find(inode) {
            None => Ends::default(),
            Some(Socket::Unix(UnixPeer::Socket(peer) | UnixPeer::Listener(peer))) => {
                Ends { pids: holders(peer), ..Ends::default() }
            }
            Some(Socket::Listener(listener)) => {
                // A UDP socket that is not connected receives from anyone.
                let is_tcp = listener.port.protocol == Protocol::Tcp;
                let kind = if is_tcp { EndsKind::Listener } else { EndsKind::Usual };
                Ends { object: Some(listener.to_string()), kind, ..Ends::default() }
            }
            Some(Socket::Connected { own, is_serving, other }) => {
                let (inodes, peer, there) = match other {
                    OtherEnd::Open(peer) => (vec![peer.inode], Some(peer), Other::Held),
                    OtherEnd::NotAccepted(inodes) => (inodes, None, Other::NotAccepted),
                    OtherEnd::Closed => (Vec::new(), None, Other::Closed),
                    OtherEnd::Elsewhere => (Vec::new(), None, Other::Elsewhere),
                };
                let pids: Vec<_> = inodes.into_iter().flat_map(holders).collect();
                let there = if pids.is_empty() && there == Other::Held { Other::Hidden } else { there };
                Ends {
                    pids,
                    object: Some(own.remote.to_string()),
                    line: Some(Line::of(own, is_serving, peer, there)),
                    kind: if is_serving { EndsKind::Client } else { EndsKind::Usual },
                }
            }
        }
    }
}

fn is_connecting(ends: &Ends) -> bool {
    ends.line.is_some_and(|line| line.is_connecting)
}
