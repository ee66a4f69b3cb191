//! Reads `/proc/PID/stat`: parent, state, start time of a process (proc_pid_stat(5)).

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use procfs::FromRead;
use procfs::process::Stat;
use rustix::process::Pid;

use crate::sys::small_file::read_single;
use crate::sys::time::boot_time;

/// The process was forked and has not executed a program since (`PF_FORKNOEXEC`, linux/sched.h).
const PF_FORKNOEXEC: u32 = 0x40;
/// The process is exiting (`PF_EXITING`, linux/sched.h).
const PF_EXITING: u32 = 0x4;

/// The major number of pseudoterminals (`UNIX98_PTY_SLAVE_MAJOR`, linux/major.h).
const UNIX98_PTY: u32 = 136;

/// Identifies the image that an exec has loaded, by the addresses of its code and its stack. A forked process
/// has its parent's image until it executes a program itself.
pub(crate) type Image = (u64, u64);

/// A unique key of a process: its pid may be reused later, but not with the same start time (in clock ticks after boot).
pub(crate) type ProcessKey = (Pid, u64);

/// One read of `/proc/PID/stat`: cheap enough to do for each of ten thousand processes.
#[derive(Clone, Debug)]
pub(crate) struct ProcStat {
    pub pid: Pid,
    /// `None` if the parent is in a PID namespace that we cannot see.
    pub parent: Option<Pid>,
    /// Its process group (setpgid(2)).
    pub group: i32,
    /// The pid of the leader of its session, which may have exited (setsid(2)).
    pub session: i32,
    /// The number of its controlling terminal, if that is a pseudoterminal (`/dev/pts/NUMBER`).
    pub terminal: Option<u32>,
    /// As the kernel stores it: 15 bytes at most.
    pub name: String,
    /// Clock ticks after boot.
    pub started: u64,
    pub state: char,
    /// The signal that has stopped it, if we are allowed to know, and the kernel tells (since Linux 5.17).
    pub stopped_by: Option<i32>,
    pub cpu: Duration,
    /// Resident bytes.
    pub memory: u64,
    pub threads: u64,
    /// A bit mask of the signals that it ignores. Blocked signals are not included, because it may wait for
    /// them.
    ignored: u64,
    /// A bit mask of the signals that it has a handler for, or blocks and may wait for.
    handled: u64,
    /// It was forked without an exec, so it runs the same program as its parent.
    pub is_forked: bool,
    pub image: Image,
    /// The address range of the environment that it was executed with; zeroes if we are not allowed to know.
    pub environment: Range<u64>,
}

impl ProcStat {
    /// `None` if the process is gone or dead.
    pub(crate) fn read(pid: Pid) -> Option<Self> {
        raw_stat(pid).filter(|stat| !is_dead(stat)).map(|stat| Self::new(pid, stat))
    }

    /// Of a process that was read before, by others whom we do not trust.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let stat = is_stat(text).then(|| Stat::from_read(text.as_bytes()).ok()).flatten()?;
        Some(Self::new(visible_pid(stat.pid)?, stat))
    }

    fn new(pid: Pid, stat: Stat) -> Self {
        let ticks = procfs::ticks_per_second();
        Self {
            pid,
            parent: visible_pid(stat.ppid),
            group: stat.pgrp,
            session: stat.session,
            terminal: pseudoterminal(stat.tty_nr),
            name: stat.comm,
            started: stat.starttime,
            // The first thread has exited, and others are still running.
            state: if stat.state == 'Z' { 'S' } else { stat.state },
            stopped_by: stat.exit_code.filter(|&signal| stat.state == 'T' && signal > 0),
            cpu: Duration::from_millis(stat.utime.saturating_add(stat.stime).saturating_mul(1000) / ticks),
            memory: stat.rss.saturating_mul(procfs::page_size()),
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
            ignored: stat.sigignore,
            handled: stat.sigcatch | stat.blocked,
            image: (stat.startcode, stat.startstack),
            environment: stat.env_start.unwrap_or_default()..stat.env_end.unwrap_or_default(),
            is_forked: stat.flags & PF_FORKNOEXEC != 0,
        }
    }

    pub(crate) fn ignores(&self, signal: Signal) -> bool {
        has(self.ignored, signal)
    }

    /// Whether it may survive the signal, or take its time to exit.
    pub(crate) fn handles(&self, signal: Signal) -> bool {
        has(self.handled, signal)
    }

    /// The states of proc_pid_stat(5). A process that was frozen while we read it shows as sleeping.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            'R' => "running",
            'D' => "uninterruptible",
            'T' | 't' => "stopped",
            'Z' | 'X' => "zombie",
            _ => "sleeping",
        }
    }

    /// When it was started, by the host's time of day.
    pub(crate) fn started_at(&self) -> SystemTime {
        boot_time() + self.started_since_boot()
    }

    /// Whether it certainly was started later than this time after boot. The clock of the start ticks.
    pub(crate) fn started_after(&self, since_boot: Duration) -> bool {
        self.started_since_boot() > since_boot
    }

    fn started_since_boot(&self) -> Duration {
        Duration::from_millis(self.started.saturating_mul(1000) / procfs::ticks_per_second())
    }

    pub(crate) fn key(&self) -> ProcessKey {
        (self.pid, self.started)
    }
}

/// Whether the bit of this signal is set.
fn has(signals: u64, signal: Signal) -> bool {
    signals & (1 << (signal as u32 - 1)) != 0
}

/// From the number of a terminal's device (`new_encode_dev`, linux/kdev_t.h).
fn pseudoterminal(device: i32) -> Option<u32> {
    let device = device as u32;
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | (device >> 12) & 0xfff00);
    (major == UNIX98_PTY).then_some(minor)
}

/// Avoids the handle on the directory of the process that `procfs::process::Process` opens first.
pub(super) fn raw_stat(pid: Pid) -> Option<Stat> {
    raw_stat_in(format!("/proc/{pid}").as_ref())
}

/// The stat of the process or thread with this directory.
pub(super) fn raw_stat_in(directory: &Path) -> Option<Stat> {
    Stat::from_read(&read_single(directory.join("stat")).ok()?[..]).ok()
}

/// The state of one thread; `None` if it is gone.
pub(crate) fn thread_state(pid: Pid, thread: Pid) -> Option<char> {
    raw_stat_in(format!("/proc/{pid}/task/{thread}").as_ref()).map(|stat| stat.state)
}

/// The pid in a field of a stat. The field is 0 for a process that we cannot see, and -1 while the process
/// itself is being reaped (`do_task_stat`, linux/fs/proc/array.c).
pub(crate) fn visible_pid(raw: i32) -> Option<Pid> {
    if raw > 0 { Pid::from_raw(raw) } else { None }
}

/// The text of `/proc/PID/stat`.
pub(crate) fn stat_text(pid: Pid) -> Option<String> {
    let bytes = read_single(format!("/proc/{pid}/stat")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the text begins as the kernel's does, `PID (NAME) STATE`, which its parser takes for granted.
fn is_stat(text: &str) -> bool {
    let after_pid = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let state = text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    after_pid.len() < text.len()
        && after_pid.starts_with(" (")
        && state.is_some_and(|state| state.is_ascii_alphabetic())
        && text.rfind(')') == text.rfind(") ")
}

/// Start time of `pid` in clock ticks after boot; `None` if it is gone or dead, which includes a zombie.
pub(crate) fn start_time(pid: Pid) -> Option<u64> {
    raw_stat(pid).filter(|stat| !is_dead(stat)).map(|stat| stat.starttime)
}

/// The parent of `pid`; `None` if `pid` is gone, or we cannot see the parent.
pub(crate) fn parent(pid: Pid) -> Option<Pid> {
    visible_pid(raw_stat(pid)?.ppid)
}

/// The session (setsid(2)) of `pid`, by its leader.
pub(crate) fn session_of(pid: Pid) -> Option<Pid> {
    visible_pid(raw_stat(pid)?.session)
}

/// The process group of `pid`; `None` if it is gone or dead, which includes a zombie.
pub(crate) fn living_group_of(pid: Pid) -> Option<Pid> {
    visible_pid(raw_stat(pid).filter(|stat| !is_dead(stat))?.pgrp)
}

/// A process that has exited, and that its parent has not reaped.
#[derive(Clone, Debug)]
pub(crate) struct Zombie {
    pub pid: Pid,
    pub name: String,
    /// Its status, as wait(2) returns it; `None` if that is 0, or we are not allowed to know.
    pub exit: Option<i32>,
}

/// `None` if the process is gone, or alive.
pub(crate) fn zombie(pid: Pid) -> Option<Zombie> {
    let stat = raw_stat(pid).filter(is_dead)?;
    // The kernel hides it as a zero.
    Some(Zombie { pid, name: stat.comm, exit: stat.exit_code.filter(|&it| it != 0) })
}

pub(crate) fn is_zombie(pid: Pid) -> bool {
    raw_stat(pid).is_some_and(|stat| is_dead(&stat))
}

/// Whether a signal has stopped the process.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    raw_stat(pid).is_some_and(|stat| stat.state == 'T')
}

/// Whether all threads of `pid` are exiting.
pub(crate) fn is_exiting(pid: Pid) -> bool {
    let Some(first) = raw_stat(pid) else { return true };
    let is_alone = first.num_threads <= 1;
    let are_all_exiting = || threads(pid).filter_map(|it| raw_stat_in(&it)).all(|it| is_thread_exiting(&it));
    // Another thread may have just taken over the pid (execve(2)).
    let is_first_still_exiting = || raw_stat(pid).is_none_or(|stat| is_thread_exiting(&stat));
    is_thread_exiting(&first) && (is_alone || are_all_exiting() && is_first_still_exiting())
}

/// A process whose first thread has exited looks like a zombie while its other threads are still running.
pub(super) fn is_dead(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X') && stat.num_threads <= 1
}

pub(super) fn is_thread_exiting(thread: &Stat) -> bool {
    thread.flags & PF_EXITING != 0
}

/// The directories of its threads. Empty if it has exited.
pub(super) fn threads(pid: Pid) -> impl Iterator<Item = PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_running_test() {
        let us = rustix::process::getpid();
        let stat = ProcStat::read(us).unwrap();
        assert_eq!(stat.parent, rustix::process::getppid());
        assert_eq!(parent(us), rustix::process::getppid());
        assert!(stat.memory > 0 && stat.threads > 0 && !stat.is_forked, "{stat:?}");
    }

    #[test]
    fn a_pseudoterminal_is_known_by_its_device() {
        assert_eq!((pseudoterminal(0), pseudoterminal(0x0401)), (None, None));
        assert_eq!((pseudoterminal(0x8803), pseudoterminal(0x0010_8801)), (Some(3), Some(257)));
    }

    #[test]
    fn a_stat_that_others_have_written_is_read_if_it_is_one() {
        let text = stat_text(rustix::process::getpid()).unwrap();
        assert_eq!(
            ProcStat::of_text(&text).unwrap().key(),
            ProcStat::read(rustix::process::getpid()).unwrap().key()
        );
        let fields = text.rsplit_once(") ").unwrap().1;
        assert_eq!(ProcStat::of_text(&format!("7 (a) (\u{e9}) {fields}")).unwrap().name, "a) (\u{e9}");
        let most = format!("7 (a) S{}", format!(" {}", i32::MAX).repeat(60));
        assert!(ProcStat::of_text(&most).is_some());
        for wrong in
            ["", "(", ")", "7", "7 (", "7 (a)", "7 (a) ", "7 (a)\u{e9}", ")(", "7 (a) S 1", "x (a) S"]
        {
            assert!(ProcStat::of_text(wrong).is_none(), "{wrong}");
        }
        for wrong in ["0 (a) ", "-1 (a) ", "99999999999 (a) ", "7 a) "] {
            assert!(ProcStat::of_text(&format!("{wrong}{fields}")).is_none(), "{wrong}");
        }
    }

    /// The kernel reports session -1 for a process that is being reaped.
    #[test]
    fn a_process_being_reaped_has_no_session() {
        use std::sync::atomic::{AtomicI32, Ordering};
        let ours = session_of(rustix::process::getpid());
        let (asked, done) = (AtomicI32::new(0), -1);
        let start = crate::sys::time::Instant::now();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                loop {
                    match asked.load(Ordering::Relaxed) {
                        0 => std::hint::spin_loop(),
                        pid if pid == done || start.elapsed().as_secs() > 30 => return,
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
}
