//! The session's limits, before anything runs in it.

use anyhow::Result;

use crate::containment::{Containment, Mount};
use crate::limits::{self, Wanted};
use crate::plan::SessionPlan;
use crate::report::Reporter;

/// Applies what was asked for, or says why that cannot be. After an error nothing is left.
pub fn apply(
    plan: &SessionPlan,
    containment: &mut Containment,
    mount: Option<&Mount>,
    report: &Reporter,
) -> Result<()> {
    let leaves = plan.services.iter().map(|it| (super::start::leaf_of(it), &it.limits)).collect();
    let wanted = Wanted { session: &plan.limits, leaves, best_effort: plan.limits_best_effort };
    if wanted.is_nothing() {
        return Ok(());
    }
    let mut warnings = Vec::new();
    let limited = limits::limit(containment, mount, &wanted, &mut warnings);
    warnings.iter().for_each(|warning| report.say(warning));
    let Err(error) = limited else { return Ok(()) };
    let removed = containment.remove(plan.kill_wait);
    containment.give_back();
    Err(match removed {
        Ok(()) => error,
        Err(left) => anyhow::anyhow!("{error}; and {left}"),
    })
}
