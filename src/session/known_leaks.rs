//! Sets known leaks aside, and writes the file that lists them if that was asked for.

use std::process::ExitStatus;

use anyhow::{Context, Result, anyhow};

use super::running_session::Session;
use crate::baseline::{Baseline, Edited};
use crate::plan::{BaselinePlan, Purpose, SessionPlan};
use crate::report::{BaselineChange, BaselineSummary, ReportFile};
use crate::sys::process::identity::ActingAs;
use crate::teardown::{Cause, NormalExit, Verdict};
use crate::text::plain;

/// Checks that the baseline can be written at the end, if that was asked for.
pub(super) fn check(plan: &SessionPlan) -> Result<()> {
    let Some(it) = plan.baseline.as_ref().filter(|it| it.purpose != Purpose::Judge) else { return Ok(()) };
    let _user =
        ActingAs::session_user(plan.identity.as_ref()).context("cannot switch to the session's user")?;
    let path = &it.baseline.path;
    let file = ReportFile::resolve(path, std::process::id(), &mut Vec::new());
    let file = file.and_then(|mut file| file.create_placeholder().map(|()| file));
    let file = file.map_err(|error| {
        let (path, reason) = (path.display(), plain(&error));
        anyhow!(
            "cannot write the baseline {path}: {reason}; name a file with --baseline that you can write to"
        )
    })?;
    file.remove_placeholder();
    Ok(())
}

impl Session<'_> {
    /// Lets the leaks that the baseline lists count no more. `None` if there is no baseline.
    pub(super) fn set_known_leaks_aside(
        &self,
        cause: &Cause,
        verdict: &mut Verdict,
    ) -> Option<BaselineSummary> {
        let plan = self.plan.baseline.as_ref()?;
        let objects = self.plan.containers.then_some(&mut verdict.objects[..]);
        let judgement = plan.baseline.judge(&mut verdict.leaks, objects, &self.plan.cwd);
        let status = self.context.command().and_then(|command| command.status);
        let has_passed = ended_by_itself(cause, status) && status.is_some_and(|status| status.success());
        let change = match (plan.purpose, why_unchanged(plan.purpose, cause, status, verdict)) {
            (Purpose::Judge, _) => BaselineChange::None,
            (_, Some(reason)) => BaselineChange::Omitted(reason),
            (_, None) => match self.change(plan, verdict) {
                Ok(edited) if plan.purpose == Purpose::Write => {
                    verdict.leaks.iter_mut().for_each(|leak| leak.is_known = true);
                    verdict.objects.iter_mut().for_each(|it| it.is_known = it.leaked);
                    BaselineChange::Written(edited)
                }
                Ok(edited) => BaselineChange::Updated(edited),
                Err(error) => BaselineChange::Failed(format!("{error:#}")),
            },
        };
        verdict.set_known_leaks_aside();
        let not_seen = judgement.not_seen(&plan.baseline).into_iter().cloned().collect();
        Some(BaselineSummary::new(&plan.baseline, &self.plan.cwd, change, not_seen, has_passed, verdict))
    }

    /// Edits the file, with the rights of the session's user, which is the one who could have changed it meanwhile.
    fn change(&self, plan: &BaselinePlan, verdict: &Verdict) -> Result<Edited> {
        let path = &plan.baseline.path;
        let _user = ActingAs::session_user(self.plan.identity.as_ref())
            .context("cannot switch to the session's user")?;
        // It can have been edited while the tests ran.
        let now = Baseline::read(path)?.unwrap_or_else(|| Baseline::empty(path.clone()));
        // The verdict stays that of the file that the session began with: what runs in it can have written to this one.
        let (mut leaks, mut objects) = (verdict.leaks.clone(), verdict.objects.clone());
        let objects = self.plan.containers.then_some(&mut objects[..]);
        let judgement = now.judge(&mut leaks, objects, &self.plan.cwd);
        let edited = match plan.purpose {
            Purpose::Write => now.with_leaks(&judgement)?,
            _ => now.without_unseen(&judgement)?,
        };
        if edited.is_different() {
            let file = ReportFile::resolve(path, std::process::id(), &mut Vec::new())
                .and_then(|file| file.write(&edited.text));
            file.map_err(|error| anyhow!("{}", plain(&error)))?;
        }
        Ok(edited)
    }
}

fn ended_by_itself(cause: &Cause, status: Option<ExitStatus>) -> bool {
    matches!(cause, Cause::NormalExit(NormalExit { interrupted: false, .. }))
        && status.is_some_and(|status| status.code().is_some())
}

/// Why a run says too little about the leaks of all tests.
fn why_unchanged(
    purpose: Purpose,
    cause: &Cause,
    status: Option<ExitStatus>,
    verdict: &Verdict,
) -> Option<&'static str> {
    match status {
        _ if !verdict.is_proven() => Some("it is not verified that nothing is left"),
        _ if !ended_by_itself(cause, status) || verdict.command_killed => {
            Some("the command did not end by itself")
        }
        _ if purpose == Purpose::Update && verdict.undescribed_count() > 0 => {
            Some("not all leaks could be described")
        }
        Some(status) if purpose == Purpose::Update && !status.success() => {
            Some("the command failed, so not all tests need to have run")
        }
        _ => None,
    }
}
