//! `--shards N`: the same command in N sessions at once.
//!
//! Each shard is a copy of this process that runs a session as usual, in namespaces of its own unless told otherwise. This
//! process starts them, passes signals on, shows their output one after the other, and merges their reports.

mod coordinator;
mod printer;
mod reports;
mod running_shard;
mod spool;
mod verdict;
mod whole_lines;

use anyhow::Context;

use coordinator::Coordinator;
use running_shard::{RunningShard, Started};

use crate::plan::{SessionPlan, Shard};
use crate::report::Reporter;
use crate::runtime::clock;
use crate::runtime::events::Events;
use crate::runtime::exit_code::{self, Exit};
use crate::session::{self, SessionError};
use crate::sys::process::first_process;
use crate::sys::process::starters::Starters;
use crate::text::error_chain;

/// How many sessions run the command at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shards {
    pub count: u16,
    /// The first that fails ends the others.
    pub fail_fast: bool,
}

/// Runs the sessions, and returns how cgrun should exit. In a shard, it returns how that should exit.
pub(crate) fn run(
    plan: SessionPlan,
    shards: Shards,
    starters: Option<Starters>,
    report: &Reporter,
) -> Result<Exit, SessionError> {
    let outputs = reports::outputs(&plan.reports)?;
    let drafts = reports::prepare(&outputs, plan.identity.as_ref())?;
    let events = Events::new().context("cannot take over signal handling")?;
    let begun = clock::now();
    let mut started = Vec::new();
    let mut failure = None;
    for number in 1..=shards.count {
        let shard = Shard { number, count: shards.count };
        match RunningShard::start(shard, !outputs.is_empty()) {
            Ok(Started::Parent(running)) => started.push(*running),
            Ok(Started::Shard(report_to)) => {
                first_process::we_are_a_shard();
                // They are the business of the process that started this one.
                std::mem::forget(drafts);
                drop((started, events));
                // Each ends with the process that started us all.
                return session::run(shard.plan(plan, report_to), starters, report);
            }
            Err(error) => {
                failure = Some(anyhow::Error::new(error).context("cannot start all shards"));
                break;
            }
        }
    }
    let mut coordinator = Coordinator::new(started, events, (begun, shards.fail_fast), starters, report);
    if failure.is_some() {
        coordinator.end_all();
    }
    if let Err(error) = coordinator.wait() {
        coordinator.abandon();
        failure.get_or_insert(anyhow::Error::new(error).context("cannot wait for the shards"));
    }
    let (shards, exit, lost) = coordinator.finish();
    if let Some(error) = lost {
        failure.get_or_insert(anyhow::Error::new(error).context("cannot write the output of the shards"));
    }
    if let Err(error) = reports::write(&shards, drafts, &plan) {
        failure.get_or_insert(error);
    }
    match failure {
        None => Ok(exit),
        Some(error) if exit == Exit::Code(exit_code::NOT_PROVEN) => {
            report.error(&error_chain(&error));
            Ok(exit)
        }
        Some(error) => Err(error.into()),
    }
}
