//! The data of a session, which `--report json=FILE` writes and the other reports are generated from.
//! `schema.json` documents every key. A change that breaks readers must increment [`SCHEMA_VERSION`].

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Serialize;

use super::known_leaks::BaselineSummary;
use super::leaking_tests::LeakingTest;
use super::locate::TestLocator;
use super::tree::LeakTree;
use crate::containment::{Containment, Kind};
use crate::leaks::{EndedBy, Evidence, How, Leak, Origin, program};
use crate::limits::Usage;
use crate::stacks::Stack;
use crate::sys::port::Port;
use crate::sys::procfs::process_info::COMMAND_LINE_SHOWN;
use crate::text::readable;

pub(crate) const SCHEMA: &str = "cgrun-report";
pub(crate) const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Serialize)]
pub(crate) struct ReportDocument {
    pub schema: &'static str,
    pub schema_version: u32,
    pub cgrun_version: &'static str,
    pub session: SessionSummary,
    pub outcome: Outcome,
    pub containment: ContainmentSummary,
    pub command: ComponentSummary,
    pub services: Vec<ServiceSummary>,
    /// The roots of the leaked process trees.
    pub leaks: Vec<LeakedProcess>,
    /// The tests that leaked, the worst first.
    pub tests: Vec<LeakingTest>,
    /// Counts every leaked process, including descendants and those that are not described.
    pub leaked_process_count: usize,
    pub undescribed_process_count: usize,
    /// `None` if there is no baseline.
    pub baseline: Option<BaselineSummary>,
    pub allowed_leaks: Vec<LeakedProcess>,
    /// What the processes waited for when a hung session was ended.
    pub why: Vec<String>,
    /// Where in their code they did so.
    pub stacks: Vec<Stack>,
    pub survivors: Vec<String>,
    pub unverified: Vec<String>,
    pub ports: PortSummary,
    pub teardown: TeardownSummary,
    pub resources: ResourceSummary,
    /// `None` if the session had no cgroup to measure.
    pub usage: Option<Usage>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionSummary {
    pub id: String,
    /// The host's name, which tells the machines of a CI apart.
    pub host: String,
    pub supervisor_pid: u32,
    pub command: Vec<String>,
    pub working_directory: String,
    pub started_at_unix_seconds: f64,
    pub duration_seconds: f64,
    /// `supervisor`, or `guardian` if the supervisor died.
    pub written_by: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub clean: bool,
    pub verified_empty: bool,
    /// `None` if a signal killed cgrun.
    pub exit_code: Option<u8>,
    pub signal: Option<String>,
    pub layer: u8,
    #[serde(skip)]
    pub layer_title: &'static str,
    pub cause: &'static str,
    /// The cause as a sentence.
    pub reason: String,
    pub on_leak: &'static str,
}

impl ReportDocument {
    /// Counts the leaked processes that the baseline does not list.
    pub(super) fn new_process_count(&self) -> usize {
        let known = self.baseline.as_ref().map_or(0, |it| it.known_process_count);
        self.leaked_process_count - known
    }

    /// The leaks that the baseline lists.
    pub(super) fn known_leaks(&self) -> impl Iterator<Item = &LeakedProcess> {
        self.leaks.iter().filter(|leak| !leak.is_new())
    }

    /// The leaks that the baseline does not list.
    pub(super) fn new_leaks(&self) -> impl Iterator<Item = &LeakedProcess> {
        self.leaks.iter().filter(|leak| leak.is_new())
    }
}

impl Outcome {
    pub(crate) fn leaks_fail(&self) -> bool {
        self.on_leak == "fail"
    }

    /// The reason, if the session was ended by neither its command nor a signal.
    pub(crate) fn failure(&self) -> Option<&str> {
        let is_failure = !matches!(self.cause, "command_ended" | "interrupted" | "signal");
        is_failure.then_some(&*self.reason)
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ContainmentSummary {
    pub kind: Kind,
    pub guarantee: &'static str,
    pub cgroup: Option<String>,
}

impl ContainmentSummary {
    pub(crate) fn new(containment: &Containment) -> Self {
        let kind = containment.kind();
        let cgroup = containment.path().map(|_| containment.name());
        Self { kind, guarantee: kind.guarantee(), cgroup }
    }
}

/// The life of the command or of a service, in seconds since the session started.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ComponentSummary {
    pub started_at_seconds: Option<f64>,
    pub ready_at_seconds: Option<f64>,
    pub stop_requested_at_seconds: Option<f64>,
    /// When its first process exited on its own.
    pub exited_at_seconds: Option<f64>,
    /// When the last of its processes was gone.
    pub gone_at_seconds: Option<f64>,
    pub exit_code: Option<i32>,
    pub signal: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServiceSummary {
    pub name: String,
    pub command: Vec<String>,
    pub port: Option<Port>,
    pub log_file: Option<String>,
    pub problem: Option<String>,
    #[serde(flatten)]
    pub component: ComponentSummary,
}

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

#[derive(Debug, Serialize)]
pub(crate) struct PortSummary {
    pub watched: Vec<Port>,
    /// Processes outside the session that hold a watched port; cgrun left them alone.
    pub held_by_others: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TeardownSummary {
    pub started_at_seconds: f64,
    pub phases: Vec<PhaseSummary>,
    pub command_killed: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct PhaseSummary {
    pub name: &'static str,
    pub started_at_seconds: f64,
    pub ended_at_seconds: f64,
}

/// From getrusage(2): all processes that were waited for.
#[derive(Debug, Serialize)]
pub(crate) struct ResourceSummary {
    pub cpu_seconds: f64,
    pub largest_process_memory_bytes: u64,
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

/// Rounds to the millisecond; anything finer is noise.
pub(crate) fn rounded_seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn the_schema_describes_every_key() {
        let schema: Value = serde_json::from_str(include_str!("schema.json")).unwrap();
        let mut undescribed = Vec::new();
        collect_undescribed(&schema, &mut undescribed);
        assert_eq!(undescribed, Vec::<String>::new());
    }

    fn collect_undescribed(schema: &Value, undescribed: &mut Vec<String>) {
        let keys = schema["properties"].as_object().into_iter().flatten();
        undescribed.extend(keys.filter(|(_, it)| !it["description"].is_string()).map(|(key, _)| key.clone()));
        schema.as_object().into_iter().flatten().for_each(|(_, it)| collect_undescribed(it, undescribed));
    }
}
