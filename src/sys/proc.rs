//! Who a process is, read from procfs (proc(5)). Nothing here signals anybody.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::FromRead;
use procfs::process::{FDTarget, Stat};
use rustix::process::Pid;

use crate::text::{age, readable, shorten};

/// More of a command line than this says nothing more to a person.
pub const COMMAND_LINE_SHOWN: usize = 4096;
/// One process at one moment.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    pub pid: Pid,
    pub uid: Option<u32>,
    pub age: Duration,
    /// Empty arguments are kept; a process without a command line shows its `[name]`.
    pub command: Vec<OsString>,
    pub is_zombie: bool,
}

impl ProcessInfo {
    /// `None` when there is no such process (any more) or its stat cannot be read.
    pub fn read(pid: Pid) -> Option<Self> {
        let stat = stat(pid)?;
        let is_zombie = is_dead(&stat);
        Some(Self { is_zombie, ..Self::named(pid, &stat.comm, stat.starttime)? })
    }

    /// As [`Self::read`], of one that lives, and whose stat was read before: its name, and the clock ticks
    /// after boot when it began.
    pub fn named(pid: Pid, name: &str, started: u64) -> Option<Self> {
        // The owner of its directory is its effective user.
        let uid = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let mut command = command_line(pid).unwrap_or_default();
        if command.is_empty() {
            command = vec![format!("[{name}]").into()];
        }
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let started = Duration::from_millis(started * 1000 / procfs::ticks_per_second());
        Some(Self {
            pid,
            uid: Some(uid),
            age: Duration::new(uptime.tv_sec as u64, uptime.tv_nsec as u32).saturating_sub(started),
            command,
            is_zombie: false,
        })
    }

    /// The user's name, or number where it has none.
    pub fn user(&self) -> String {
        self.uid.map_or("unknown user".into(), user)
    }

    /// The command line as a person would type it, control characters escaped, at most `width` wide.
    pub fn command_for_people(&self, width: usize) -> String {
        let words: Vec<_> = self.command.iter().map(|word| readable(&word.to_string_lossy())).collect();
        let line = words.join(" ");
        shorten(&line, width)
    }
}

/// The user's name, or number where it has none.
pub fn user(uid: u32) -> String {
    match nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// `pid 4711 (uvicorn app:app, started 3 h ago by ci)`
impl fmt::Display for ProcessInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pid, command) = (self.pid, self.command_for_people(120));
        write!(f, "pid {pid} ({command}, started {} ago by {})", age(self.age), self.user())
    }
}

fn command_line(pid: Pid) -> io::Result<Vec<OsString>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline"))?
        .take(COMMAND_LINE_SHOWN as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(split_nul(&bytes))
}

/// The path of the process's cgroup in the cgroup2 hierarchy, as seen from our cgroup namespace.
/// `None` when the process has ended.
pub fn cgroup_of(pid: Pid) -> io::Result<Option<String>> {
    match std::fs::read(format!("/proc/{pid}/cgroup")) {
        Ok(bytes) => Ok(unified_path(&String::from_utf8_lossy(&bytes))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The `0::` line of a `/proc/PID/cgroup` (cgroups(7)).
pub fn unified_path(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_string)
}

/// Start time of `pid` in clock ticks after boot; `None` when there is no such process, or it is dead
/// and only waits for its parent to take note.
pub fn start_time(pid: Pid) -> Option<u64> {
    stat(pid).filter(|stat| !is_dead(stat)).map(|stat| stat.starttime)
}

pub fn is_zombie(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| is_dead(&stat))
}

/// A process whose first thread has ended shows as a zombie while others live on.
pub fn is_dead(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X') && stat.num_threads <= 1
}

/// Whether we may see which files it has open.
pub fn shows_descriptors(pid: Pid) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok()
}

/// The parent of `pid`; `None` when there is no such process, or the parent is out of sight.
pub fn parent(pid: Pid) -> Option<Pid> {
    pid_of(stat(pid)?.ppid)
}

/// The children of `pid`, of all its threads; none where it has ended.
pub fn children(pid: Pid) -> io::Result<Vec<Pid>> {
    let tasks = match std::fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(tasks) => tasks,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for task in tasks {
        let Ok(task) = task else { break };
        match std::fs::read_to_string(task.path().join("children")) {
            Ok(text) => {
                found.extend(text.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)));
            }
            // CONFIG_PROC_CHILDREN is off: ask every process for its parent.
            Err(_) if task.path().join("stat").exists() => return children_by_asking_all(pid),
            Err(_) => {}
        }
    }
    Ok(found)
}

fn children_by_asking_all(pid: Pid) -> io::Result<Vec<Pid>> {
    Ok(walk()?.filter(|&other| parent(other) == Some(pid)).collect())
}

/// Whether a signal has stopped it.
pub fn is_stopped(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| stat.state == 'T')
}

/// Whether all of it is on its way out.
pub fn is_exiting(pid: Pid) -> bool {
    let Some(first) = stat(pid) else { return true };
    let is_alone = first.num_threads <= 1;
    let are_all_leaving = || threads(pid).filter_map(|it| stat_at(&it)).all(|it| is_leaving(&it));
    // One of them may just have taken the number of the first (execve(2)).
    let is_so_still = || stat(pid).is_none_or(|stat| is_leaving(&stat));
    is_leaving(&first) && (is_alone || are_all_leaving() && is_so_still())
}

/// `PF_EXITING` (linux/sched.h), of one thread.
pub fn is_leaving(thread: &Stat) -> bool {
    const PF_EXITING: u32 = 0x4;
    thread.flags & PF_EXITING != 0
}

/// The directories of its threads; none where it has ended.
pub fn threads(pid: Pid) -> impl Iterator<Item = PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path())
}

/// The session (setsid(2)) of `pid`, by its leader.
pub fn session_of(pid: Pid) -> Option<Pid> {
    pid_of(stat(pid)?.session)
}

/// A number in a stat: 0 is somebody out of our sight, and -1 stands in that of a process that is just
/// going (`do_task_stat`, linux/fs/proc/array.c).
pub fn pid_of(raw: i32) -> Option<Pid> {
    if raw > 0 { Pid::from_raw(raw) } else { None }
}

/// Without the handle on the process's directory that `procfs::process::Process` opens first.
pub fn stat(pid: Pid) -> Option<Stat> {
    stat_at(format!("/proc/{pid}").as_ref())
}

/// Of the process or thread with this directory.
pub fn stat_at(directory: &Path) -> Option<Stat> {
    Stat::from_read(File::open(directory.join("stat")).ok()?).ok()
}

/// The pids of all processes that we can see, and of all that begin until the walk ends: who forks the
/// next and ends may be dead when looked at, and its child in no list. Some are gone by the time they
/// are looked at.
pub fn walk() -> io::Result<impl Iterator<Item = Pid>> {
    // Read before the list is: pids are given out in this order, not in that of the list.
    let mut last = last_pid().unwrap_or_default();
    let number = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let listed: Vec<i32> = std::fs::read_dir("/proc")?.filter_map(number).collect();
    let begun = std::iter::from_fn(move || {
        let newest = last_pid()?;
        if newest < last {
            // They begin anew from below.
            last = 0;
        }
        (last < newest).then(|| {
            last += 1;
            last
        })
    });
    Ok(listed.into_iter().chain(begun).filter_map(Pid::from_raw))
}

/// The pid that was given out last in our PID namespace (proc_loadavg(5)).
fn last_pid() -> Option<i32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next_back()?.parse().ok()
}

/// Every process that has one of these sockets open, by a walk over all descriptors of the host:
/// for use only once something is wrong. Processes that we may not look into are left out.
pub fn holders(inodes: &[u32]) -> Vec<Pid> {
    walk().into_iter().flatten().filter(|&pid| holds(pid, inodes)).collect()
}

/// Whether `pid` has one of these sockets open, as far as we may see.
pub fn holds(pid: Pid, inodes: &[u32]) -> bool {
    let is_one = |target| matches!(target, FDTarget::Socket(inode) if inodes.contains(&(inode as u32)));
    let process = procfs::process::Process::new(pid.as_raw_nonzero().get());
    process.and_then(|process| process.fd()).is_ok_and(|mut descriptors| {
        descriptors.any(|descriptor| descriptor.is_ok_and(|descriptor| is_one(descriptor.target)))
    })
}

/// Reading a process that ends meanwhile answers ENOENT or ESRCH.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

fn split_nul(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While a process is reaped its stat has no session any more.
    #[test]
    fn one_that_is_just_going_is_in_no_session() {
        use std::sync::atomic::{AtomicI32, Ordering};
        let ours = session_of(rustix::process::getpid());
        let (asked, done) = (AtomicI32::new(0), -1);
        let begin = std::time::Instant::now();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                loop {
                    match asked.load(Ordering::Relaxed) {
                        0 => std::hint::spin_loop(),
                        pid if pid == done || begin.elapsed().as_secs() > 30 => return,
                        pid => {
                            assert!(session_of(Pid::from_raw(pid).unwrap()).is_none_or(|it| Some(it) == ours))
                        }
                    }
                }
            });
            for _ in 0..300 {
                if reader.is_finished() {
                    break;
                }
                let mut child = std::process::Command::new("true").spawn().unwrap();
                asked.store(child.id() as i32, Ordering::Relaxed);
                child.wait().unwrap();
            }
            asked.store(done, Ordering::Relaxed);
        });
    }

    #[test]
    fn reads_this_very_process() {
        let us = rustix::process::getpid();
        let info = ProcessInfo::read(us).unwrap();
        assert_eq!(parent(us), rustix::process::getppid());
        assert!(info.age < Duration::from_secs(3600), "{info}");
        assert!(!info.command.is_empty());
        assert!(cgroup_of(us).unwrap().is_some());
    }
}
