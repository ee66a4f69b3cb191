//! Checks, before anything is started, that the ports are free and that every program can be executed.

use std::path::PathBuf;

use anyhow::{Context, anyhow};

use super::error::SessionError;
use super::program_lookup::{self, ProgramError};
use crate::plan::Environment;
use crate::plan::{ServicePlan, SessionPlan};
use crate::ports::reclaim::{self, Interrupted};
use crate::ports::{self, Holding};
use crate::report::Reporter;
use crate::runtime::events::Events;
use crate::sys::sockets::Listener;

/// The listeners on watched ports. A port that a service needs must be free: otherwise the error names its
/// holder, or the holder is stopped if the user asked for that.
pub(super) fn ports(
    plan: &SessionPlan,
    events: &Events,
    report: &Reporter,
) -> Result<Vec<Listener>, SessionError> {
    let listeners = || {
        ports::listening_on(&plan.watched)
            .context("cannot determine which processes listen on the watched ports (sock_diag)")
    };
    let needed: Vec<_> = plan.services.iter().flat_map(ServicePlan::own_ports).collect();
    let is_needed = |listener: &Listener| needed.contains(&listener.port);
    let mut held = listeners()?;
    let taken: Vec<_> = held.iter().filter(|listener| is_needed(listener)).cloned().collect();
    if plan.reclaim_ports && !taken.is_empty() {
        for holding in Holding::of(&taken).iter().filter(|it| !it.holders.is_empty()) {
            report.say(&format!("{holding}; stopping that process (--reclaim-ports)"));
        }
        let problems =
            reclaim::end_holders(&taken, plan.grace, plan.kill_wait, events).map_err(
                |error| match error {
                    Interrupted::Signal(signal) => SessionError::Interrupted(signal),
                    error => SessionError::Other(error.into()),
                },
            )?;
        if !problems.is_empty() {
            return Err(anyhow!("{}", problems.join("\n")).into());
        }
        held = listeners()?;
    }
    let (taken, watched): (Vec<_>, Vec<_>) = held.iter().cloned().partition(is_needed);
    if let Some(holding) = Holding::of(&taken).first() {
        let name = plan
            .services
            .iter()
            .find(|it| it.own_ports().any(|port| port == holding.port))
            .map_or("", |it| &it.name);
        let remedy = match (plan.reclaim_ports, holding.holders.is_empty()) {
            (false, false) => "stop that process, or pass --reclaim-ports",
            (_, true) => "stop that process",
            (true, false) => "--reclaim-ports stopped another process, but this one has taken the port since",
        };
        return Err(anyhow!("{holding}; service {name} needs the port: {remedy}").into());
    }
    for holding in Holding::of(&watched) {
        report.say(&format!("{holding}; it does not belong to this session and is left alone"));
    }
    Ok(held)
}

/// Resolves every program that will be needed, so that a wrong name is an error before anything runs. Returns the path of
/// the command.
pub(super) fn programs(plan: &SessionPlan, env: &Environment) -> Result<PathBuf, SessionError> {
    for service in &plan.services {
        let env = env.with_all(&service.env);
        let named = |error: ProgramError| anyhow!("service {}: {error}", service.name);
        program_lookup::prepare(&service.command, &env, &service.cwd, &plan.cwd).map_err(named)?;
        if let Some(command) = service.readiness_command() {
            program_lookup::prepare(&command, &env, &service.cwd, &plan.cwd)
                .map_err(|error| anyhow!("service {}, its readiness command: {error}", service.name))?;
        }
    }
    let command = program_lookup::find(&plan.command, env, &plan.cwd, &plan.cwd)?;
    program_lookup::prepare_found(&command, &plan.command, env, &plan.cwd, &plan.cwd)?;
    Ok(command)
}
