//! Starting the session's processes, each straight in its leaf.

use std::fs::File;
use std::os::fd::AsFd;
use std::rc::Rc;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::Session;
use super::program::{self, ProgramError};
use super::service_log::Logs;
use crate::containment::{LEAF, Leaf, LeafName};
use crate::plan::Environment;
use crate::plan::Probe;
use crate::readiness::Waiting;
use crate::runtime::failpoint;
use crate::sys::identity::Identity;
use crate::sys::pidfd::Process;
use crate::sys::spawn::{Group, Program, Setting, SpawnError, Step, Streams};
use crate::sys::tty;
use crate::teardown::{Component, Role};
use crate::text::exit_status;

impl Session<'_> {
    pub(super) fn start_service(&mut self, index: usize) -> Result<()> {
        let plan = &self.plan.services[index];
        if self.logs.is_none() {
            self.logs = Some(Logs::create(&self.plan.logs, &self.context.containment.id)?);
        }
        let logs = self.logs.as_ref().context("no log directory")?;
        let log = logs.open(&plan.name)?;
        let leaf_name = LeafName::Service(plan.name.clone());
        let env = self.service_env(index).with_all([(LEAF, leaf_name.to_string())]);
        let program = program::prepare(&plan.command, &env, &plan.cwd)?;
        let leaf = Rc::new(self.context.containment.leaf(&leaf_name)?);
        let limited = self.context.limits.apply_to_leaf(&leaf_name, &self.context.containment);
        self.context.limits.take_warnings().iter().for_each(|warning| self.report.say(warning));
        limited.context("could not be started")?;
        let null = open_null()?;
        let streams = Streams { input: Some(null.as_fd()), output: Some(log.file.as_fd()) };
        let waiting =
            Waiting::begin(plan, &log.file).with_context(|| format!("cannot read {}", log.path.display()))?;
        // From here on nothing may fail: what is no part of the session is given no grace.
        let leader = start(&program, Group::Session, streams, &leaf, self.plan.identity.as_ref())
            .context("could not be started")?;

        let service = &mut self.services[index];
        service.part = Some(self.context.components.len());
        service.waiting = Some(waiting);
        service.log = Some(log);
        self.context.components.push(Component {
            role: Role::Service,
            name: plan.name.clone(),
            leaf,
            leader,
            own_group: true,
            status: None,
            stop_signal: plan.stop_signal,
            grace: plan.grace,
            depends_on: plan.depends_on.iter().map(|&it| self.plan.services[it].name.clone()).collect(),
        });
        failpoint::reached("service started");
        Ok(())
    }

    /// Starts the command. With a terminal it shares our process group, so that the terminal and
    /// the shell see one job: Ctrl-C and Ctrl-Z reach both, `fg` resumes both, and a debugger may
    /// read the keyboard. Without one it gets a group of its own, so that whoever signals our group
    /// (timeout(1), CI runners) reaches it once, through us.
    pub(super) fn start_command(&mut self) -> Result<()> {
        self.report.clear();
        let env = self.env.with_all([(LEAF, LeafName::Command.to_string())]);
        let program = program::prepare(&self.plan.command, &env, &self.plan.cwd)?;
        failpoint::reached("services ready");
        let leaf = Rc::new(self.context.containment.leaf(&LeafName::Command)?);
        let group = if tty::has_terminal() { Group::Shared } else { Group::Own };
        let name = self.plan.command[0].to_string_lossy().into_owned();
        let leader = start(&program, group, Streams::default(), &leaf, self.plan.identity.as_ref())
            .with_context(|| format!("{name} could not be executed"))?;
        self.context.components.push(Component {
            role: Role::Command,
            name,
            leaf,
            leader,
            own_group: group == Group::Own,
            status: None,
            stop_signal: Signal::SIGTERM,
            grace: self.plan.grace,
            depends_on: Vec::new(),
        });
        failpoint::reached("command started");
        Ok(())
    }

    /// Starts the readiness command of a service.
    pub(super) fn ask(&mut self, index: usize) -> Result<()> {
        let plan = &self.plan.services[index];
        let Probe::Command(command) = &plan.probe else { return Ok(()) };
        let leaf_name = LeafName::Probe(plan.name.clone());
        let env = self.service_env(index).with_all([(LEAF, leaf_name.to_string())]);
        let program = program::prepare(command, &env, &plan.cwd)?;
        let identity = self.plan.identity.as_ref();
        let is_its_probe = |part: &Component| part.role == Role::Probe && part.name == plan.name;
        let asked_before = self.context.components.iter().position(is_its_probe);
        let log = self.services[index].log.as_ref().context("a service without a log is asked")?;
        let null = open_null()?;
        let streams = Streams { input: Some(null.as_fd()), output: Some(log.file.as_fd()) };
        let pid = match asked_before {
            Some(part) => {
                let part = &mut self.context.components[part];
                part.leader = start(&program, Group::Session, streams, &part.leaf, identity)?;
                part.status = None;
                part.leader.pid
            }
            None => {
                let leaf = Rc::new(self.context.containment.leaf(&leaf_name)?);
                let leader = start(&program, Group::Session, streams, &leaf, identity)?;
                let pid = leader.pid;
                self.context.components.push(Component {
                    role: Role::Probe,
                    name: plan.name.clone(),
                    leaf,
                    leader,
                    own_group: true,
                    status: None,
                    stop_signal: Signal::SIGTERM,
                    grace: self.plan.grace,
                    depends_on: vec![plan.name.clone()],
                });
                pid
            }
        };
        if let Some(waiting) = &mut self.services[index].waiting {
            waiting.command_started(pid);
        }
        Ok(())
    }

    /// How a service ended, for people.
    pub(super) fn how_it_ended(&self, index: usize) -> String {
        let part = self.services[index].part.map(|part| &self.context.components[part]);
        // The status of what started a daemon says nothing about the daemon's end.
        let status = part.and_then(|part| part.status).filter(|_| !self.services[index].is_daemon);
        let after =
            if self.services[index].waiting.is_some() { " before it was ready" } else { Default::default() };
        match status {
            Some(status) => format!("ended{after}: {}", exit_status(status)),
            None => format!("ended{after}"),
        }
    }

    fn service_env(&self, index: usize) -> Environment {
        self.env.with_all(&self.plan.services[index].env)
    }
}

fn start(
    program: &Program,
    group: Group,
    streams: Streams<'_>,
    leaf: &Leaf,
    identity: Option<&Identity>,
) -> Result<Process> {
    // A command under nohup(1) is to live on like us; services never see a terminal's SIGHUP.
    let keep_nohup = group != Group::Session;
    let setting = Setting { group, streams, keep_nohup, identity };
    leaf.start(program, &setting).map_err(|error: SpawnError| {
        let why = crate::text::plain(&error.source);
        match error.step {
            Step::Fork | Step::Join if error.source.raw_os_error() == Some(libc::EAGAIN) => anyhow::anyhow!(
                "cannot make a process: there are as many as the limits of pids, or of this user, allow"
            ),
            Step::Fork => anyhow::anyhow!("cannot make a process: {why}"),
            Step::Join => anyhow::anyhow!("cannot join the session's cgroup: {why}"),
            Step::Enter => anyhow::anyhow!("cannot enter the session's PID namespace: {why}"),
            Step::Become => anyhow::anyhow!("cannot become the user of --user: {why}"),
            Step::Prepare => anyhow::anyhow!("cannot set up its streams and process group: {why}"),
            Step::Chdir => anyhow::anyhow!(
                "as the session's user it cannot enter its working directory {}: {why}",
                program.cwd()
            ),
            Step::Exec => ProgramError::Refused { reason: why }.into(),
            Step::Birth | Step::Begin => anyhow::anyhow!("{why}"),
        }
    })
}

fn open_null() -> Result<File> {
    File::open("/dev/null").context("cannot open /dev/null")
}
