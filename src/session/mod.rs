//! The life of one session, from top to bottom: preflight, containment, services, command, teardown, report.

mod activity;
mod buffering;
mod end;
mod engines;
mod error;
mod foreground;
mod idle;
mod input;
mod killers;
mod known_leaks;
mod leftovers;
mod limits;
mod not_found;
mod preflight;
mod program_lookup;
mod run;
mod running_session;
mod service;
mod service_log;
mod start;
mod state_machine;
mod suspend;
mod tmp;
mod warnings;
mod why;

use anyhow::{Context, anyhow};

pub(crate) use error::SessionError;
use running_session::Session;

use crate::containment::{self, Kind};
use crate::plan::SessionPlan;
use crate::private;
use crate::registry;
use crate::report::{GitHub, ReportFiles, Reporter};
use crate::runtime::events::Events;
use crate::runtime::exit_code::Exit;
use crate::runtime::failpoint;
use crate::sys::kernel;
use crate::sys::process::starters::Starters;
use crate::sys::process::{children, descriptor_limit};

/// Runs the session and returns how cgrun should exit. An error means that nothing was started.
pub(crate) fn run(
    plan: SessionPlan,
    starters: Option<Starters>,
    report: &Reporter,
) -> Result<Exit, SessionError> {
    let github = GitHub::from_environment().context("cannot get a random number (getrandom)")?;
    let files = ReportFiles::prepare(&plan.reports, plan.identity.as_ref())?;
    known_leaks::check(&plan)?;
    let mut session = match prepare(plan, report) {
        Ok(session) => session,
        Err(error) => {
            files.remove_old_reports();
            return Err(error);
        }
    };
    session.will_report(files, github);
    session.starters = starters;
    let cause = session.live().unwrap_or_else(|error| error.cause());
    Ok(session.end(&cause))
}

/// Everything that can fail before anything is started.
fn prepare(plan: SessionPlan, report: &Reporter) -> Result<Session<'_>, SessionError> {
    kernel::why_too_old().map_or(Ok(()), |reason| Err(anyhow!(reason)))?;
    descriptor_limit::check().context("cannot open the files of a session")?;
    let env = plan.environment();
    let command_path = preflight::programs(&plan, &env)?;
    let events = Events::new().context("cannot take over signal handling")?;
    let source = containment::find_source();
    if let Ok((mount, _)) = &source {
        let request = registry::sweep::end_stale_neighbours(mount, &plan.records, &events, report)?;
        request.map_or(Ok(()), |signal| Err(SessionError::Interrupted(signal)))?;
    }
    let way_out = private::enter(&plan, report)?;
    let held_before = preflight::ports(&plan, &events, report)?;
    // Every process that becomes our child from now on belongs to the session.
    let preexisting = events.preexisting_children();
    children::become_subreaper().context("cannot become a subreaper (prctl)")?;

    let source = source.map(|(mount, _)| if limits::are_wanted(&plan) { mount.for_limits() } else { mount });
    let command = plan.command_line();
    let aides = way_out.as_ref().map(|it| it.pids().to_vec()).unwrap_or_default();
    let mount = source.as_ref().ok().cloned().map(|mount| mount.with_aides(aides));
    let containment =
        containment::choose(source, plan.require, command.as_bytes(), &plan.watched, &preexisting)?;
    if containment.kind() < Kind::Cgroup && plan.require.is_none() {
        report.say(&format!("this session is contained only by a {}; see: cgrun doctor", containment.kind()));
    }
    if let Some((shard, cgroup)) = plan.shard.zip(containment.path()) {
        // Only those who look from outside miss it.
        let _ = containment::write_shard(cgroup, &shard.note());
    }
    let limits = limits::apply(&plan, &containment, mount.as_ref(), report)?;
    failpoint::reached("cgroup made");
    let mut session =
        Session::new(plan, (containment, limits), held_before, preexisting, env, events, report);
    session.keep(way_out);
    session.make_tmp()?;
    session.lead_to_engines()?;
    // A service may build the program, or another one that comes first in PATH.
    session.command_path = session.plan.services.ids().next().is_none().then_some(command_path);
    Ok(session)
}
