//! Lists processes: all of them, and the children, ancestors or descendants of one.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::process::Pid;

use super::stat::parent;
use crate::sys::errno::is_gone;
use crate::sys::small_file::{read_list, read_single};

/// For fewer processes than this it is not worth listing all others.
const FEW: usize = 50;
/// How many parents can be read in the time that it takes to list the children of one process.
const CHILDREN_COST: usize = 3;
/// The directory with the threads of a process has two links, and one more for each thread (`proc_task_getattr`,
/// linux/fs/proc/base.c).
const LINKS_OF_ONE_THREAD: u64 = 3;
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
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let threads: Vec<PathBuf> = match std::fs::metadata(&tasks) {
        Ok(metadata) if metadata.nlink() == LINKS_OF_ONE_THREAD => vec![tasks.join(pid.to_string())],
        Ok(_) => std::fs::read_dir(&tasks)
            .into_iter()
            .flatten()
            .map_while(|task| Some(task.ok()?.path()))
            .collect(),
        Err(error) if is_gone(&error) => return check().map(|()| Vec::new()),
        Err(error) => return Err(error),
    };
    let mut children = Vec::new();
    for thread in threads {
        match read_list(thread.join("children")) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                children.extend(text.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)));
            }
            // The kernel was built without CONFIG_PROC_CHILDREN.
            Err(_) if thread.join("stat").exists() => return children_by_parent(pid),
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

/// The descendants of these processes that are not among them.
pub(crate) fn descendants_outside(of: &HashSet<Pid>) -> HashSet<Pid> {
    let by_children = || {
        let mut all = with_descendants(of.iter().copied());
        all.retain(|pid| !of.contains(pid));
        all
    };
    if of.len() < FEW {
        return by_children();
    }
    let Ok(all) = all_pids() else { return HashSet::new() };
    let others: Vec<Pid> = all.filter(|pid| !of.contains(pid)).collect();
    if others.len() > of.len() * CHILDREN_COST { by_children() } else { by_parents(&others, of) }
}

/// Those of `others` that descend from one of these processes, by their parents.
fn by_parents(others: &[Pid], of: &HashSet<Pid>) -> HashSet<Pid> {
    let parents: HashMap<Pid, Pid> = others.iter().filter_map(|&pid| Some((pid, parent(pid)?))).collect();
    let descends = |&pid: &Pid| {
        // Bounded, because processes that fork and exit while we read may seem to form a circle.
        let above = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
        above.take(others.len() + 1).any(|pid| of.contains(&pid))
    };
    others.iter().copied().filter(descends).collect()
}

/// Finds the children by reading the parent of every process.
fn children_by_parent(pid: Pid) -> io::Result<Vec<Pid>> {
    Ok(all_pids()?.filter(|&other| parent(other) == Some(pid)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_children_of_every_thread_are_listed() {
        for threads in [0, 1] {
            let program = format!(
                "import subprocess, threading\n\
                 start = lambda: [subprocess.Popen(['sleep', '60']) for _ in range(20)]\n\
                 found = start()\n\
                 hold = threading.Event()\n\
                 def other(): found.extend(start()); print(flush=True); hold.wait()\n\
                 threads = [threading.Thread(target=other) for _ in range({threads})]\n\
                 [it.start() for it in threads]\n\
                 {threads} or print(flush=True)\n\
                 input()\n\
                 [it.kill() for it in found]\n\
                 hold.set()"
            );
            let mut python = std::process::Command::new("python3")
                .args(["-c", &program])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            std::io::Read::read_exact(python.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            let found = children(Pid::from_raw(python.id() as i32).unwrap()).unwrap();
            std::io::Write::write_all(python.stdin.as_mut().unwrap(), b"\n").unwrap();
            python.wait().unwrap();
            assert_eq!(found.len(), 20 * (threads + 1));
        }
    }

    #[test]
    fn parents_and_children_show_the_same_descendants() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & (sleep 60 & echo; wait) & wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ready = std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut [0]);
        ready.unwrap();
        let of = HashSet::from([Pid::from_raw(shell.id() as i32).unwrap()]);
        let found = descendants_outside(&of);
        let others: Vec<Pid> = all_pids().unwrap().filter(|pid| !of.contains(pid)).collect();
        assert_eq!((found.len(), &by_parents(&others, &of)), (3, &found));
        for &pid in &found {
            // The inner shell exits by itself once its child is dead.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        shell.wait().unwrap();
    }
}
