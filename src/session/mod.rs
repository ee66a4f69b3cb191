//! The life of one session, top to bottom: look before starting, contain, start the services, run
//! the command, tear down, report.

mod machine;
mod preflight;
mod start;
mod suspend;

use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::clock;
use crate::containment::{MARKER, Mount, SessionCgroup};
use crate::events::{self, Events, Wake};
use crate::exit_code::{self, Exit, Outcome, exit};
use crate::failpoint;
use crate::guardian::Guardian;
use crate::host::{self, record::Record};
use crate::plan::SessionPlan;
use crate::ports;
use crate::program::{Environment, ProgramError};
use crate::reclaim::Interrupted;
use crate::report::{Reporter, in_words};
use crate::service::logs::{Log, Logs};
use crate::service::ready::{Look, Surroundings, TICK, Waiting};
use crate::sys::children;
use crate::sys::proc::ProcessInfo;
use crate::sys::sock_diag::Listener;
use crate::sys::tty::plain;
use crate::teardown::{Cause, Part, Remains, Role, Verdict, hurry, tear_down};
use machine::{Action, Event, Machine, Node};

const REPLACED: &str = "the guardian was killed; another one takes its place";
/// How many processes are named when the time has run out.
const RUNNING_SHOWN: usize = 10;
/// How much of a failed service's log is shown.
const LOG_TAIL: usize = 20;

/// Runs the session and says how cgrun is to end. An error means that nothing was started.
pub fn run(plan: SessionPlan, report: &Reporter) -> Result<Exit> {
    let env = Environment::ours();
    preflight::programs(&plan, &env)?;
    let events = Events::new().context("cannot take over signal handling")?;
    let mount = Mount::find()?;
    host::sweep::end_neighbours(&mount, &plan.records, &events, report)?;
    let held_before = match preflight::ports(&plan, &events, report) {
        Ok(held) => held,
        Err(error) => match error.downcast_ref() {
            Some(&Interrupted::Signal(signal)) => return Ok(Exit::Signal(signal)),
            _ => return Err(error),
        },
    };
    // Whoever becomes our child from now on is of the session.
    let predating = children::list().context("cannot list our children")?;
    children::become_subreaper().context("cannot become a subreaper (prctl)")?;

    let cgroup = SessionCgroup::create(&mount, plan.command_line().as_bytes(), &plan.watched)?;
    failpoint::reached("cgroup made");
    let mut session = Session::new(plan, cgroup, held_before, predating, env, events, report);
    let cause = session.live().unwrap_or_else(|error| match error.downcast_ref() {
        Some(ProgramError::Refused { .. } | ProgramError::NotExecutable { .. }) => {
            Cause::NotExecuted { found: true, why: in_words(&error) }
        }
        Some(ProgramError::NotFound { .. }) => Cause::NotExecuted { found: false, why: in_words(&error) },
        _ => Cause::Broken(in_words(&error)),
    });
    Ok(session.end(&cause))
}

struct Session<'a> {
    plan: SessionPlan,
    remains: Remains,
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
    gone: bool,
}

impl<'a> Session<'a> {
    fn new(
        plan: SessionPlan,
        cgroup: SessionCgroup,
        held_before: Vec<Listener>,
        predating: Vec<Pid>,
        env: Environment,
        events: Events,
        report: &'a Reporter,
    ) -> Self {
        let record =
            Record::new(&plan.records, &cgroup.id, std::process::id(), &plan.command_line(), "guardian");
        let nodes =
            plan.services.iter().map(|it| Node { depends_on: it.depends_on.clone(), critical: it.critical });
        Self {
            machine: Machine::new(nodes.collect(), plan.grace),
            services: plan.services.iter().map(|_| ServiceState::default()).collect(),
            env: env.with_all([(MARKER, cgroup.id.to_string())]),
            remains: Remains {
                cgroup,
                parts: Vec::new(),
                watched: plan.watched.clone(),
                held_before,
                grace: plan.grace,
                kill_wait: plan.kill_wait,
                settle: plan.settle,
                predating,
                guardian: None,
                lost_orphans: false,
            },
            logs: None,
            begin: clock::now(),
            guardian: None,
            record,
            torn_down: false,
            plan,
            events,
            report,
        }
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
                        if let Err(error) = self.start_service(service) {
                            failed = true;
                            actions.extend(self.step(Event::NotReady(service, in_words(&error))));
                        }
                    }
                    Action::StartCommand => self.start_command()?,
                    Action::PassOn(signal) => {
                        if let Some(command) = self.remains.command() {
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
        self.guardian = Some(Guardian::arm(&mut self.remains, &self.record)?);
        failpoint::reached("guardian armed");
        Ok(())
    }

    /// A command that runs as another user may not be ours to signal. It is still ours to wait for.
    fn pass_on(&self, signal: Signal, command: &Part) {
        if let Err(error) = command.leader.signal(signal) {
            self.report.say(&format!("cannot pass {signal} on to the command: {}", plain(&error)));
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.machine.step(event, clock::now())
    }

    /// Waits for something to happen, and says what it means for the session.
    fn observe(&mut self) -> Result<Vec<Event>> {
        let happened =
            self.events.wait(&self.wakes(), self.deadline()).context("cannot wait for events (ppoll)")?;
        if let Some(guardian) = &mut self.guardian
            && guardian.tend(&mut self.remains, &self.record)?
        {
            self.report.say(REPLACED);
        }
        let mut events = Vec::new();
        for event in happened {
            match event {
                events::Event::Signal(caught) => events.push(Event::Signal(caught)),
                events::Event::Exited(pid, status) => {
                    self.remains.note_exit(pid, status);
                    for waiting in self.services.iter_mut().filter_map(|service| service.waiting.as_mut()) {
                        waiting.note_exit(pid, status);
                    }
                }
            }
        }
        let stopping = |event: &Event| matches!(event, Event::Signal(caught) if caught.is_about_stopping());
        if !events.iter().any(stopping) {
            events.extend(self.command_stopped()?.map(Event::Signal));
        }
        if self.remains.command().is_some_and(|command| command.status.is_some()) {
            events.push(Event::CommandEnded);
        } else if self.plan.timeout.is_some_and(|timeout| clock::since(self.begin) >= timeout) {
            events.push(Event::TimedOut);
        }
        self.look_at_services(&mut events)?;
        Ok(events)
    }

    fn wakes(&self) -> Vec<Wake<'_>> {
        let alive = self.services.iter().filter(|service| !service.gone).filter_map(|service| service.part);
        let asked = self.services.iter().filter_map(|service| service.waiting.as_ref()?.wakes_on());
        alive
            .map(|part| Wake::changed(self.remains.parts[part].leaf.events()))
            .chain(asked.map(Wake::readable))
            .chain(self.guardian.as_ref().map(|guardian| Wake::readable(guardian.line())))
            .collect()
    }

    fn deadline(&self) -> Option<Instant> {
        let timeout = self.plan.timeout.map(|timeout| self.begin + timeout);
        let look = self.services.iter().any(|service| service.waiting.is_some()).then(|| clock::now() + TICK);
        timeout.into_iter().chain(look).min()
    }

    /// Which services became ready, failed to, or ended.
    fn look_at_services(&mut self, events: &mut Vec<Event>) -> Result<()> {
        for index in 0..self.services.len() {
            let service = &self.services[index];
            let Some(part) = service.part.filter(|_| !service.gone).map(|part| &self.remains.parts[part])
            else {
                continue;
            };
            // Read in any case: until then its notice of a change stands, and wakes us at once.
            let populated = part.leaf.is_populated()?;
            // A leaf that is empty while the leader's status is still to come is looked at again then.
            let Some(status) = part.status else { continue };
            if populated {
                self.services[index].is_daemon = status.success();
            } else {
                events.push(Event::ServiceEnded(index, self.how_it_ended(index)));
                self.services[index].gone = true;
                self.services[index].waiting = None;
            }
        }
        self.look_for_readiness(events)
    }

    /// Which of the services that are waited for are ready now, or late.
    fn look_for_readiness(&mut self, events: &mut Vec<Event>) -> Result<()> {
        if self.services.iter().all(|service| service.waiting.is_none()) {
            return Ok(());
        }
        let listeners = ports::listening_on(&self.plan.watched);
        let cgroups = self.remains.cgroup.numbers()?;
        let around = Surroundings { listeners: &listeners, cgroups: &cgroups };
        let mut to_ask = Vec::new();
        for (index, plan) in self.plan.services.iter().enumerate() {
            let Some(waiting) = &mut self.services[index].waiting else { continue };
            match waiting.look(plan, &around)? {
                Look::Ready => {
                    let seconds = clock::since(waiting.since).as_secs_f32();
                    self.report.ready(&plan.name, seconds);
                    self.services[index].waiting = None;
                    events.push(Event::Ready(index));
                }
                Look::NotYet | Look::Ask if clock::now() >= waiting.deadline => {
                    let (limit, awaited) = (plan.ready_timeout.as_secs_f32(), plan.awaited());
                    let why = waiting.why(plan, &around);
                    let message = format!("was not ready ({awaited}) within {limit} s: {why}");
                    events.push(Event::NotReady(index, message));
                }
                Look::NotYet => {}
                Look::Ask => to_ask.push(index),
            }
        }
        for index in to_ask {
            if let Err(error) = self.ask(index) {
                let why = format!("cannot be asked whether it is ready: {}", in_words(&error));
                events.push(Event::NotReady(index, why));
            }
        }
        let waiting = self.plan.services.iter().zip(&self.services).filter_map(|(plan, service)| {
            Some((plan.name.as_str(), plan.awaited(), clock::since(service.waiting.as_ref()?.since)))
        });
        self.report.waiting(waiting);
        Ok(())
    }

    /// The end, whatever the cause.
    fn end(&mut self, cause: &Cause) -> Exit {
        self.report.clear();
        self.explain(cause);
        failpoint::reached("teardown");
        let verdict = self.tear_down(cause);
        self.report.verdict(&verdict, cause, clock::since(self.begin));
        failpoint::reached("reported");
        exit(&Outcome {
            cause,
            command: self.remains.command().and_then(|command| command.status),
            verdict: &verdict,
            on_leak: self.plan.on_leak,
        })
    }

    fn tear_down(&mut self, cause: &Cause) -> Verdict {
        hurry();
        let (mut guardian, record, report) = (self.guardian.as_mut(), &self.record, self.report);
        let mut tend = |remains: &mut Remains| {
            // Where no other can be had, this is the last who can end the session, and goes on.
            if let Some(Ok(true)) = guardian.as_mut().map(|guardian| guardian.tend(remains, record)) {
                report.say(REPLACED);
            }
        };
        let verdict = tear_down(&mut self.remains, cause, &self.events, &|text| report.say(text), &mut tend);
        self.torn_down = true;
        failpoint::reached("verified");
        // What we could not end, the guardian may: it is told nothing, and we die before its eyes.
        match self.guardian.take() {
            Some(guardian) if verdict.is_proven() => guardian.dismiss(),
            _ => {}
        }
        failpoint::reached("dismissed");
        verdict
    }

    /// Says why the session ends, where that is not the command's own doing.
    fn explain(&self, cause: &Cause) {
        match cause {
            Cause::StartupFailed { service, why } => self.explain_service(*service, why),
            Cause::ServiceEnded { service, how } => {
                self.explain_service(*service, &format!("{how} while the command ran; the session ends"));
            }
            Cause::TimedOut => {
                let limit = humantime::format_duration(self.plan.timeout.unwrap_or_default());
                self.report.error(&format!("the session took longer than {limit}; it ends while there run:"));
                self.say_what_runs();
            }
            Cause::NotExecuted { why, .. } | Cause::Broken(why) => self.report.error(why),
            Cause::CommandEnded { .. } | Cause::Signal { .. } | Cause::SupervisorDied => {}
        }
    }

    /// The processes of the command, or of the services where it has not started.
    fn say_what_runs(&self) {
        let command = self.remains.command();
        let parts = self.remains.parts.iter().filter(|part| command.is_none() || part.role == Role::Command);
        let running = parts.flat_map(|part| part.leaf.members().unwrap_or_default());
        for process in running.filter_map(ProcessInfo::read).take(RUNNING_SHOWN) {
            self.report.error(&format!("  {process}"));
        }
    }

    fn explain_service(&self, service: usize, what: &str) {
        self.report.error(&format!("service {} {what}", self.plan.services[service].name));
        if let Some(log) = &self.services[service].log {
            self.report.log(&log.path, &log.tail(LOG_TAIL));
        }
    }
}

/// Layer 5: a panic unwinds through here.
impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.torn_down {
            let cause = Cause::Broken("cgrun itself failed".into());
            let verdict = self.tear_down(&cause);
            self.report.verdict(&verdict, &cause, clock::since(self.begin));
            // Whoever catches the panic knows only of that. What survived outweighs it.
            if !verdict.is_proven() {
                std::process::exit(exit_code::NOT_PROVEN.into());
            }
        }
    }
}
