//! Phase 2: writes `cgroup.kill` repeatedly until the kernel reports that no process is left.

use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::kill_progress::KillProgress;
use crate::containment::ContainmentError;
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::process::children::ReapedByKernel;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::teardown::running_teardown::Teardown;
use crate::text::plain;
use crate::why::why_stuck;

/// A racing fork can survive one kill (before Linux commit b69bb476), so it is repeated.
const AGAIN: Duration = Duration::from_millis(100);
/// The shortest and the longest pause between two reads of the state. The kernel delays its notification of an empty
/// cgroup by 10 to 15 ms; reading takes 2 µs.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_micros(500);
/// In between, the pause is this part of the time that has passed.
const PART: u32 = 10;
/// After this time a delay of 15 ms no longer matters, so we wait for the notification.
const LOOKING: Duration = Duration::from_millis(300);

impl Teardown<'_> {
    /// Kills the processes that are left in the containment.
    pub(in crate::teardown) fn kill(&mut self) {
        if self.cause.is_supervisor_dead() {
            self.kill_outside();
        } else if self.requests.end_the_grace() {
            self.finish_monitors();
        }
        let began = clock::now();
        let emptied = self.kill_until_empty();
        self.reaped_by_kernel = None;
        match emptied {
            Ok(true) => self.unkillable.clear(),
            Ok(false) => {
                let containment = &self.context.containment;
                let left = self.verdict.expect(containment.members()).unwrap_or_default();
                let known = std::mem::replace(&mut self.unkillable, left);
                let took = clock::since(began).as_secs_f32();
                let new = self.unkillable.iter().filter(|pid| !known.contains(pid));
                self.verdict.survivors.extend(new.filter_map(|&pid| ProcessInfo::read(pid)).map(|process| {
                    let why = why(process.pid);
                    format!("{process} was killed but has not exited within {took:.1} s{why}")
                }));
                self.verdict.unknown(format!("{} still holds processes", containment.name()));
            }
            Err(error) => self.verdict.unknown(error),
        }
    }

    /// Returns `false` if the containment is not empty in time.
    fn kill_until_empty(&mut self) -> Result<bool, ContainmentError> {
        let began = clock::now();
        let mut progress = KillProgress::new(self.context.kill_wait);
        while self.context.containment.is_populated()? {
            // Kill at least once, however short the limit is.
            self.leave_reaping_to_kernel();
            self.context.containment.kill()?;
            let again = (clock::now() + AGAIN).min(progress.deadline());
            while self.context.containment.is_populated()? && clock::now() < again {
                // Reaping takes time too, and the first process of a PID namespace exits after all of the others were
                // reaped.
                self.reap().map_err(ContainmentError::on("reap the children of", "/proc/self".as_ref()))?;
                let passed = clock::since(began);
                let pause = (passed / PART).clamp(SHORTEST, LONGEST);
                let look = if passed < LOOKING { clock::now() + pause } else { again };
                Wake::wait_for_change(self.context.containment.events(), look.min(again));
            }
            // If they cannot be counted, assume no progress.
            let left = self.context.containment.members().map_or(usize::MAX, |members| members.len());
            if progress.is_stuck(left) {
                return Ok(!self.context.containment.is_populated()?);
            }
            self.ensure_guardian();
        }
        Ok(true)
    }

    /// Thousands of killed processes are reaped faster where they exit, unless the status of one of our children counts, or
    /// what they used (getrusage(2)).
    pub(super) fn leave_reaping_to_kernel(&mut self) {
        let context = &self.context;
        let counts = context.reports_leaks
            || context.measures_usage
            || context.had_preexisting_children
            || context.components.iter().any(|it| it.status.is_none());
        if !counts && self.reaped_by_kernel.is_none() {
            // If this fails, we reap them.
            self.reaped_by_kernel = ReapedByKernel::from_now_on().ok();
        }
    }

    /// Kills one process and waits until it has exited.
    pub(super) fn kill_one(&mut self, process: &Process) {
        let ended = process.signal(Signal::SIGKILL).and_then(|_| process.wait(self.context.kill_wait));
        let ended = ended.map_err(|error| format!("cannot kill pid {}: {}", process.pid, plain(&error)));
        self.verdict.expect(ended);
    }
}

/// `: it is uninterruptible in the kernel (request_wait_answer)`
pub(super) fn why(pid: Pid) -> String {
    why_stuck(pid).map_or(String::new(), |why| format!(": it {why}"))
}
