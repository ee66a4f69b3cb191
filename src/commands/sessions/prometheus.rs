//! The sessions in Prometheus' text format, for the textfile collector of node_exporter.

use std::fmt::{Display, Write};
use std::path::Path;

use super::listing::Listing;
use crate::counts::{self, BUCKETS, By, Counter, HostCounts, TEARDOWNS};
use crate::registry::SessionState;
use crate::report::Reporter;

/// Without counts, the counters are missing: they are not zero.
pub(super) fn text(listing: &Listing, reporter: &Reporter) -> String {
    let mut page = Page::default();
    page.begin("cgrun_build_info", "gauge", "The version of cgrun that wrote this.");
    page.add("cgrun_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.begin(
        "cgrun_sessions",
        "gauge",
        "Sessions with a cgroup on this host: live, stale (their cgrun was killed), or unknown.",
    );
    for (name, state) in
        [("live", SessionState::Live), ("stale", SessionState::Stale), ("unknown", SessionState::Unknown)]
    {
        let number = listing.sessions.iter().filter(|it| it.state == state).count();
        page.add("cgrun_sessions", &[("state", name)], number);
    }
    let is_listed = listing.incomplete.is_none();
    page.single(
        "cgrun_sessions_complete",
        "gauge",
        "1 if all sessions of this host can be seen, else 0.",
        is_listed,
    );
    let counted = counts::read_all(Path::new(counts::DIRECTORY));
    if counted.is_none() {
        reporter.say(&format!(
            "the counters are missing, because nothing is counted on this host; to count: install -d -m 1777 {}",
            counts::DIRECTORY
        ));
    }
    let is_complete = counted.as_ref().is_some_and(|it| it.is_complete);
    page.single(
        "cgrun_counters_complete",
        "gauge",
        "1 if the counters have what all users of this host have counted, else 0.",
        is_complete,
    );
    counted.iter().for_each(|it| page.counters(it));
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn counters(&mut self, HostCounts { counts, .. }: &HostCounts) {
        let name = "cgrun_teardowns_total";
        self.begin(
            name,
            "counter",
            "Teardowns of sessions, by who did them and why. One that is not verified is followed by another.",
        );
        for ((by, cause), number) in TEARDOWNS.iter().zip(counts.teardowns()) {
            let by = match by {
                By::Supervisor => "supervisor",
                By::Guardian => "guardian",
                By::Sweep => "sweep",
            };
            self.add(name, &[("by", by), ("cause", cause)], number);
        }
        for (name, counter, help) in [
            (
                "cgrun_teardowns_unverified_total",
                Counter::UnverifiedTeardowns,
                "Teardowns that could not verify that nothing survived.",
            ),
            (
                "cgrun_leaked_processes_total",
                Counter::LeakedProcesses,
                "Processes that outlived their command or service, or left the containment. All but survivors were ended.",
            ),
            (
                "cgrun_leaked_containers_total",
                Counter::LeakedContainers,
                "Containers and their like that outlived their command, and were ended.",
            ),
            ("cgrun_survivors_total", Counter::Survivors, "Processes that could not be killed."),
        ] {
            self.single(name, "counter", help, counts.get(counter));
        }
        let name = "cgrun_teardown_seconds";
        self.begin(name, "histogram", "How long teardowns took.");
        let mut sum = 0_u64;
        let bounds = BUCKETS.iter().map(|it| it.as_secs_f64().to_string()).chain(["+Inf".into()]);
        for (bound, number) in bounds.zip(counts.buckets()) {
            sum = sum.saturating_add(*number);
            self.add("cgrun_teardown_seconds_bucket", &[("le", &bound)], sum);
        }
        let seconds = counts.get(Counter::TeardownMicroseconds) as f64 / 1e6;
        self.add("cgrun_teardown_seconds_sum", &[], seconds);
        self.add("cgrun_teardown_seconds_count", &[], sum);
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Into<u64>) {
        self.begin(name, kind, help);
        self.add(name, &[], value.into());
    }

    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// None of the values has anything to escape.
    fn add(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}
