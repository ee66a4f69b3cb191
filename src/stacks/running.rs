//! Runs the tools for several processes at once, each within a bound of time.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};

use super::collect::Target;
use super::stack::Section;
use super::tool::Tool;
use super::tool_process::ToolProcess;
use crate::sys::poll::timeout_until;
use crate::sys::process::identity::Identity;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::{ProcessKey, start_time};
use crate::sys::time::Instant;

/// How long one tool, and all of them, can take.
const EACH: Duration = Duration::from_secs(5);
const ALL: Duration = Duration::from_secs(10);

/// A process, and the tools that are asked for its stack until one can tell.
#[derive(Debug)]
pub(super) struct Job {
    /// Which of all stacks this is.
    place: usize,
    target: ProcessKey,
    /// Whether a signal has stopped the process already.
    was_stopped: bool,
    identity: Option<Identity>,
    tools: VecDeque<Tool>,
    running: Option<(Tool, ToolProcess, Instant)>,
    /// What the tools complained about.
    problems: Vec<String>,
}

/// Either the tool and what it said, or why there is no stack.
pub(super) type Outcome = Result<(String, Vec<Section>), String>;

pub(super) struct Done {
    pub place: usize,
    pub result: Outcome,
}

impl Job {
    pub(super) fn new(target: &Target, tools: Vec<Tool>, place: usize) -> Self {
        Self {
            place,
            target: target.key(),
            was_stopped: target.state == 'T',
            identity: target.credentials.as_ref().and_then(|it| it.identity()),
            tools: tools.into(),
            running: None,
            problems: Vec::new(),
        }
    }

    /// Starts the next tool that can be started.
    fn start_next(&mut self, end: Instant) {
        while let Some(tool) = self.tools.pop_front() {
            // Tools know only its pid, which may be that of another process by now.
            if !self.is_alive() {
                self.problems.push("it has exited".into());
                return;
            }
            match ToolProcess::start(&tool, self.identity.as_ref()) {
                Ok(process) => {
                    let bound = end.min(Instant::now() + EACH);
                    self.running = Some((tool, process, bound));
                    return;
                }
                Err(problem) => self.problems.push(format!("{}: {problem}", tool.name)),
            }
        }
    }

    /// What came of it, once no tool is running.
    fn step(&mut self, end: Instant, is_interrupted: bool) -> Option<Outcome> {
        if let Some((tool, mut process, bound)) = self.running.take() {
            process.read();
            let is_late = is_interrupted || Instant::now() >= bound;
            if !process.has_exited() && !is_late {
                self.running = Some((tool, process, bound));
                return None;
            }
            let ended = process.end();
            if ended.was_killed {
                self.continue_if_stopped();
            }
            let sections = (tool.read)(&ended.output);
            if !sections.is_empty() {
                return Some(Ok((tool.name, sections)));
            }
            let problem = match (ended.was_killed, is_interrupted) {
                (true, true) => "was interrupted".into(),
                (true, false) => format!("was ended after {} s", EACH.as_secs()),
                (false, _) => ended.complaint(),
            };
            self.problems.push(format!("{} {problem}", tool.name));
        }
        if !is_interrupted && Instant::now() < end {
            self.start_next(end);
        }
        if self.running.is_some() {
            return None;
        }
        self.problems.dedup();
        Some(Err(self.problems.join("; ")))
    }

    fn is_alive(&self) -> bool {
        let (pid, started) = self.target;
        start_time(pid) == Some(started)
    }

    /// A debugger that was killed before it had seen the process stop leaves it so.
    fn continue_if_stopped(&self) {
        let (pid, started) = self.target;
        let opened =
            Process::open_with_stat(pid).filter(|(_, stat)| stat.started == started && stat.state == 'T');
        if let Some((process, _)) = opened.filter(|_| !self.was_stopped) {
            let _ = process.signal(Signal::SIGCONT);
        }
    }
}

/// Runs all of them to their ends.
pub(super) fn run(mut jobs: Vec<Job>, interruption: Option<BorrowedFd<'_>>) -> Vec<Done> {
    let end = Instant::now() + ALL;
    let mut done = Vec::new();
    let mut is_interrupted = false;
    loop {
        jobs.retain_mut(|job| match job.step(end, is_interrupted) {
            Some(result) => {
                done.push(Done { place: job.place, result });
                false
            }
            None => true,
        });
        let Some(bound) = jobs.iter().filter_map(|job| job.running.as_ref()).map(|(.., bound)| *bound).min()
        else {
            return done;
        };
        let running = jobs.iter().filter_map(|job| job.running.as_ref());
        let mut wakes: Vec<PollFd<'_>> = running.flat_map(|(_, process, _)| process.wakes()).collect();
        wakes.extend(interruption.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // If this fails, all are looked at again.
        let _ = poll(&mut wakes, timeout_until(bound, Instant::now()).as_ref());
        let last = wakes.last().filter(|_| interruption.is_some());
        is_interrupted = last.is_some_and(|it| it.revents().contains(PollFlags::IN));
    }
}
