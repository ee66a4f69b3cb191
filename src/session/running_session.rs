//! The data that a session holds while it runs.

use std::path::PathBuf;
use std::rc::Rc;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::engines::Engines;
use super::foreground::Foreground;
use super::idle::IdleWatch;
use super::killers;
use super::service::StartedService;
use super::service_log::Logs;
use super::state_machine::{ServiceNode, StateMachine};
use super::warnings::Warnings;
use super::why::Hang;
use crate::baseline::KNOWN_LEAKS;
use crate::config::Private;
use crate::containment::Containment;
use crate::guardian::Guardian;
use crate::guardian::record::Record;
use crate::leaks::allow::{self, ALLOWED};
use crate::leaks::{LEAK_LOG, LeakLog};
use crate::leftovers::{Before, Own};
use crate::limits::AppliedLimits;
use crate::plan::{Environment, PerService, ServiceId, SessionPlan, Verbosity};
use crate::report::{GitHub, ReportFiles, Reporter, SessionReport, Timeline};
use crate::runtime::clock;
use crate::runtime::events::Events;
use crate::sys::process::keeper::Kept;
use crate::sys::process::starters::Starters;
use crate::sys::sockets::Listener;
use crate::sys::time::Instant;
use crate::teardown::{Component, Context};
use crate::text::plain;

pub(super) const GUARDIAN_REPLACED: &str = "the guardian was killed; another one takes its place";

pub(super) struct Session<'a> {
    pub plan: SessionPlan,
    pub context: Context,
    pub env: Environment,
    /// The command's program, if it was found and nothing has run since.
    pub command_path: Option<PathBuf>,
    pub events: Events,
    pub report: &'a Reporter,
    pub machine: StateMachine,
    pub logs: Option<Logs>,
    /// `None` for a service that was not started.
    pub services: PerService<Option<StartedService>>,
    pub begin: Instant,
    /// Stops the session if we die.
    pub guardian: Option<Guardian>,
    pub record: Record,
    /// The report to write at the end, if any.
    pub reports: Option<Rc<SessionReport>>,
    pub timeline: Timeline,
    pub foreground: Foreground,
    /// `None` without `--idle-timeout`, and until the command has started.
    pub idle: Option<IdleWatch>,
    /// The same for `--warn-after`.
    pub warnings: Option<Warnings>,
    /// `None` without `--end-with-parent`.
    pub starters: Option<Starters>,
    /// What the processes waited for when a hung session was ended.
    pub hang: Hang,
    /// What `--containers` leads to.
    pub engines: Engines,
    /// What was there that is not a process.
    pub before: Before,
    pub torn_down: bool,
    /// Connects a private network to the outside.
    way_out: Option<Kept>,
}

/// What can hold leftovers.
fn own(Private { ipc, shm, tmp, .. }: Private) -> Own {
    Own { ipc, shm, tmp }
}

impl<'a> Session<'a> {
    pub(super) fn new(
        plan: SessionPlan,
        (containment, limits): (Containment, AppliedLimits),
        held_before: Vec<Listener>,
        preexisting: Vec<Pid>,
        env: Environment,
        events: Events,
        report: &'a Reporter,
    ) -> Self {
        let record =
            Record::new(&plan.records, &containment.id, std::process::id(), &plan.command_line(), "guardian");
        let nodes = plan.services.map(|it| ServiceNode::new(&it.depends_on, it.critical));
        // An enclosing session may allow something else.
        let has_allowed = !plan.allow.is_empty() || env.get(ALLOWED).is_some();
        let allowed = has_allowed.then(|| (ALLOWED, allow::to_variable(&plan.allow)));
        let known = plan.baseline.as_ref().and_then(|it| it.baseline.to_variable(&plan.cwd));
        let has_known = known.is_some() || env.get(KNOWN_LEAKS).is_some();
        let known = has_known.then(|| (KNOWN_LEAKS, known.unwrap_or_default()));
        let leak_log = LeakLog::create(&containment.id, plan.identity.as_ref());
        let log_path = leak_log.as_ref().map_or_else(PathBuf::new, |log| log.path().to_path_buf());
        Self {
            machine: StateMachine::new(nodes, plan.grace),
            services: plan.services.map(|_| None),
            env: env
                .with_all(containment.id.marks_of_ours())
                .with_all(allowed)
                .with_all([(LEAK_LOG, log_path)])
                .with_all(known),
            context: Context {
                watched_ports: plan.watched.clone(),
                preexisting_listeners: held_before,
                timeout_signal: plan.timeout_signal,
                grace: plan.grace,
                kill_wait: plan.kill_wait,
                settle: plan.settle,
                stop_within: killers::stop_within(plan.stop_within),
                allow: plan.allow.clone(),
                leak_log,
                // Whether a leak is known may depend on any of it.
                reports_leaks: plan.baseline.is_some(),
                measures_usage: plan.verbosity == Verbosity::Verbose
                    || !limits.is_empty()
                    || !plan.reports.is_empty(),
                limits,
                ..Context::new(containment).with_preexisting_children(preexisting)
            },
            command_path: None,
            logs: None,
            begin: clock::now(),
            guardian: None,
            record,
            reports: None,
            timeline: Timeline::start(&plan.services),
            foreground: Foreground::default(),
            idle: None,
            warnings: None,
            starters: None,
            hang: Hang::default(),
            engines: Engines::default(),
            before: Before::take(own(plan.private.kinds)),
            torn_down: false,
            way_out: None,
            plan,
            events,
            report,
        }
    }

    /// Keeps what connects its network to the outside, until the session has ended.
    pub(super) fn keep(&mut self, way_out: Option<Kept>) {
        self.context.way_out = way_out.as_ref().map(|kept| kept.pids().to_vec()).unwrap_or_default();
        self.context.way_out.iter().for_each(|&pid| self.context.containment.spare(pid));
        self.way_out = way_out;
    }

    /// Ends what connects its network to the outside, and waits until the ports of the host are free again.
    pub(super) fn end_way_out(&mut self) {
        self.way_out = None;
        self.context.way_out.clear();
    }

    /// Whether the session was cut off from the outside before its end.
    pub(super) fn has_lost_way_out(&self) -> bool {
        self.way_out.as_ref().is_some_and(|it| !it.is_running())
    }

    /// Sets which reports to write, for the guardian too.
    pub(super) fn will_report(&mut self, files: ReportFiles, github: Option<GitHub>) {
        if files.is_empty() && github.is_none() {
            return;
        }
        self.context.reports_leaks = true;
        let reports = Rc::new(SessionReport::new(files, github, &self.plan, &self.context.containment));
        self.record.report = Some(reports.clone());
        self.reports = Some(reports);
    }

    /// The component of a service, if it was started.
    pub(super) fn component_of(&self, service: ServiceId) -> Option<&Component> {
        self.services[service].as_ref().map(|started| &self.context.components[started.component])
    }

    /// A failure is only reported: even if we are not allowed to signal a command that runs as another user,
    /// we can still wait for it.
    pub(super) fn pass_on(&self, signal: Signal, command: &Component) {
        if let Err(error) = command.leader.signal(signal) {
            self.report.say(&format!("cannot pass {signal} on to the command: {}", plain(&error)));
        }
    }
}
