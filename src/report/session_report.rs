//! The reports of one session. Holds all that is known when the session starts, so that the guardian, which
//! has a copy, can write them if the supervisor dies.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::by_test::by_owner;
use super::github::GitHub;
use super::json::{
    ComponentSummary, ContainmentSummary, Outcome, PortSummary, ReportDocument, ResourceSummary, SCHEMA,
    SCHEMA_VERSION, ServiceSummary, SessionSummary, TeardownSummary, rounded_seconds,
};
use super::leaked_process::LeakedProcess;
use super::leaking_tests::leaking_tests;
use super::locate::TestLocator;
use super::report_files::ReportFiles;
use super::run_summary::RunSummary;
use super::tmp::TmpSummary;
use super::tree::trees;
use super::{html, junit, summary};
use crate::config::{OnLeak, ReportKind};
use crate::containment::Containment;
use crate::leaks::Leak;
use crate::leftovers::Leftover;
use crate::plan::SessionPlan;
use crate::runtime::exit_code::Exit;
use crate::scratch::Ended;
use crate::sys::port::Port;
use crate::sys::process::identity::ActingAs;
use crate::sys::time;
use crate::teardown::{Cause, Verdict};

/// The guardian leaves it to the supervisor, and that is dead.
const NOT_LOOKED_FOR: &str = "the guardian does not look for them";

#[derive(Debug)]
pub(crate) struct SessionReport {
    files: ReportFiles,
    session: SessionSummary,
    containment: ContainmentSummary,
    services: Vec<ServiceSummary>,
    watched_ports: Vec<Port>,
    working_directory: PathBuf,
    on_leak: OnLeak,
    github: Option<GitHub>,
}

impl SessionReport {
    pub(crate) fn new(
        files: ReportFiles,
        github: Option<GitHub>,
        plan: &SessionPlan,
        containment: &Containment,
    ) -> Self {
        let services = plan.services.iter().map(|service| ServiceSummary {
            name: service.name.clone(),
            command: lossy(&service.command),
            port: service.port,
            log_file: None,
            problem: None,
            component: ComponentSummary::default(),
        });
        Self {
            files,
            session: SessionSummary {
                id: containment.id.to_string(),
                host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
                supervisor_pid: std::process::id(),
                command: lossy(&plan.command),
                working_directory: plan.cwd.to_string_lossy().into_owned(),
                started_at_unix_seconds: unix_seconds(time::time_of_day()),
                duration_seconds: 0.0,
                written_by: "supervisor",
            },
            containment: ContainmentSummary::new(containment),
            services: services.collect(),
            watched_ports: plan.watched.clone(),
            working_directory: plan.cwd.clone(),
            on_leak: plan.on_leak,
            github,
        }
    }

    /// `None` unless GitHub's runner runs us.
    pub(crate) fn github(&self) -> Option<&GitHub> {
        self.github.as_ref()
    }

    /// Switches to the rights of the session's user, with which everything that the session could have
    /// changed is read and written.
    pub(crate) fn act_as_user(&self) -> nix::Result<Option<ActingAs>> {
        self.files.act_as_user()
    }

    /// Whether the user asked for a report file.
    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The files that it writes.
    pub(crate) fn own_files(&self) -> impl Iterator<Item = PathBuf> {
        self.files.own_files()
    }

    /// Writes the report files and returns what went wrong.
    pub(crate) fn write(&self, document: &ReportDocument) -> Vec<String> {
        self.files.write(|kind| render(kind, document))
    }

    /// Called by the guardian: reports the data from the session's start, and the guardian's own findings.
    pub(crate) fn write_for_dead_supervisor(&self, verdict: &Verdict, tmp: Option<&Ended>) {
        if !self.has_files() && self.github.is_none() {
            return;
        }
        // A failure is ignored, because the guardian cannot report it to the user.
        let Ok(_user) = self.act_as_user() else { return };
        let mut document = self.document_without_times(verdict, &Cause::SUPERVISOR_DIED);
        document.session.written_by = "guardian";
        document.tmp = tmp.map(TmpSummary::new);
        let duration = unix_seconds(time::time_of_day()) - document.session.started_at_unix_seconds;
        document.session.duration_seconds = duration.max(0.0);
        document.teardown.started_at_seconds = document.session.duration_seconds;
        self.files.write_missing(|kind| render(kind, &document));
        if let Some(github) = self.github() {
            let _ = github.summarize_unless_done(&document);
        }
    }

    pub(crate) fn document(&self, run: &RunSummary<'_>) -> ReportDocument {
        let mut document = self.document_without_times(run.verdict, run.cause);
        document.session.started_at_unix_seconds = unix_seconds(run.timeline.started_at);
        document.session.duration_seconds = rounded_seconds(run.timeline.now());
        match run.exit {
            Exit::Code(code) => document.outcome.exit_code = Some(code),
            Exit::Signal(signal) => document.outcome.signal = Some(signal.to_string()),
        }
        document.baseline = run.aftermath.baseline.cloned();
        document.leftovers.clone_from(&run.aftermath.leftovers.found);
        let unverified =
            run.aftermath.leftovers.unverified.iter().chain(&run.aftermath.leftovers.never_verified);
        document.leftovers_unverified = unverified.cloned().collect();
        document.tmp = run.aftermath.tmp.map(TmpSummary::new);
        document.why = run.why.to_vec();
        document.stacks = run.stacks.to_vec();
        document.command = run.command();
        for (id, service) in run.logs.ids().zip(&mut document.services) {
            service.component = run.service(id, &service.name);
            service.log_file = run.logs[id].as_ref().map(|path| path.to_string_lossy().into_owned());
            service.problem = run.service_problem(id);
        }
        document.teardown.started_at_seconds = rounded_seconds(run.timeline.teardown.unwrap_or_default());
        document.teardown.phases = run.phases();
        document
    }

    fn document_without_times(&self, verdict: &Verdict, cause: &Cause) -> ReportDocument {
        let services: Vec<_> = self.services.iter().map(|service| service.name.as_str()).collect();
        let here = self.working_directory.as_path();
        let mut locator = TestLocator::new(here, &self.session.command);
        let leftovers: Vec<_> = verdict.objects.iter().map(Leftover::ended).collect();
        let groups = by_owner(verdict.leaks.iter().chain(verdict.known_leaks()));
        let tests = leaking_tests(&groups, &leftovers, here, &mut locator);
        let mut describe = |leaks: &[Leak]| -> Vec<_> {
            trees(leaks).iter().map(|tree| LeakedProcess::from_tree(tree, here, &mut locator)).collect()
        };
        ReportDocument {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            cgrun_version: env!("CARGO_PKG_VERSION"),
            session: self.session.clone(),
            outcome: Outcome {
                clean: verdict.is_proven()
                    && !verdict.has_leaks()
                    && !verdict.has_known_leaks()
                    && !verdict.command_killed
                    && !cause.is_supervisor_dead(),
                verified_empty: verdict.is_proven(),
                exit_code: None,
                signal: None,
                layer: cause.layer(),
                layer_title: cause.layer_title(),
                cause: cause.name(),
                reason: cause.sentence(&services),
                on_leak: match self.on_leak {
                    OnLeak::Report => "report",
                    OnLeak::Fail => "fail",
                },
            },
            containment: self.containment.clone(),
            command: ComponentSummary::default(),
            services: self.services.clone(),
            leaks: [describe(&verdict.leaks), describe(verdict.known_leaks())]
                .into_iter()
                .flatten()
                .collect(),
            tests,
            leaked_process_count: verdict.leaked() + verdict.known_leaks().len(),
            baseline: None,
            leaked_container_count: leftovers.iter().filter(|it| it.leaked).count(),
            leftovers,
            leftovers_unverified: vec![NOT_LOOKED_FOR.to_string()],
            undescribed_process_count: verdict.undescribed_count(),
            allowed_leaks: describe(&verdict.allowed),
            why: Vec::new(),
            stacks: Vec::new(),
            survivors: verdict.survivors.clone(),
            unverified: verdict.unknown.clone(),
            ports: PortSummary {
                watched: self.watched_ports.clone(),
                held_by_others: verdict.strangers.iter().map(ToString::to_string).collect(),
            },
            teardown: TeardownSummary {
                started_at_seconds: 0.0,
                phases: Vec::new(),
                command_killed: verdict.command_killed,
            },
            resources: resources(),
            tmp: None,
            usage: verdict.usage.clone(),
        }
    }
}

fn render(kind: ReportKind, document: &ReportDocument) -> Result<String> {
    Ok(match kind {
        ReportKind::Json => serde_json::to_string_pretty(document)? + "\n",
        ReportKind::Junit => junit::document(document)?,
        ReportKind::Html => html::page(document),
        ReportKind::Summary => summary::line(document),
    })
}

fn resources() -> ResourceSummary {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let (cpu, largest) = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_or((0.0, 0), |used| (seconds(used.user_time()) + seconds(used.system_time()), used.max_rss()));
    ResourceSummary {
        cpu_seconds: (cpu * 1000.0).round() / 1000.0,
        // ru_maxrss is in kilobytes (getrusage(2)).
        largest_process_memory_bytes: u64::try_from(largest).unwrap_or_default() * 1024,
    }
}

fn lossy(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn unix_seconds(time: SystemTime) -> f64 {
    rounded_seconds(time::since_1970(time))
}
