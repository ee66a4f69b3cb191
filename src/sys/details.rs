//! What procfs(5) says of a process beyond who it is. For reports: read once something is wrong.

use std::ffi::OsString;
use std::ops::Range;
use std::time::Duration;

use rustix::process::Pid;

use super::proc;

/// Who has more descriptors open than this is not read to the end.
const DESCRIPTORS: usize = 1024;
/// `PF_FORKNOEXEC` (linux/sched.h): forked, and has executed nothing since.
const FORKED: u32 = 0x40;

/// What an exec has made: forks share it until one of them executes something. Where its code begins, and
/// its stack (proc_pid_stat(5)).
pub type Image = (u64, u64);

/// What one read of `/proc/PID/stat` tells: cheap enough for each of ten thousand.
#[derive(Clone, Debug)]
pub struct Glimpse {
    pub pid: Pid,
    /// `None` where it is out of our sight.
    pub parent: Option<Pid>,
    /// The pid of its session's leader, who may be gone (setsid(2)).
    pub session: i32,
    /// As the kernel keeps it: 15 bytes at most.
    pub name: String,
    /// Clock ticks after boot.
    pub started: u64,
    pub state: char,
    pub cpu: Duration,
    /// Resident bytes.
    pub memory: u64,
    pub threads: u64,
    /// Bits of the signals that it ignores. What it holds back it may well wait for.
    ignored: u64,
    /// It runs what its parent ran: forked without an exec.
    pub is_forked: bool,
    pub image: Image,
    /// Where in its memory the environment is that it was executed with; zeroes where we may not know.
    pub environment: Range<u64>,
}

impl Glimpse {
    /// `None` when there is no such process any more, or it is dead.
    pub fn of(pid: Pid) -> Option<Self> {
        let stat = proc::stat(pid)?;
        let ticks = procfs::ticks_per_second();
        (!proc::is_dead(&stat)).then(|| Self {
            pid,
            parent: proc::pid_of(stat.ppid),
            session: stat.session,
            name: stat.comm,
            started: stat.starttime,
            // Its first thread has ended, and others live on.
            state: if stat.state == 'Z' { 'S' } else { stat.state },
            cpu: Duration::from_millis((stat.utime + stat.stime) * 1000 / ticks),
            memory: stat.rss * procfs::page_size(),
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
            ignored: stat.sigignore,
            image: (stat.startcode, stat.startstack),
            environment: stat.env_start.unwrap_or_default()..stat.env_end.unwrap_or_default(),
            is_forked: stat.flags & FORKED != 0,
        })
    }

    pub fn ignores(&self, signal: nix::sys::signal::Signal) -> bool {
        self.ignored & (1 << (signal as u32 - 1)) != 0
    }
}

/// The program it executes, as the kernel knows it. `None` where we may not look.
pub fn executable(pid: Pid) -> Option<OsString> {
    link(&format!("/proc/{pid}/exe"))
}

pub fn working_directory(pid: Pid) -> Option<OsString> {
    link(&format!("/proc/{pid}/cwd"))
}

/// What each descriptor of `pid` leads to, as far as we may see: a path, or such as `socket:[4711]`.
pub fn descriptors(pid: Pid) -> Vec<OsString> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.take(DESCRIPTORS).filter_map(|entry| link(&entry.path().to_string_lossy())).collect()
}

/// What our own standard streams lead to. The command was given the same.
pub fn own_streams() -> [Option<OsString>; 3] {
    [0, 1, 2].map(|number| link(&format!("/proc/self/fd/{number}")))
}

/// The number of the socket that a descriptor leads to.
pub fn socket(target: &std::ffi::OsStr) -> Option<u32> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn link(path: &str) -> Option<OsString> {
    std::fs::read_link(path).ok().map(std::path::PathBuf::into_os_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_very_process() {
        let glimpse = Glimpse::of(rustix::process::getpid()).unwrap();
        assert_eq!(glimpse.parent, rustix::process::getppid());
        assert!(glimpse.memory > 0 && glimpse.threads > 0 && !glimpse.is_forked, "{glimpse:?}");
        assert_eq!(executable(glimpse.pid), std::env::current_exe().ok().map(Into::into));
    }

    #[test]
    fn sees_what_a_descriptor_leads_to() {
        let socket_of_ours = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let targets = descriptors(rustix::process::getpid());
        assert!(targets.iter().any(|target| socket(target).is_some()), "{targets:?}");
        drop(socket_of_ours);
        assert_eq!(socket("pipe:[1]".as_ref()), None);
    }
}
