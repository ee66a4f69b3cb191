//! The reports of the shards become one.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::running_shard::RunningShard;
use crate::config::ReportKind;
use crate::merge::{self, Drafts, Format, Merged, Outputs, Overview};
use crate::plan::SessionPlan;
use crate::sys::process::identity::{ActingAs, Identity};
use crate::text::exit_status;

/// The reports that were asked for, as merged ones.
pub(super) fn outputs(reports: &[(ReportKind, PathBuf)]) -> Result<Outputs> {
    let format = |kind: ReportKind| match kind {
        ReportKind::Json => Format::Json,
        ReportKind::Junit => Format::Junit,
        ReportKind::Html => Format::Html,
        ReportKind::Summary => Format::Summary,
    };
    Outputs::new(reports.iter().map(|(kind, path)| (format(*kind), path.clone())).collect())
}

/// As the session's user, so that its processes cannot make us write where that user cannot.
pub(super) fn prepare<'a>(outputs: &'a Outputs, identity: Option<&Identity>) -> Result<Drafts<'a>> {
    let _user = act_as(identity)?;
    outputs.prepare()
}

/// A shard without a complete report is named in the merged one.
pub(super) fn write(shards: &[RunningShard], drafts: Drafts<'_>, plan: &SessionPlan) -> Result<()> {
    let mut merged = Merged::default();
    for shard in shards {
        let name = format!("{}{}", merge::SHARD, shard.shard.name());
        let added = match shard.ended {
            Some((status, _)) if shard.report.is_empty() => {
                Err(format!("it wrote none: {}", exit_status(status)))
            }
            _ => merge::add(&name, &shard.report, &mut merged).map_err(|reason| reason.to_string()),
        };
        if let Err(reason) = added {
            merged.leave_out(name, reason);
        }
    }
    let user = act_as(plan.identity.as_ref())?;
    let written = drafts.write(&Overview::new(&merged, None), plan.on_leak);
    drop(drafts);
    drop(user);
    written
}

fn act_as(identity: Option<&Identity>) -> Result<Option<ActingAs>> {
    ActingAs::session_user(identity).context("cannot switch to the session's user")
}
