//! A report in the making: what is known of a session from its begin. The guardian has a copy, and writes
//! that where the supervisor cannot.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::json::{
    self, ComponentSummary, LeakedProcess, PhaseSummary, ReportDocument, ServiceSummary, rounded_seconds,
};
use super::locate::TestLocator;
use super::targets::Targets;
use super::timeline::{Timeline, Times};
use super::tree::trees;
use super::{GitHub, html, junit};
use crate::config::{OnLeak, ReportKind};
use crate::containment::Containment;
use crate::plan::SessionPlan;
use crate::runtime::exit_code::Exit;
use crate::sys::identity::Lent;
use crate::teardown::{Cause, Context, Role, Verdict};

#[derive(Debug)]
pub struct Draft {
    targets: Targets,
    session: json::SessionSummary,
    containment: json::ContainmentSummary,
    services: Vec<ServiceSummary>,
    watched: Vec<u16>,
    directory: PathBuf,
    leaks_fail: bool,
    github: Option<GitHub>,
}

/// How a session went.
pub struct Course<'a> {
    pub cause: &'a Cause,
    pub verdict: &'a Verdict,
    pub timeline: &'a Timeline,
    pub context: &'a Context,
    pub exit: Exit,
    /// One for each service.
    pub logs: Vec<Option<PathBuf>>,
}

impl Draft {
    pub fn new(targets: Targets, plan: &SessionPlan, containment: &Containment) -> Self {
        let lossy = |words: &[std::ffi::OsString]| {
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let services = plan.services.iter().map(|service| ServiceSummary {
            name: service.name.clone(),
            command: lossy(&service.command),
            port: service.port,
            log_file: None,
            problem: None,
            component: ComponentSummary::default(),
        });
        Self {
            targets,
            session: json::SessionSummary {
                id: containment.id.to_string(),
                supervisor_pid: std::process::id(),
                command: lossy(&plan.command),
                working_directory: plan.cwd.to_string_lossy().into_owned(),
                started_at_unix_seconds: since_1970(SystemTime::now()),
                duration_seconds: 0.0,
                written_by: "supervisor",
            },
            containment: json::ContainmentSummary::new(containment),
            services: services.collect(),
            watched: plan.watched.clone(),
            directory: plan.cwd.clone(),
            leaks_fail: plan.on_leak == OnLeak::Fail,
            github: GitHub::find(),
        }
    }

    /// Where it runs us.
    pub fn github(&self) -> Option<&GitHub> {
        self.github.as_ref()
    }

    /// The rights with which all is read and written that the session could have changed.
    pub fn lent(&self) -> nix::Result<Option<Lent>> {
        self.targets.lent()
    }

    pub fn is_asked_for(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Writes what was asked for; says what went wrong.
    pub fn write(&self, report: &ReportDocument) -> Vec<String> {
        self.targets.write(|kind| text(kind, report))
    }

    /// Where the supervisor is dead: what was known at the begin, and what was found now.
    pub fn write_for_the_dead(&self, verdict: &Verdict) {
        if !self.is_asked_for() && self.github.is_none() {
            return;
        }
        // There is nobody to whom it could be said that this failed.
        let Ok(_lent) = self.lent() else { return };
        let mut report = self.blank(verdict, &Cause::SUPERVISOR_DIED);
        report.session.written_by = "guardian";
        let now = since_1970(SystemTime::now());
        report.session.duration_seconds = (now - report.session.started_at_unix_seconds).max(0.0);
        report.teardown.started_at_seconds = report.session.duration_seconds;
        self.targets.write_the_rest(|kind| text(kind, &report));
        if let Some(github) = self.github() {
            let _ = github.summarize_for_the_dead(&report);
        }
    }

    pub fn report(&self, course: &Course<'_>) -> ReportDocument {
        let Course { cause, verdict, timeline, context, .. } = course;
        let mut report = self.blank(verdict, cause);
        report.session.started_at_unix_seconds = since_1970(timeline.begin_by_calendar);
        report.session.duration_seconds = rounded_seconds(timeline.now());
        match course.exit {
            Exit::Code(code) => report.outcome.exit_code = Some(code),
            Exit::Signal(signal) => report.outcome.signal = Some(signal.to_string()),
        }
        let killed = verdict.phases.iter().find(|(name, _)| *name == "kill").map(|(_, at)| timeline.at(*at));
        let of_part = |times: &Times, role: Role, name: Option<&str>| {
            let is_it =
                |it: &crate::teardown::Component| it.role == role && name.is_none_or(|name| it.name == name);
            let index = context.components.iter().position(is_it);
            let status = index.and_then(|index| context.components[index].status);
            let span = index.and_then(|index| verdict.spans.get(index)).copied().unwrap_or_default();
            let gone = span.gone.map(|at| timeline.at(at));
            let gone = gone.or(span.asked.and(killed)).or(times.ended).or(killed);
            let gone = gone.filter(|_| index.is_some());
            let signal = status.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
            let signal = signal.and_then(|signal| nix::sys::signal::Signal::try_from(signal).ok());
            let after = |at: Option<Duration>| at.map(rounded_seconds);
            ComponentSummary {
                started_at_seconds: after(times.started),
                ready_at_seconds: after(times.ready),
                stop_requested_at_seconds: after(span.asked.map(|at| timeline.at(at))),
                exited_at_seconds: after(times.ended),
                gone_at_seconds: after(gone),
                exit_code: status.and_then(|status| status.code()),
                signal: signal.map(|signal| signal.to_string()),
            }
        };
        report.command = of_part(&timeline.command, Role::Command, None);
        for (at, service) in report.services.iter_mut().enumerate() {
            service.component = of_part(&timeline.services[at], Role::Service, Some(&service.name));
            service.log_file = course.logs[at].as_ref().map(|path| path.to_string_lossy().into_owned());
            let failed = cause.failed_service().filter(|(service, _)| *service == at);
            service.problem = failed.map(|(_, problem)| problem.to_string());
        }
        let mut began = timeline.end.unwrap_or_default();
        report.teardown.started_at_seconds = rounded_seconds(began);
        report.teardown.phases = verdict
            .phases
            .iter()
            .map(|&(name, at)| {
                let ended = timeline.at(at);
                let phase = PhaseSummary {
                    name,
                    started_at_seconds: rounded_seconds(began),
                    ended_at_seconds: rounded_seconds(ended),
                };
                began = ended;
                phase
            })
            .collect();
        report
    }

    fn blank(&self, verdict: &Verdict, cause: &Cause) -> ReportDocument {
        let services: Vec<_> = self.services.iter().map(|service| service.name.as_str()).collect();
        let mut tests = TestLocator::new(&self.directory, &self.session.command);
        let mut described =
            |leaks| trees(leaks).iter().map(|tree| LeakedProcess::from_tree(tree, &mut tests)).collect();
        ReportDocument {
            schema: json::SCHEMA,
            schema_version: json::SCHEMA_VERSION,
            cgrun_version: env!("CARGO_PKG_VERSION"),
            session: self.session.clone(),
            outcome: json::Outcome {
                clean: verdict.is_proven()
                    && verdict.leaked() == 0
                    && !verdict.command_killed
                    && !cause.is_supervisor_dead(),
                verified_empty: verdict.is_proven(),
                exit_code: None,
                signal: None,
                layer: cause.layer(),
                layer_title: cause.layer_title(),
                cause: cause.name(),
                reason: cause.sentence(&services),
                on_leak: if self.leaks_fail { "fail" } else { "report" },
            },
            containment: self.containment.clone(),
            command: ComponentSummary::default(),
            services: self.services.clone(),
            leaks: described(&verdict.leaks),
            leaked_process_count: verdict.leaked(),
            undescribed_process_count: verdict.undescribed.len(),
            allowed_leaks: described(&verdict.allowed),
            survivors: verdict.survivors.clone(),
            unverified: verdict.unknown.clone(),
            ports: json::PortSummary {
                watched: self.watched.clone(),
                held_by_others: verdict.strangers.iter().map(ToString::to_string).collect(),
            },
            teardown: json::TeardownSummary {
                started_at_seconds: 0.0,
                phases: Vec::new(),
                command_killed: verdict.command_killed,
            },
            resources: resources(),
            usage: verdict.usage.clone(),
        }
    }
}

fn text(kind: ReportKind, report: &ReportDocument) -> Result<String> {
    Ok(match kind {
        ReportKind::Json => serde_json::to_string_pretty(report)? + "\n",
        ReportKind::Junit => junit::document(report)?,
        ReportKind::Html => html::page(report),
    })
}

fn resources() -> json::ResourceSummary {
    let used = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).ok();
    let (cpu, largest) = used.map_or((0.0, 0), |used| {
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        (seconds(used.user_time()) + seconds(used.system_time()), used.max_rss())
    });
    // In kilobytes (getrusage(2)).
    let largest_process_memory_bytes = u64::try_from(largest).unwrap_or_default() * 1024;
    json::ResourceSummary { cpu_seconds: (cpu * 1000.0).round() / 1000.0, largest_process_memory_bytes }
}

fn since_1970(time: SystemTime) -> f64 {
    rounded_seconds(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
