//! Lists processes: all of them, and the children, ancestors or descendants of one.

use std::collections::HashSet;
use std::io;

use rustix::process::Pid;

use super::small_file::{read_list, read_single};
use super::stat::parent;
use crate::sys::errno::is_gone;

/// How often a line of ancestors is read again because one of them exited meanwhile.
const ATTEMPTS: usize = 5;

/// An error if `/proc` does not show the processes of our PID namespace. Everything in it then looks as if it had
/// exited.
pub(crate) fn check() -> io::Result<()> {
    match std::fs::metadata("/proc/self/stat") {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), "/proc is not mounted")),
    }
}

/// The pids of all processes that we can see, including those that start during the walk: a process may fork
/// a successor and exit before we read it, and that successor would be in no list. Some of these processes
/// have exited before the caller reads them.
pub(crate) fn all_pids() -> io::Result<impl Iterator<Item = Pid>> {
    check()?;
    // Read before the list, whose order is not the order in which pids are allocated.
    let mut last = last_pid().unwrap_or_default();
    let number = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let listed: Vec<i32> = std::fs::read_dir("/proc")?.filter_map(number).collect();
    let started_since = std::iter::from_fn(move || {
        let newest = last_pid()?;
        if newest < last {
            // The kernel has wrapped around to the lowest free pid.
            last = 0;
        }
        (last < newest).then(|| {
            last += 1;
            last
        })
    });
    Ok(listed.into_iter().chain(started_since).filter_map(Pid::from_raw))
}

/// The pid that was allocated last in our PID namespace (proc_loadavg(5)).
fn last_pid() -> Option<i32> {
    let text = String::from_utf8(read_single("/proc/loadavg").ok()?).ok()?;
    text.split_whitespace().next_back()?.parse().ok()
}

/// The children of `pid`, whichever of its threads created them. Empty if it has exited.
pub(crate) fn children(pid: Pid) -> io::Result<Vec<Pid>> {
    let tasks = match std::fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(tasks) => tasks,
        Err(error) if is_gone(&error) => return check().map(|()| Vec::new()),
        Err(error) => return Err(error),
    };
    let mut children = Vec::new();
    for task in tasks {
        let Ok(task) = task else { break };
        match read_list(task.path().join("children")) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                children.extend(text.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)));
            }
            // The kernel was built without CONFIG_PROC_CHILDREN.
            Err(_) if task.path().join("stat").exists() => return children_by_parent(pid),
            Err(_) => {}
        }
    }
    Ok(children)
}

/// The child of `ancestor` that `pid` descends from, or `pid` itself if it is a child. `None` if `pid` is not a
/// descendant.
pub(crate) fn ancestor_below(pid: Pid, ancestor: Pid) -> Option<Pid> {
    for _ in 0..ATTEMPTS {
        let mut process = pid;
        let mut above = parent(process)?;
        loop {
            if above == ancestor {
                return Some(process);
            }
            process = above;
            match parent(process) {
                Some(next) => above = next,
                None if process.is_init() => return None,
                // It has just exited, or its parent is in a PID namespace that we cannot see.
                None => break,
            }
        }
    }
    None
}

/// A process and its ancestors, the nearest first, as far as we can see them. Bound it if they may exit meanwhile:
/// processes that fork and exit while we read may seem to form a cycle.
pub(crate) fn lineage(pid: Pid) -> impl Iterator<Item = Pid> {
    std::iter::successors(Some(pid), |&pid| parent(pid))
}

/// These processes and their descendants. A process whose children cannot be listed counts as having none.
pub(crate) fn with_descendants(of: impl IntoIterator<Item = Pid>) -> HashSet<Pid> {
    let mut found: HashSet<Pid> = of.into_iter().collect();
    let mut pending: Vec<_> = found.iter().copied().collect();
    while let Some(pid) = pending.pop() {
        let children = children(pid).unwrap_or_default();
        pending.extend(children.into_iter().filter(|child| found.insert(*child)));
    }
    found
}

/// Finds the children by reading the parent of every process.
fn children_by_parent(pid: Pid) -> io::Result<Vec<Pid>> {
    Ok(all_pids()?.filter(|&other| parent(other) == Some(pid)).collect())
}
