//! The data of a session, which `--report json=FILE` writes and the other reports are generated from.
//! `schema.json` documents every key. A change that breaks readers must increment [`SCHEMA_VERSION`].

use std::time::Duration;

use serde::Serialize;

use super::container_text;
use super::known_leaks::BaselineSummary;
use super::leaked_process::LeakedProcess;
use super::leaking_tests::LeakingTest;
use super::tmp::TmpSummary;
use crate::containment::{Containment, Kind};
use crate::leftovers::Leftover;
use crate::limits::Usage;
use crate::stacks::Stack;
use crate::sys::port::Port;

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
    /// They are among the leftovers.
    pub leaked_container_count: usize,
    /// `None` if there is no baseline.
    pub baseline: Option<BaselineSummary>,
    pub allowed_leaks: Vec<LeakedProcess>,
    /// What is left that is not a process.
    pub leftovers: Vec<Leftover>,
    pub leftovers_unverified: Vec<String>,
    /// What the processes waited for when a hung session was ended.
    pub why: Vec<String>,
    /// Where in their code they did so.
    pub stacks: Vec<Stack>,
    pub survivors: Vec<String>,
    pub unverified: Vec<String>,
    pub ports: PortSummary,
    pub teardown: TeardownSummary,
    pub resources: ResourceSummary,
    /// `None` if the session had no temporary directory of its own.
    pub tmp: Option<TmpSummary>,
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

    pub(super) fn new_container_count(&self) -> usize {
        container_text::new(&self.leftovers).len()
    }

    /// Whether anything leaked that the baseline does not list.
    pub(super) fn has_new_leaks(&self) -> bool {
        self.new_process_count() > 0 || self.new_container_count() > 0
    }

    /// How many processes and containers leaked that the baseline lists.
    pub(super) fn known_count(&self) -> usize {
        self.leaked_process_count + self.leaked_container_count
            - self.new_process_count()
            - self.new_container_count()
    }

    /// `leaked 2 processes and 1 container`, without what the baseline lists.
    pub(super) fn leaked_text(&self) -> String {
        container_text::leaked_text(self.new_process_count(), self.new_container_count())
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
