//! Applies the session's limits before anything runs in it.

use anyhow::Result;

use crate::containment::{Containment, LeafName, Mount};
use crate::limits::{AppliedLimits, ConfiguredLimits};
use crate::plan::SessionPlan;
use crate::report::Reporter;

/// Whether the plan has any.
pub(super) fn are_wanted(plan: &SessionPlan) -> bool {
    !configured(plan).is_empty()
}

/// Applies the limits of the plan. If that is impossible, removes the session and returns the reason.
pub(super) fn apply(
    plan: &SessionPlan,
    containment: &Containment,
    mount: Option<&Mount>,
    report: &Reporter,
) -> Result<AppliedLimits> {
    let mut limits = AppliedLimits::default();
    let configured = configured(plan);
    if configured.is_empty() {
        return Ok(limits);
    }
    let applied = limits.apply(&configured, containment, mount);
    limits.take_warnings().iter().for_each(|warning| report.say(warning));
    let Err(error) = applied else { return Ok(limits) };
    let removed = containment.remove(plan.kill_wait);
    limits.restore();
    Err(match removed {
        Ok(()) => error,
        Err(left) => anyhow::anyhow!("{error}; and {left}"),
    })
}

fn configured(plan: &SessionPlan) -> ConfiguredLimits<'_> {
    let leaf = |name: &str| LeafName::Service(name.to_string());
    ConfiguredLimits {
        session: &plan.limits,
        leaves: plan.services.iter().map(|service| (leaf(&service.name), &service.limits)).collect(),
        of_profile: plan.profile_limits.as_ref(),
        best_effort: plan.limits_best_effort,
    }
}
