//! Which processes have a file open: a pipe, a FIFO or a socket.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Pid;

use crate::sys::procfs::descriptors::{access, open_files};
use crate::sys::procfs::walk::all_pids;
use crate::sys::time::Instant;
use crate::why::seen::Seen;
use crate::why::wait::Direction;

/// No more of those that have the same file open are looked at.
pub(super) const MOST: usize = 200;
/// Looking through the host for the other end of a pipe or a socket takes no longer.
const HOST_SEARCH: Duration = Duration::from_millis(300);

/// Processes and the numbers of their descriptors, by the name of the file in `/proc/PID/fd`.
type Descriptors = HashMap<OsString, Vec<(Pid, i32)>>;

/// A process that has one end of a pipe.
#[derive(Clone, Copy, Debug)]
struct EndOfPipe {
    pid: Pid,
    reads: bool,
    writes: bool,
}

#[derive(Debug)]
pub(super) struct Holders<'a> {
    seen: &'a BTreeMap<i32, Seen>,
    descriptors: Descriptors,
    pipes: RefCell<HashMap<OsString, Rc<Vec<EndOfPipe>>>>,
    /// Those outside of the session, as far as we are allowed to see them.
    outside: OnceCell<Descriptors>,
}

impl<'a> Holders<'a> {
    pub(super) fn among(seen: &'a BTreeMap<i32, Seen>) -> Self {
        let mut descriptors = Descriptors::new();
        for it in seen.values() {
            for (&number, target) in it.files.targets.iter().flatten() {
                descriptors.entry(target.clone()).or_default().push((it.stat.pid, number));
            }
        }
        Self { seen, descriptors, pipes: RefCell::default(), outside: OnceCell::new() }
    }

    pub(super) fn is_ours(&self, pid: Pid) -> bool {
        self.seen.contains_key(&pid.as_raw_nonzero().get())
    }

    /// Those of the session.
    pub(super) fn of(&self, name: &OsStr) -> &[(Pid, i32)] {
        self.descriptors.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Those of the session that have the end of a pipe towards which this direction leads.
    pub(super) fn of_pipe(&self, name: &OsStr, direction: Direction) -> Vec<Pid> {
        if let Some(known) = self.pipes.borrow().get(name) {
            return facing(known, direction);
        }
        let found = Rc::new(ends(self.of(name)));
        self.pipes.borrow_mut().insert(name.into(), Rc::clone(&found));
        facing(&found, direction)
    }

    pub(super) fn of_pipe_outside(&self, name: &OsStr, direction: Direction) -> Vec<Pid> {
        self.outside().get(name).map(|it| facing(&ends(it), direction)).unwrap_or_default()
    }

    /// Those of the session that have this socket.
    pub(super) fn of_socket(&self, inode: u32) -> Vec<Pid> {
        pids(self.of(&socket(inode)))
    }

    pub(super) fn of_socket_outside(&self, inode: u32) -> Vec<Pid> {
        self.outside().get(&socket(inode)).map(|it| pids(it)).unwrap_or_default()
    }

    fn outside(&self) -> &Descriptors {
        self.outside.get_or_init(|| {
            let until = Instant::now() + HOST_SEARCH;
            let us = rustix::process::getpid();
            let mut found = Descriptors::new();
            for pid in all_pids().into_iter().flatten().filter(|&pid| pid != us && !self.is_ours(pid)) {
                if Instant::now() >= until {
                    break;
                }
                for file in open_files(pid).unwrap_or_default() {
                    let name = file.target.as_encoded_bytes();
                    if name.starts_with(b"pipe:") || name.starts_with(b"socket:") {
                        found.entry(file.target).or_default().push((pid, file.number));
                    }
                }
            }
            found
        })
    }
}

fn socket(inode: u32) -> OsString {
    format!("socket:[{inode}]").into()
}

fn pids(descriptors: &[(Pid, i32)]) -> Vec<Pid> {
    let mut found: Vec<_> = descriptors.iter().map(|&(pid, _)| pid).collect();
    found.dedup();
    found
}

fn ends(descriptors: &[(Pid, i32)]) -> Vec<EndOfPipe> {
    let end = |&(pid, number): &(Pid, i32)| {
        let (reads, writes) = access(pid, number)?;
        Some(EndOfPipe { pid, reads, writes })
    };
    descriptors.iter().take(MOST).filter_map(end).collect()
}

/// Those that have the end towards which this direction leads.
fn facing(ends: &[EndOfPipe], direction: Direction) -> Vec<Pid> {
    let is_other = |end: &&EndOfPipe| if direction == Direction::In { end.writes } else { end.reads };
    let mut found: Vec<Pid> = ends.iter().filter(is_other).map(|end| end.pid).collect();
    found.dedup();
    found
}
