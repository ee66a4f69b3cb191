//! Collects the stacks of several processes at once.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::credentials::Credentials;
use super::kind;
use super::rules::Rules;
use super::running::{Job, run};
use super::stack::{Stack, bounded};
use super::tool::{Intrusion, Way};
use crate::sys::procfs::details::executable;
use crate::sys::procfs::stat::{ProcStat, ProcessKey, start_time};

/// A process whose stack is wanted.
#[derive(Debug)]
pub(crate) struct Target {
    pub(super) pid: Pid,
    stat: ProcStat,
    pub(super) state: char,
    /// Its program and arguments.
    pub(super) command: Vec<OsString>,
    pub(super) executable: Option<OsString>,
    pub(super) credentials: Option<Credentials>,
    /// The chain of those that wait for each other ends here.
    pub(super) is_end: bool,
    /// For people.
    name: String,
}

impl Target {
    pub(crate) fn new(stat: &ProcStat, command: &[OsString], name: String, is_end: bool) -> Self {
        Self {
            pid: stat.pid,
            stat: stat.clone(),
            state: stat.state,
            command: command.to_vec(),
            executable: executable(stat.pid),
            credentials: Credentials::of(stat.pid),
            is_end,
            name,
        }
    }

    pub(super) fn key(&self) -> ProcessKey {
        self.stat.key()
    }

    /// At most 15 bytes of the program's name.
    pub(super) fn kernel_name(&self) -> &str {
        &self.stat.name
    }

    pub(super) fn handles(&self, signal: Signal) -> bool {
        self.stat.handles(signal)
    }
}

/// The stacks of these processes, as far as there are any. Ends early if `interruption` becomes readable.
pub(crate) fn stacks(
    targets: &[Target],
    rules: &Rules,
    intrusion: Intrusion,
    interruption: Option<BorrowedFd<'_>>,
) -> Vec<Stack> {
    let mut found: Vec<Stack> = Vec::new();
    let mut jobs = Vec::new();
    for target in targets.iter().filter(|it| start_time(it.pid) == Some(it.stat.started)) {
        let mut stack = Stack {
            pid: target.pid.as_raw_nonzero().get(),
            command_line: target.name.clone(),
            tool: None,
            sections: Vec::new(),
            problem: None,
        };
        match kind::way(target, rules, intrusion) {
            Way::Useless => continue,
            Way::No(problem) => stack.problem = Some(problem),
            Way::Known(tool, sections) => {
                stack.tool = Some(tool.into());
                stack.sections = bounded(sections);
            }
            // Where root looks, it would run as root.
            Way::Tools(_) if target.credentials.is_none() => {
                stack.problem = Some("its user is unknown".into());
            }
            Way::Tools(tools) => jobs.push(Job::new(target, tools, found.len())),
        }
        found.push(stack);
    }
    for done in run(jobs, interruption) {
        let stack = &mut found[done.place];
        match done.result {
            Ok((tool, sections)) => {
                stack.tool = Some(tool);
                stack.sections = bounded(sections);
            }
            Err(problem) => stack.problem = Some(problem),
        }
    }
    found
}
