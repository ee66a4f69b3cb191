//! How often the threads of a process have given up the CPU (`/proc/PID/task/TID/status`, proc_pid_status(5)).

use std::ops::AddAssign;

use rustix::process::Pid;

use super::stat::threads;
use super::status::Status;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Switches {
    /// It waited for something.
    pub voluntary: u64,
    /// The kernel took the CPU away: for another, or because a quota was used up.
    pub involuntary: u64,
}

impl Switches {
    /// Of the threads that the process has now. Those of a process that is gone are none.
    pub(crate) fn of(pid: Pid) -> Self {
        let mut sum = Self::default();
        for status in threads(pid).filter_map(Status::at) {
            sum += Self::of_status(&status);
        }
        sum
    }

    fn of_status(status: &Status) -> Self {
        let count = |name| status.field(name).and_then(|value| value.parse().ok()).unwrap_or_default();
        Self { voluntary: count("voluntary_ctxt_switches"), involuntary: count("nonvoluntary_ctxt_switches") }
    }

    /// A thread that has exited took its number with it.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }
}

impl AddAssign for Switches {
    fn add_assign(&mut self, other: Self) {
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_kinds_are_told_apart() {
        let status = Status::of_text("voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t7\n");
        assert_eq!(Switches::of_status(&status), Switches { voluntary: 3, involuntary: 7 });
    }

    #[test]
    fn a_thread_that_waits_gives_up_the_cpu() {
        let (wake, woken) = std::sync::mpsc::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            for _ in 0..50 {
                ready.send(()).unwrap();
                woken.recv().unwrap();
            }
            ready.send(()).unwrap();
            woken.recv().unwrap();
        });
        let us = rustix::process::getpid();
        is_ready.recv().unwrap();
        let before = Switches::of(us);
        for _ in 0..50 {
            wake.send(()).unwrap();
            is_ready.recv().unwrap();
        }
        assert_ne!(Switches::of(us).since(before), Switches::default());
        wake.send(()).unwrap();
        thread.join().unwrap();
    }
}
