//! Finishes a session, even after a panic: runs the teardown, writes the reports and determines the exit
//! code.

use std::os::unix::process::ExitStatusExt;

use super::buffering;
use super::running_session::{GUARDIAN_REPLACED, Session};
use crate::counts::{self, By};
use crate::guardian::Guardian;
use crate::guardian::record::Record;
use crate::leftovers::Leftovers;
use crate::plan::ServiceId;
use crate::ports::{self, time_wait};
use crate::report::{Aftermath, GitHub, Reporter, RunSummary};
use crate::runtime::clock;
use crate::runtime::exit_code::{self, Exit};
use crate::runtime::failpoint;
use crate::stacks::Intrusion;
use crate::sys::port::Port;
use crate::teardown::{
    AnyOtherExit, Cause, Context, NormalExit, Supervisor, Teardown, Termination, Verdict, raise_priority,
};
use crate::text::plain;

/// How many lines of a failed service's log are shown.
const LOG_TAIL: usize = 20;
/// The same for a CI system, which folds most of them. There, the log itself is often gone after the job.
const LOG_TAIL_IN_CI: usize = 200;
const WAY_OUT_LOST: &str =
    "pasta exited while the session ran, so that from then on nothing connected its network to the outside";
const PROXY_LOST: &str = "cgrun's proxy was killed while the session ran; from then on, the session could not reach its \
                          container engines";

impl Session<'_> {
    /// Finishes the session, whatever the cause.
    pub(super) fn end(&mut self, cause: &Cause) -> Exit {
        self.report.clear();
        // A command that is still running may want to reset the terminal when it is asked to exit.
        if self.context.command().is_none_or(|command| command.status.is_some()) {
            self.foreground.take_back();
        }
        self.timeline.teardown = Some(self.timeline.now());
        if self.has_lost_way_out() {
            self.report.error(WAY_OUT_LOST);
        }
        if self.context.proxy.as_ref().is_some_and(|it| !it.is_running()) {
            self.report.error(PROXY_LOST);
        }
        self.explain(cause);
        failpoint::reached("teardown");
        let gone_early = self.services_gone_early(cause);
        let leaders = self.leaders();
        let mut verdict = self.tear_down(cause);
        let mut leftovers = self.look_for_leftovers(&verdict, leaders);
        let failed = self.failed_among(&gone_early);
        failed.iter().for_each(|cause| self.explain(cause));
        let cause = failed.as_ref().unwrap_or(cause);
        counts::add(&verdict, cause, By::Supervisor);
        let baseline = self.set_known_leaks_aside(cause, &mut verdict);
        leftovers.add_ended(&verdict.objects);
        self.report.verdict(&verdict, cause, self.context.containment.kind(), clock::since(self.begin));
        self.report.leftovers(&leftovers);
        baseline.iter().for_each(|it| self.report.baseline(it));
        let command = self.context.command().and_then(|command| command.status);
        let exit = cause.exit(command, &verdict, self.plan.on_leak);
        let is_missing = baseline.as_ref().is_some_and(|it| it.failure().is_some());
        let exit = if is_missing { spoiled(exit) } else { exit };
        let tmp = self.end_tmp(&verdict, exit);
        let aftermath = Aftermath { baseline: baseline.as_ref(), leftovers: &leftovers, tmp: tmp.as_ref() };
        let exit = self.write_reports(cause, &verdict, aftermath, exit);
        failpoint::reached("reported");
        self.dismiss_guardian(&verdict);
        exit
    }

    /// Writes the requested reports, and GitHub's. A report that cannot be written turns a success into a
    /// failure, but never replaces another failure.
    fn write_reports(&self, cause: &Cause, verdict: &Verdict, aftermath: Aftermath<'_>, exit: Exit) -> Exit {
        let Some(reports) = &self.reports else { return exit };
        let github =
            reports.github().filter(|_| GitHub::has_news(cause, verdict) || aftermath.leftovers.has_news());
        if !reports.has_files() && github.is_none() {
            return exit;
        }
        // With the user's rights, so that the session cannot make us write to a place that its user cannot
        // write to.
        let lent = reports.act_as_user();
        if let Err(error) = &lent {
            self.report
                .error(&format!("no report was written: cannot switch to the session's user: {error}"));
            return spoiled(exit);
        }
        let logs = self.services.map(|it| it.as_ref().map(|service| service.log.path.clone()));
        let (timeline, context) = (&self.timeline, &self.context);
        let (why, stacks) = (&self.hang.lines[..], &self.hang.stacks[..]);
        let run = RunSummary { cause, verdict, aftermath, timeline, context, exit, logs, why, stacks };
        let document = reports.document(&run);
        if let Some(github) = github {
            self.report.workflow_commands(&github.annotations(&document));
            if let Err(error) = github.summarize(&document) {
                self.report.say(&format!("cannot write GITHUB_STEP_SUMMARY: {}", plain(&error)));
            }
        }
        let problems = reports.write(&document);
        problems.iter().for_each(|problem| self.report.error(problem));
        if problems.is_empty() { exit } else { spoiled(exit) }
    }

    /// Critical services that are gone although the tests passed: they exited too late for us to notice while
    /// the command was running.
    fn services_gone_early(&self, cause: &Cause) -> Vec<ServiceId> {
        let status = self.context.command().and_then(|command| command.status);
        let has_passed = matches!(cause, Cause::NormalExit(NormalExit { interrupted: false, .. }))
            && status.is_some_and(|status| status.success());
        let is_gone = |&service: &ServiceId| {
            self.plan.services[service].critical
                && self
                    .component_of(service)
                    .is_some_and(|it| it.leaf.is_populated().is_ok_and(|populated| !populated))
        };
        if has_passed { self.services.ids().filter(is_gone).collect() } else { Vec::new() }
    }

    /// The cause if one of these services failed: the tests passed without a service that they needed.
    fn failed_among(&self, gone_early: &[ServiceId]) -> Option<Cause> {
        let failed = |&&service: &&ServiceId| {
            self.component_of(service).and_then(|it| it.status).is_some_and(|status| !status.success())
        };
        let &service = gone_early.iter().find(failed)?;
        let how = self.how_it_ended(service);
        Some(Cause::Termination(Termination::ServiceEnded { service, how }))
    }

    /// Dismisses the guardian if nothing is left. Otherwise it sees us die and tries to kill the rest.
    fn dismiss_guardian(&mut self, verdict: &Verdict) {
        let guardian = self.guardian.take();
        if verdict.is_proven() {
            if let Some(guardian) = guardian {
                guardian.dismiss(&mut self.context);
            }
            self.end_way_out();
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
        self.foreground.take_back();
        let status = self.context.command().and_then(|command| command.status);
        let ended_by_itself =
            matches!(cause, Cause::NormalExit(_)) && status.is_none_or(|it| it.signal().is_none());
        if !ended_by_itself {
            self.foreground.restore_modes();
        }
        failpoint::reached("verified");
        verdict
    }

    /// Tells the user why the session ends, unless the command exited or the user stopped it.
    fn explain(&mut self, cause: &Cause) {
        if !cause.is_explained() {
            return;
        }
        let services: Vec<_> = self.plan.services.iter().map(|service| service.name.as_str()).collect();
        let sentence = cause.sentence(&services);
        if cause.is_hang() {
            self.report.error(&format!("{sentence}; still running:"));
            self.hang = self.report_running_processes(Intrusion::Brief);
        } else {
            self.report.error(&sentence);
        }
        let Some((service, _)) = cause.failed_service() else { return };
        let is_starting = matches!(cause, Cause::StartupFailure(_));
        if is_starting {
            self.hang = self.report_what_service_waits_for(service);
        }
        if let Some(started) = &self.services[service] {
            let hint = buffering::hint(&self.plan.services[service], &self.service_env(service));
            let lines = if self.report.folds() { LOG_TAIL_IN_CI } else { LOG_TAIL };
            self.report.log(&started.log.path, &started.log.tail(lines), hint);
            if is_starting {
                time_wait::remarks(&self.free_ports_of(service))
                    .iter()
                    .for_each(|it| self.report.error(&format!("  hint: {it}")));
            }
        }
    }

    /// The service's ports on which nothing listens.
    fn free_ports_of(&self, service: ServiceId) -> Vec<Port> {
        let own: Vec<_> = self.plan.services[service].own_ports().collect();
        let held = ports::listening_on(&own).unwrap_or_default();
        own.into_iter().filter(|port| !held.iter().any(|listener| listener.port == *port)).collect()
    }
}

/// What a file that could not be written makes of a success.
fn spoiled(exit: Exit) -> Exit {
    if exit == Exit::Code(0) { Exit::Code(exit_code::FAILED) } else { exit }
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
        // If the guardian cannot be replaced, the teardown continues: this is the last process that can
        // finish it.
        let replaced = self.guardian.as_mut().map(|guardian| guardian.ensure_guardian(context, self.record));
        if let Some(Ok(true)) = replaced {
            self.report.say(GUARDIAN_REPLACED);
        }
    }
}

/// Layer 5: a panic unwinds through here.
impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.torn_down {
            let cause = Cause::AnyOtherExit(AnyOtherExit::Broken("cgrun itself failed".into()));
            let verdict = self.tear_down(&cause);
            counts::add(&verdict, &cause, By::Supervisor);
            let kind = self.context.containment.kind();
            self.report.verdict(&verdict, &cause, kind, clock::since(self.begin));
            let leftovers = Leftovers::not_looked_for("cgrun itself failed");
            let tmp = self.end_tmp(&verdict, Exit::Code(exit_code::FAILED));
            let aftermath = Aftermath { baseline: None, leftovers: &leftovers, tmp: tmp.as_ref() };
            self.write_reports(&cause, &verdict, aftermath, Exit::Code(exit_code::FAILED));
            self.dismiss_guardian(&verdict);
            // Survivors outweigh the panic, and the code that handles the panic does not know about them.
            if !verdict.is_proven() {
                std::process::exit(exit_code::NOT_PROVEN.into());
            }
        }
    }
}
