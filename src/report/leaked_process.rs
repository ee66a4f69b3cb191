//! A leaked process in the JSON report.

use std::path::Path;

use nix::sys::signal::Signal;
use serde::Serialize;

use super::json::rounded_seconds;
use super::locate::TestLocator;
use super::tree::LeakTree;
use crate::leaks::{EndedBy, Evidence, How, Leak, Origin, program};
use crate::sys::procfs::process_info::COMMAND_LINE_SHOWN;
use crate::text::readable;

#[derive(Debug, Serialize)]
pub(crate) struct LeakedProcess {
    pub pid: i32,
    pub parent_pid: Option<i32>,
    pub name: String,
    pub command_line: Vec<String>,
    pub command_line_truncated: bool,
    /// The key by which other runs recognize what it runs.
    pub program: String,
    /// Whether the baseline lists it.
    pub known: bool,
    pub executable: Option<String>,
    pub working_directory: Option<String>,
    pub user: String,
    pub uid: Option<u32>,
    pub age_seconds: f64,
    pub cpu_seconds: f64,
    pub memory_bytes: u64,
    pub threads: u64,
    pub state: &'static str,
    pub listening_on: Vec<String>,
    pub cgroup: Option<String>,
    /// The command's standard streams that it held open.
    pub open_streams: Vec<&'static str>,
    pub kind: &'static str,
    /// What ended it before cgrun's teardown.
    pub ended_by: Option<EndedBy>,
    pub service: Option<String>,
    pub ignores_sigterm: bool,
    /// Whether it was asked to exit and was still alive at the end of its grace.
    pub needed_sigkill: bool,
    pub started_during: Option<StartedDuring>,
    pub children: Vec<LeakedProcess>,
}

#[derive(Debug, Serialize)]
pub(crate) struct StartedDuring {
    pub runner: &'static str,
    pub test: Option<String>,
    pub phase: Option<String>,
    pub worker: Option<String>,
    pub evidence: Evidence,
    pub file: Option<String>,
    pub line: Option<usize>,
    /// The test, or the worker if only that is known, as text.
    #[serde(skip)]
    pub text: String,
}

impl LeakedProcess {
    /// `here` is the session's directory.
    pub(crate) fn from_tree(tree: &LeakTree<'_>, here: &Path, locator: &mut TestLocator) -> Self {
        let Leak { process, stat, .. } = tree.leak;
        let lossy = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
        let length: usize = process.command.iter().map(|word| word.len() + 1).sum();
        Self {
            pid: process.pid.as_raw_nonzero().get(),
            parent_pid: stat.parent.map(|pid| pid.as_raw_nonzero().get()),
            name: stat.name.clone(),
            command_line: process.command.iter().map(lossy).collect(),
            command_line_truncated: length > COMMAND_LINE_SHOWN,
            program: program(&process.command, here),
            known: tree.leak.is_known,
            executable: tree.leak.executable.as_ref().map(lossy),
            working_directory: tree.leak.working_directory.as_ref().map(lossy),
            user: process.user(),
            uid: process.uid,
            age_seconds: rounded_seconds(process.age),
            cpu_seconds: rounded_seconds(stat.cpu),
            memory_bytes: stat.memory,
            threads: stat.threads,
            state: stat.state_name(),
            listening_on: tree.leak.listening.clone(),
            cgroup: tree.leak.cgroup.clone(),
            open_streams: tree.leak.streams.clone(),
            kind: leak_kind(tree.leak),
            ended_by: tree.leak.ended_by(),
            service: match &tree.leak.how {
                How::OutlivedService(name) | How::OutlivedProbe(name) => Some(name.clone()),
                _ => None,
            },
            ignores_sigterm: stat.ignores(Signal::SIGTERM),
            needed_sigkill: tree.leak.had_to_be_killed,
            started_during: started_during(tree.leak, locator),
            children: tree.children.iter().map(|child| Self::from_tree(child, here, locator)).collect(),
        }
    }

    /// Whether it counts: the baseline does not list it.
    pub(super) fn is_new(&self) -> bool {
        !self.known
    }

    /// The command line as one line of printable text.
    pub(crate) fn command_text(&self) -> String {
        readable(&self.command_line.join(" "))
    }

    /// The number of processes in this tree.
    pub(crate) fn process_count(&self) -> usize {
        1 + self.children.iter().map(Self::process_count).sum::<usize>()
    }
}

fn started_during(leak: &Leak, locator: &mut TestLocator) -> Option<StartedDuring> {
    let origin = leak.started_during.as_ref()?;
    let (file, line) = locator.file_and_line(origin);
    Some(StartedDuring { file, line, ..StartedDuring::of(origin) })
}

impl StartedDuring {
    /// Without the place of the test.
    pub(crate) fn of(origin: &Origin) -> Self {
        Self {
            runner: origin.runner,
            test: origin.test.clone(),
            phase: origin.phase.clone(),
            worker: origin.worker.clone(),
            evidence: origin.evidence,
            file: None,
            line: None,
            text: origin.to_string(),
        }
    }
}

fn leak_kind(leak: &Leak) -> &'static str {
    match leak.how {
        How::OutlivedCommand if leak.is_daemon => "daemon",
        How::OutlivedCommand => "background",
        How::OutlivedService(_) => "outlived_service",
        How::OutlivedProbe(_) => "outlived_probe",
        How::ChangedCgroup => "changed_cgroup",
        How::Escaped => "escaped",
        How::EndedBefore { .. } => "ended_before",
    }
}
