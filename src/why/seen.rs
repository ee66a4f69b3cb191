//! One look at the processes: who they are, what their threads wait for, and how much they used the CPU meanwhile.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::process::Pid;

use super::files::Files;
use super::syscalls::wait_of_thread;
use super::wait::Wait;
use crate::containment::LeafName;
use crate::runtime::events::Wake;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::procfs::status::Status;
use crate::sys::procfs::syscall::{kernel_function, thread_ids};
use crate::sys::time::{self, Instant};

/// The kernel counts the CPU time in steps of 10 ms, so less would say little.
const SAMPLE: Duration = Duration::from_millis(150);
/// A process that uses at least this share of one CPU does not wait; nor does one that uses less, and wants more: others
/// may keep the CPU from it.
const BUSY: f64 = 0.5;
const BUSY_AND_RUNNABLE: f64 = 0.1;
/// A process with more threads is judged by these.
const MOST_THREADS: usize = 64;

/// A process of the session, and what it belongs to as far as that is known.
pub(crate) type Subject = (Pid, Option<LeafName>);

#[derive(Debug)]
pub(super) struct Seen {
    pub process: ProcessInfo,
    pub stat: ProcStat,
    pub component: Option<LeafName>,
    pub files: Files,
    /// What each thread waits for, the first one first.
    pub waits: Vec<Wait>,
    /// Whether we are not allowed to see its system calls.
    pub is_hidden: bool,
    /// The share of one CPU that it used while we looked.
    pub cpu: f64,
}

/// Those that have exited meanwhile are left out. Also tells how many are hidden from us.
/// The second look comes early if `interruption` becomes readable.
pub(super) fn look(
    subjects: Vec<Subject>,
    interruption: Option<BorrowedFd<'_>>,
) -> (BTreeMap<i32, Seen>, usize) {
    let us = rustix::process::getpid();
    let mut hidden = 0;
    let stats: Vec<_> = subjects
        .into_iter()
        .filter(|(pid, _)| *pid != us)
        .filter_map(|(pid, component)| match ProcStat::read(pid) {
            Some(stat) => Some((stat, component)),
            None => {
                hidden += usize::from(Process::exists(pid));
                None
            }
        })
        .collect();
    let begin = Instant::now();
    let mut seen: BTreeMap<i32, Seen> = stats
        .into_iter()
        .filter_map(|(stat, component)| Some((stat.pid.as_raw_nonzero().get(), see(stat, component)?)))
        .collect();
    match interruption {
        Some(fd) => Wake::readable(fd).wait(begin + SAMPLE),
        None => time::sleep(SAMPLE.saturating_sub(begin.elapsed())),
    }
    let took = begin.elapsed();
    let uses = |cpu: f64, share| cpu >= share && took >= SAMPLE;
    seen.retain(|_, it| {
        let Some(now) = ProcStat::read(it.stat.pid).filter(|now| now.started == it.stat.started) else {
            return false;
        };
        it.cpu = now.cpu.saturating_sub(it.stat.cpu).as_secs_f64() / took.as_secs_f64();
        // Waiting for a disk is a matter of milliseconds; what hangs is found there twice.
        if it.stat.state == 'D' && now.state != 'D' {
            it.waits = vec![Wait::Running];
        }
        let is_runnable = it.stat.state == 'R' && now.state == 'R';
        if uses(it.cpu, BUSY) || is_runnable && uses(it.cpu, BUSY_AND_RUNNABLE) {
            it.waits.insert(0, Wait::Busy(it.cpu));
        }
        true
    });
    (seen, hidden)
}

fn see(stat: ProcStat, component: Option<LeafName>) -> Option<Seen> {
    let pid = stat.pid;
    let process = ProcessInfo::with_stat(pid, &stat.name, stat.started)?;
    let files = Files::of(&stat);
    let threads = if stat.threads > 1 { thread_ids(pid, MOST_THREADS) } else { vec![pid] };
    // The system calls of one that is stopped or uninterruptible say no more.
    let (waits, hidden): (Vec<_>, Vec<_>) = match stat.state {
        'T' => (vec![Wait::Stopped(stat.stopped_by)], Vec::new()),
        't' => (vec![Wait::Traced(tracer(pid))], Vec::new()),
        'D' => (vec![uninterruptible(pid)], Vec::new()),
        _ => threads.into_iter().map(|thread| wait_of_thread(pid, thread, &files)).unzip(),
    };
    // That of its first thread stands for all.
    let is_hidden = hidden.first() == Some(&true);
    Some(Seen { process, stat, component, files, waits, is_hidden, cpu: 0.0 })
}

fn uninterruptible(pid: Pid) -> Wait {
    match kernel_function(pid, pid) {
        // The child has not executed its program yet (vfork(2)).
        Some(name) if name.contains("vfork") || name == "kernel_clone" => {
            Wait::Child(super::wait::Children::Any)
        }
        function => Wait::Uninterruptible(function),
    }
}

pub(super) fn tracer(pid: Pid) -> Option<Pid> {
    let tracer: i32 = Status::of(pid)?.field("TracerPid")?.parse().ok()?;
    (tracer > 0).then(|| Pid::from_raw(tracer)).flatten()
}
