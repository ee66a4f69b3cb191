//! Starting the session's processes, each directly in its leaf.

use std::os::fd::AsFd;
use std::os::unix::fs::fchown;
use std::rc::Rc;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::error::SessionError;
use super::foreground::Foreground;
use super::idle::IdleWatch;
use super::input::{open_ended, open_forever};
use super::program_lookup::{self, ProgramError};
use super::running_session::Session;
use super::service::{ServiceState, StartedService};
use super::service_log::Logs;
use super::warnings::Warnings;
use crate::config::ServiceInput;
use crate::containment::{LEAF, Leaf, LeafName};
use crate::plan::{Environment, ServiceId};
use crate::readiness::Waiting;
use crate::runtime::failpoint;
use crate::sys::job_control::ControllingTerminal;
use crate::sys::process::identity::Identity;
use crate::sys::process::pidfd::Process;
use crate::sys::process::spawn::{Group, Program, SpawnError, SpawnOptions, Step, Streams};
use crate::sys::time::time_of_files;
use crate::teardown::{Component, Role};
use crate::text::{PROCESS_LIMIT, exit_status};

const NO_INPUT: &str = "cannot open its standard input";

impl Session<'_> {
    pub(super) fn start_service(&mut self, id: ServiceId) -> Result<()> {
        let plan = &self.plan.services[id];
        if self.logs.is_none() {
            let (chosen, id) = (self.plan.logs.as_deref(), &self.context.containment.id);
            self.logs = Some(Logs::create(chosen, &self.plan.state, id)?);
        }
        let logs = self.logs.as_ref().context("no log directory")?;
        let log = logs.open(&plan.name)?;
        give(&log.file, self.plan.identity.as_ref());
        let leaf_name = LeafName::Service(plan.name.clone());
        let env = self.service_env(id).with_all([(LEAF, leaf_name.to_string())]);
        let program = program_lookup::prepare(&plan.command, &env, &plan.cwd, &self.plan.cwd)?;
        let leaf = Rc::new(self.context.containment.leaf(&leaf_name)?);
        let limited = self.context.limits.apply_to_leaf(&leaf_name, &self.context.containment);
        self.context.limits.take_warnings().iter().for_each(|warning| self.report.say(warning));
        limited.context("could not be started")?;
        let (input, kept_open) = match plan.stdin {
            ServiceInput::Open => open_forever().map(|(reader, writer)| (reader, Some(writer))),
            ServiceInput::Null => open_ended().map(|null| (null, None)),
        }
        .context(NO_INPUT)?;
        give(&input, self.plan.identity.as_ref());
        let streams = Streams { input: Some(input.as_fd()), output: Some(log.file.as_fd()) };
        self.await_guardian()?;
        let plan = &self.plan.services[id];
        let waiting =
            Waiting::begin(plan, &log.file).with_context(|| format!("cannot read {}", log.path.display()))?;
        // Nothing may fail from here on: a process that is not yet a component would get no grace.
        let started = time_of_files();
        let leader =
            start(&program, &self.options(Group::Session, streams), &leaf).context("could not be started")?;

        self.services[id] = Some(StartedService {
            component: self.context.components.len(),
            log,
            _input: kept_open,
            waiting: Some(waiting),
            is_daemon: false,
            killed_with_all: None,
        });
        self.context.components.push(Component {
            role: Role::Service,
            name: plan.name.clone(),
            leaf,
            leader,
            own_group: true,
            started,
            status: None,
            reaped: None,
            stop_signal: plan.stop_signal,
            grace: plan.grace,
            depends_on: plan.depends_on.iter().map(|&it| self.plan.services[it].name.clone()).collect(),
        });
        failpoint::reached("service started");
        Ok(())
    }

    /// Starts the command. With a terminal it shares our process group, so that the terminal and the shell
    /// see one job: Ctrl-C and Ctrl-Z reach both, `fg` resumes both, and a debugger can read the keyboard.
    /// Without one it gets a group of its own, so that a signal to our group (by timeout(1) or a CI runner)
    /// reaches it once, through us.
    pub(super) fn start_command(&mut self) -> Result<(), SessionError> {
        self.report.clear();
        let env = self.env.with_all([(LEAF, LeafName::Command.to_string())]);
        let (command, cwd) = (&self.plan.command, &self.plan.cwd);
        let program = match &self.command_path {
            Some(path) => program_lookup::prepare_found(path, command, &env, cwd, cwd),
            None => program_lookup::prepare(command, &env, cwd, cwd),
        }?;
        failpoint::reached("services ready");
        let leaf = Rc::new(self.context.containment.leaf(&LeafName::Command).map_err(anyhow::Error::from)?);
        let terminal = ControllingTerminal::open();
        let group = if terminal.is_some() { Group::Shared } else { Group::Own };
        self.foreground = Foreground::at_start(terminal.as_ref());
        let name = self.plan.command[0].to_string_lossy().into_owned();
        self.await_guardian()?;
        let started = time_of_files();
        let leader = start(&program, &self.options(group, Streams::default()), &leaf)
            .map_err(|error| error.context(format!("{name} could not be executed")))?;
        self.context.components.push(Component {
            role: Role::Command,
            name,
            leaf,
            leader,
            own_group: group == Group::Own,
            started,
            status: None,
            reaped: None,
            stop_signal: Signal::SIGTERM,
            grace: self.plan.grace,
            depends_on: Vec::new(),
        });
        let limit = self.plan.idle_timeout;
        self.idle =
            limit.zip(self.context.command()).map(|(limit, command)| IdleWatch::begin(limit, command));
        self.warnings = self.plan.warn_after.map(Warnings::begin);
        failpoint::reached("command started");
        Ok(())
    }

    /// Starts the readiness command of a service.
    pub(super) fn start_probe(&mut self, id: ServiceId) -> Result<()> {
        let plan = &self.plan.services[id];
        let Some(command) = plan.readiness_command() else { return Ok(()) };
        let leaf_name = LeafName::Probe(plan.name.clone());
        let env = self.service_env(id).with_all([(LEAF, leaf_name.to_string())]);
        let program = program_lookup::prepare(&command, &env, &plan.cwd, &self.plan.cwd)?;
        let is_its_probe =
            |component: &Component| component.role == Role::Probe && component.name == plan.name;
        let asked_before = self.context.components.iter().position(is_its_probe);
        let log = &self.services[id].as_ref().context("the service was not started")?.log;
        let input = open_ended().context(NO_INPUT)?;
        let streams = Streams { input: Some(input.as_fd()), output: Some(log.file.as_fd()) };
        let started = time_of_files();
        let pid = match asked_before {
            Some(component) => {
                let leaf = self.context.components[component].leaf.clone();
                let leader = start(&program, &self.options(Group::Session, streams), &leaf)?;
                let component = &mut self.context.components[component];
                component.leader = leader;
                (component.started, component.status, component.reaped) = (started, None, None);
                component.leader.pid
            }
            None => {
                let leaf = Rc::new(self.context.containment.leaf(&leaf_name)?);
                let leader = start(&program, &self.options(Group::Session, streams), &leaf)?;
                let pid = leader.pid;
                self.context.components.push(Component {
                    role: Role::Probe,
                    name: plan.name.clone(),
                    leaf,
                    leader,
                    own_group: true,
                    started,
                    status: None,
                    reaped: None,
                    stop_signal: Signal::SIGTERM,
                    grace: self.plan.grace,
                    depends_on: vec![plan.name.clone()],
                });
                pid
            }
        };
        if let Some(waiting) = self.services[id].as_mut().and_then(|it| it.waiting.as_mut()) {
            waiting.command_started(pid);
        }
        Ok(())
    }

    /// Says how a service ended.
    pub(super) fn how_it_ended(&self, id: ServiceId) -> String {
        // The exit status of the process that started a daemon says nothing about how the daemon ended.
        let is_daemon = self.services[id].as_ref().is_some_and(|service| service.is_daemon);
        let status = self.component_of(id).and_then(|it| it.status).filter(|_| !is_daemon);
        let was_starting = self.machine.state(id) == ServiceState::Starting;
        let after = if was_starting { " before it was ready" } else { "" };
        match status {
            Some(status) => format!("ended{after}: {}", exit_status(status)),
            None => format!("ended{after}"),
        }
    }

    fn options<'a>(&'a self, group: Group, streams: Streams<'a>) -> SpawnOptions<'a> {
        SpawnOptions {
            group,
            streams,
            // What is ignored was meant for the command, as by nohup(1). A service has to hear its stop signal.
            keep_ignored: group != Group::Session,
            identity: self.plan.identity.as_ref(),
            shares_memory: self.context.limits.is_empty(),
        }
    }

    pub(super) fn service_env(&self, id: ServiceId) -> Environment {
        let service = &self.plan.services[id];
        let env = self.env.without_passed_sockets();
        let env = if service.cwd == self.plan.cwd { env } else { env.with_directory(&service.cwd) };
        env.with_all(&service.env)
    }
}

/// Gives a stream to the session's user, because programs may reopen theirs (`/dev/stderr`). If this fails, only
/// those programs are affected.
fn give(stream: impl AsFd, identity: Option<&Identity>) {
    if let Some((user, _)) = identity.and_then(|identity| identity.user.as_ref()) {
        let _ = fchown(stream, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    }
}

fn start(program: &Program, options: &SpawnOptions<'_>, leaf: &Leaf) -> Result<Process, SessionError> {
    leaf.start(program, options).map_err(|error: SpawnError| {
        let why = crate::text::plain(&error.source);
        let error = match error.step {
            Step::Fork | Step::Join if error.source.raw_os_error() == Some(libc::EAGAIN) => {
                anyhow::anyhow!("cannot create a process: {PROCESS_LIMIT}")
            }
            Step::Fork => anyhow::anyhow!("cannot create a process: {why}"),
            Step::Join => anyhow::anyhow!("cannot join the session's cgroup: {why}"),
            Step::Enter => anyhow::anyhow!("cannot enter the session's PID namespace: {why}"),
            Step::Become => anyhow::anyhow!("cannot switch to the user given with --user: {why}"),
            Step::Prepare => anyhow::anyhow!("cannot set up its streams and process group: {why}"),
            Step::Chdir => anyhow::anyhow!(
                "the session's user cannot enter the working directory {}: {why}",
                program.cwd()
            ),
            Step::Exec => return ProgramError::Refused { reason: why }.into(),
            Step::Birth | Step::Begin => anyhow::anyhow!("{why}"),
        };
        error.into()
    })
}
