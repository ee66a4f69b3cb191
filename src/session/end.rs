//! The end of a session: why, the teardown, the report, the exit code. By a panic, too.

use super::{REPLACED, Session};
use crate::guardian::Guardian;
use crate::guardian::record::Record;
use crate::report::{GitHub, Reporter, RunSummary};
use crate::runtime::clock;
use crate::runtime::exit_code::{self, Exit};
use crate::runtime::failpoint;
use crate::sys::proc::ProcessInfo;
use crate::teardown::{
    AnyOtherExit, Cause, Context, NormalExit, Role, Supervisor, Teardown, Termination, Verdict,
    raise_priority,
};
use crate::text::plain;

/// How many processes are named when the time has run out.
const RUNNING_SHOWN: usize = 10;
/// How much of a failed service's log is shown.
const LOG_TAIL: usize = 20;

impl Session<'_> {
    /// The end, whatever the cause.
    pub(super) fn end(&mut self, cause: &Cause) -> Exit {
        self.report.clear();
        self.timeline.teardown = Some(self.timeline.now());
        self.explain(cause);
        failpoint::reached("teardown");
        let fallen = self.fallen(cause);
        let verdict = self.tear_down(cause);
        let failed = self.failed_among(&fallen);
        failed.iter().for_each(|cause| self.explain(cause));
        let cause = failed.as_ref().unwrap_or(cause);
        self.report.verdict(&verdict, cause, self.context.containment.kind(), clock::since(self.begin));
        let command = self.context.command().and_then(|command| command.status);
        let exit = cause.exit(command, &verdict, self.plan.on_leak);
        let exit = self.write_reports(cause, &verdict, exit);
        failpoint::reached("reported");
        self.dismiss_guardian(&verdict);
        exit
    }

    /// What was asked for, and what GitHub wants. A report that cannot be written spoils a success, and
    /// hides no failure.
    fn write_reports(&self, cause: &Cause, verdict: &Verdict, exit: Exit) -> Exit {
        let Some(reports) = &self.reports else { return exit };
        let github = reports.github().filter(|_| GitHub::has_news(verdict));
        if !reports.has_files() && github.is_none() {
            return exit;
        }
        let spoiled = if exit == Exit::Code(0) { Exit::Code(exit_code::FAILED) } else { exit };
        // Nothing that was found may lead us where the session's user may not go.
        let lent = reports.act_as_user();
        if let Err(error) = &lent {
            self.report.error(&format!("no report was written: cannot take on the user's rights: {error}"));
            return spoiled;
        }
        let logs = self.services.iter().map(|it| it.log.as_ref().map(|log| log.path.clone()));
        let run = RunSummary {
            cause,
            verdict,
            timeline: &self.timeline,
            context: &self.context,
            exit,
            logs: logs.collect(),
        };
        let document = reports.document(&run);
        if let Some(github) = github {
            self.report.workflow_commands(&github.annotations(&document));
            if let Err(error) = github.summarize(&document) {
                self.report.say(&format!("cannot write GITHUB_STEP_SUMMARY: {}", plain(&error)));
            }
        }
        let problems = reports.write(&document);
        problems.iter().for_each(|problem| self.report.error(problem));
        if problems.is_empty() { exit } else { spoiled }
    }

    /// Critical services that are gone already, where the tests have passed: too late for us to hear of
    /// it while the command ran.
    fn fallen(&self, cause: &Cause) -> Vec<usize> {
        let status = self.context.command().and_then(|command| command.status);
        let has_passed = matches!(cause, Cause::NormalExit(NormalExit { interrupted: false, .. }))
            && status.is_some_and(|status| status.success());
        let is_gone = |service: &usize| {
            let part = self.services[*service].part.map(|part| &self.context.components[part]);
            self.plan.services[*service].critical
                && part.is_some_and(|part| part.leaf.is_populated().is_ok_and(|populated| !populated))
        };
        if has_passed { (0..self.services.len()).filter(is_gone).collect() } else { Vec::new() }
    }

    /// The tests have passed without a service that they needed, where one of these had failed.
    fn failed_among(&self, fallen: &[usize]) -> Option<Cause> {
        let failed = |service: &&usize| {
            let part = self.services[**service].part.map(|part| &self.context.components[part]);
            part.and_then(|part| part.status).is_some_and(|status| !status.success())
        };
        let &service = fallen.iter().find(failed)?;
        let how = self.how_it_ended(service);
        Some(Cause::Termination(Termination::ServiceEnded { service, how }))
    }

    /// What we could not end, the guardian may: it is told nothing, and we die before its eyes.
    fn dismiss_guardian(&mut self, verdict: &Verdict) {
        let guardian = self.guardian.take();
        if verdict.is_proven() {
            guardian.into_iter().for_each(Guardian::dismiss);
            self.context.limits.restore();
        }
        failpoint::reached("dismissed");
    }

    fn tear_down(&mut self, cause: &Cause) -> Verdict {
        raise_priority();
        let mut supervisor =
            Running { guardian: self.guardian.as_mut(), record: &self.record, report: self.report };
        let verdict = Teardown::new(&mut self.context, cause, &self.events, &mut supervisor).run();
        self.torn_down = true;
        failpoint::reached("verified");
        verdict
    }

    /// Tells the user why the session ends, unless that was the command's or the user's own doing.
    fn explain(&self, cause: &Cause) {
        if !cause.is_explained() {
            return;
        }
        let services: Vec<_> = self.plan.services.iter().map(|service| service.name.as_str()).collect();
        let sentence = cause.sentence(&services);
        if matches!(cause, Cause::Termination(Termination::TimedOut(_))) {
            self.report.error(&format!("{sentence}; still running:"));
            self.say_what_runs();
        } else {
            self.report.error(&sentence);
        }
        if let Some((service, _)) = cause.failed_service()
            && let Some(log) = &self.services[service].log
        {
            self.report.log(&log.path, &log.tail(LOG_TAIL));
        }
    }

    /// The processes of the command, or of the services where it has not started.
    fn say_what_runs(&self) {
        let command = self.context.command();
        let parts =
            self.context.components.iter().filter(|part| command.is_none() || part.role == Role::Command);
        let running = parts.flat_map(|part| part.leaf.members().unwrap_or_default());
        for process in running.filter_map(ProcessInfo::read).take(RUNNING_SHOWN) {
            self.report.error(&format!("  {process}"));
        }
    }
}

/// The supervisor while its session is torn down.
struct Running<'a> {
    guardian: Option<&'a mut Guardian>,
    record: &'a Record,
    report: &'a Reporter,
}

impl Supervisor for Running<'_> {
    fn announce(&self, message: &str) {
        self.report.say(message);
    }

    fn ensure_guardian(&mut self, context: &mut Context) {
        // If no other guardian can be had, the teardown goes on: this is the last process that can end the session.
        let replaced = self.guardian.as_mut().map(|guardian| guardian.ensure_guardian(context, self.record));
        if let Some(Ok(true)) = replaced {
            self.report.say(REPLACED);
        }
    }
}

/// Layer 5: a panic unwinds through here.
impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.torn_down {
            let cause = Cause::AnyOtherExit(AnyOtherExit::Broken("cgrun itself failed".into()));
            let verdict = self.tear_down(&cause);
            let kind = self.context.containment.kind();
            self.report.verdict(&verdict, &cause, kind, clock::since(self.begin));
            self.write_reports(&cause, &verdict, Exit::Code(exit_code::FAILED));
            self.dismiss_guardian(&verdict);
            // Whoever catches the panic knows only of that. What survived outweighs it.
            if !verdict.is_proven() {
                std::process::exit(exit_code::NOT_PROVEN.into());
            }
        }
    }
}
