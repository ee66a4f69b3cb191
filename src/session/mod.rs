//! The life of one session, top to bottom: look before starting, contain, start the services, run
//! the command, tear down, report.

mod end;
mod limits;
mod machine;
mod observe;
mod preflight;
pub mod program;
mod service_log;
mod start;
mod suspend;

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::containment::{self, Containment};
use crate::guardian::Guardian;
use crate::guardian::record::Record;
use crate::limits::AppliedLimits;
use crate::plan::Environment;
use crate::plan::{SessionPlan, Verbosity};
use crate::ports::reclaim::Interrupted;
use crate::readiness::Waiting;
use crate::registry;
use crate::report::{GitHub, ReportFiles, Reporter, SessionReport, Timeline};
use crate::runtime::clock;
use crate::runtime::events::{self, Events};
use crate::runtime::exit_code::Exit;
use crate::runtime::failpoint;
use crate::session::program::ProgramError;
use crate::session::service_log::{Log, Logs};
use crate::sys::children;
use crate::sys::sock_diag::Listener;
use crate::teardown::{AnyOtherExit, Cause, Component, Context, StartupFailure};
use crate::text::error_chain;
use crate::text::plain;
use machine::{Action, Event, Machine, Node};

const REPLACED: &str = "the guardian was killed; another one takes its place";

/// Runs the session and says how cgrun is to end. An error means that nothing was started.
pub fn run(plan: SessionPlan, report: &Reporter) -> Result<Exit> {
    let targets = ReportFiles::prepare(&plan.reports, plan.identity.as_ref())?;
    let mut session = match prepare(plan, report) {
        Ok(session) => session,
        Err(error) => {
            targets.remove_old_reports();
            return match error.downcast_ref() {
                Some(&Interrupted::Signal(signal)) => Ok(Exit::Signal(signal)),
                _ => Err(error),
            };
        }
    };
    session.will_report(targets);
    let cause = session.live().unwrap_or_else(|error| match error.downcast_ref() {
        Some(ProgramError::Refused { .. } | ProgramError::NotExecutable { .. }) => {
            Cause::StartupFailure(StartupFailure::Command { found: true, why: error_chain(&error) })
        }
        Some(ProgramError::NotFound { .. }) => {
            Cause::StartupFailure(StartupFailure::Command { found: false, why: error_chain(&error) })
        }
        _ => Cause::AnyOtherExit(AnyOtherExit::Broken(error_chain(&error))),
    });
    Ok(session.end(&cause))
}

/// All that can fail before anything is started.
fn prepare(plan: SessionPlan, report: &Reporter) -> Result<Session<'_>> {
    let env = plan.environment();
    preflight::programs(&plan, &env)?;
    let events = Events::new().context("cannot take over signal handling")?;
    let source = containment::find_source();
    if let Ok((mount, _)) = &source {
        registry::sweep::end_stale_neighbours(mount, &plan.records, &events, report)?;
    }
    let held_before = preflight::ports(&plan, &events, report)?;
    // Whoever becomes our child from now on is of the session.
    let preexisting = children::list().context("cannot list our children")?;
    children::become_subreaper().context("cannot become a subreaper (prctl)")?;

    let source = source.map(|(mount, _)| mount);
    let command = plan.command_line();
    let mount = source.as_ref().ok().cloned();
    let (containment, missing) =
        containment::choose(source, plan.require, command.as_bytes(), &plan.watched, &preexisting)?;
    if !missing.is_empty() && plan.require.is_none() {
        let kind = containment.kind();
        report.say(&format!(
            "this session is held by a {kind} only ({}); see: cgrun doctor",
            missing.join("; ")
        ));
    }
    let limits = limits::apply(&plan, &containment, mount.as_ref(), report)?;
    failpoint::reached("cgroup made");
    Ok(Session::new(plan, (containment, limits), held_before, preexisting, env, events, report))
}

struct Session<'a> {
    plan: SessionPlan,
    context: Context,
    env: Environment,
    events: Events,
    report: &'a Reporter,
    machine: Machine,
    logs: Option<Logs>,
    /// One for each service of the plan.
    services: Vec<ServiceState>,
    begin: Instant,
    /// Ends the session if we cannot.
    guardian: Option<Guardian>,
    record: Record,
    /// What is to be written at the end, where anything is.
    reports: Option<Rc<SessionReport>>,
    timeline: Timeline,
    torn_down: bool,
}

/// A service between its start and its end.
#[derive(Default)]
struct ServiceState {
    /// Its place among the parts, once started.
    part: Option<usize>,
    waiting: Option<Waiting>,
    log: Option<Log>,
    /// Its first process ended well and left others to serve.
    is_daemon: bool,
    /// It was killed together with all of the session, the command included, which is about to end too.
    killed_with_all: Option<Instant>,
    gone: bool,
}

impl<'a> Session<'a> {
    fn new(
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
        let nodes =
            plan.services.iter().map(|it| Node { depends_on: it.depends_on.clone(), critical: it.critical });
        Self {
            machine: Machine::new(nodes.collect(), plan.grace),
            services: plan.services.iter().map(|_| ServiceState::default()).collect(),
            env: env.with_all(containment.id.marks_of_ours()),
            context: Context {
                watched_ports: plan.watched.clone(),
                preexisting_listeners: held_before,
                grace: plan.grace,
                kill_wait: plan.kill_wait,
                settle: plan.settle,
                allow: plan.allow.clone(),
                measures_usage: plan.verbosity == Verbosity::Verbose
                    || !limits.is_empty()
                    || !plan.reports.is_empty(),
                limits,
                ..Context::new(containment).with_preexisting_children(preexisting)
            },
            logs: None,
            begin: clock::now(),
            guardian: None,
            record,
            reports: None,
            timeline: Timeline::start(plan.services.len()),
            torn_down: false,
            plan,
            events,
            report,
        }
    }

    /// The guardian is to know as well what was asked for.
    fn will_report(&mut self, files: ReportFiles) {
        if files.is_empty() && GitHub::from_environment().is_none() {
            return;
        }
        let reports = Rc::new(SessionReport::new(files, &self.plan, &self.context.containment));
        self.record.report = Some(reports.clone());
        self.reports = Some(reports);
    }

    /// From the first start to the moment at which the session is to end, and why.
    fn live(&mut self) -> Result<Cause> {
        self.arm_guardian()?;
        // Whoever has asked for the end already gets nothing started.
        let mut actions = Vec::new();
        let mut failed = false;
        for event in self.events.pending().context("cannot read pending signals (signalfd)")? {
            if let events::Event::Signal(caught) = event {
                actions.extend(self.step(Event::Signal(caught)));
            }
        }
        actions.extend(self.machine.begin());
        loop {
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::StartService(_) if failed => {}
                    Action::StartService(service) => {
                        self.timeline.service_started(service);
                        if let Err(error) = self.start_service(service) {
                            failed = true;
                            actions.extend(self.step(Event::NotReady(service, error_chain(&error))));
                        }
                    }
                    Action::StartCommand => {
                        self.timeline.command.started = Some(self.timeline.now());
                        self.start_command()?;
                    }
                    Action::PassOn(signal) => {
                        if let Some(command) = self.context.command() {
                            self.pass_on(signal, command);
                        }
                    }
                    Action::Suspend(caught) => self.suspend(caught)?,
                    Action::Mention(service, how) => {
                        let name = &self.plan.services[service].name;
                        self.report.say(&format!(
                            "service {name} {how}; it is not critical, so the session goes on"
                        ));
                    }
                    Action::TearDown(cause) => return Ok(cause),
                }
            }
            if actions.is_empty() {
                for event in self.observe()? {
                    actions.extend(self.step(event));
                }
            }
        }
    }

    fn arm_guardian(&mut self) -> Result<()> {
        self.guardian = Some(Guardian::arm(&mut self.context, &self.record)?);
        failpoint::reached("guardian armed");
        Ok(())
    }

    /// A command that runs as another user may not be ours to signal. It is still ours to wait for.
    fn pass_on(&self, signal: Signal, command: &Component) {
        if let Err(error) = command.leader.signal(signal) {
            self.report.say(&format!("cannot pass {signal} on to the command: {}", plain(&error)));
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Ready(service) => self.timeline.service_ready(service),
            Event::ServiceEnded(service, _) => self.timeline.service_ended(service),
            Event::CommandEnded => self.timeline.command.ended = Some(self.timeline.now()),
            _ => {}
        }
        self.machine.step(event, clock::now())
    }
}
