//! The end of a session: why, the teardown, the report, the exit code. By a panic, too.

use super::{REPLACED, Session};
use crate::clock;
use crate::exit_code::{self, Exit, Outcome, exit};
use crate::failpoint;
use crate::sys::proc::ProcessInfo;
use crate::teardown::{Cause, Remains, Role, Verdict, hurry, tear_down};

/// How many processes are named when the time has run out.
const RUNNING_SHOWN: usize = 10;
/// How much of a failed service's log is shown.
const LOG_TAIL: usize = 20;

impl Session<'_> {
    /// The end, whatever the cause.
    pub(super) fn end(&mut self, cause: &Cause) -> Exit {
        self.report.clear();
        self.explain(cause);
        failpoint::reached("teardown");
        let verdict = self.tear_down(cause);
        self.report.verdict(&verdict, cause, clock::since(self.begin));
        failpoint::reached("reported");
        exit(&Outcome {
            cause,
            command: self.remains.command().and_then(|command| command.status),
            verdict: &verdict,
            on_leak: self.plan.on_leak,
        })
    }

    fn tear_down(&mut self, cause: &Cause) -> Verdict {
        hurry();
        let (mut guardian, record, report) = (self.guardian.as_mut(), &self.record, self.report);
        let mut tend = |remains: &mut Remains| {
            // Where no other can be had, this is the last who can end the session, and goes on.
            if let Some(Ok(true)) = guardian.as_mut().map(|guardian| guardian.tend(remains, record)) {
                report.say(REPLACED);
            }
        };
        let verdict = tear_down(&mut self.remains, cause, &self.events, &|text| report.say(text), &mut tend);
        self.torn_down = true;
        failpoint::reached("verified");
        // What we could not end, the guardian may: it is told nothing, and we die before its eyes.
        match self.guardian.take() {
            Some(guardian) if verdict.is_proven() => {
                guardian.dismiss();
                self.remains.containment.give_back();
            }
            _ => {}
        }
        failpoint::reached("dismissed");
        verdict
    }

    /// Says why the session ends, where that is not the command's own doing.
    fn explain(&self, cause: &Cause) {
        match cause {
            Cause::StartupFailed { service, why } => self.explain_service(*service, why),
            Cause::ServiceEnded { service, how } => {
                self.explain_service(*service, &format!("{how} while the command ran; the session ends"));
            }
            Cause::TimedOut => {
                let limit = humantime::format_duration(self.plan.timeout.unwrap_or_default());
                self.report.error(&format!("the session took longer than {limit}; it ends while there run:"));
                self.say_what_runs();
            }
            Cause::NotExecuted { why, .. } | Cause::Broken(why) => self.report.error(why),
            Cause::CommandEnded { .. } | Cause::Signal { .. } | Cause::SupervisorDied => {}
        }
    }

    /// The processes of the command, or of the services where it has not started.
    fn say_what_runs(&self) {
        let command = self.remains.command();
        let parts = self.remains.parts.iter().filter(|part| command.is_none() || part.role == Role::Command);
        let running = parts.flat_map(|part| part.leaf.members().unwrap_or_default());
        for process in running.filter_map(ProcessInfo::read).take(RUNNING_SHOWN) {
            self.report.error(&format!("  {process}"));
        }
    }

    fn explain_service(&self, service: usize, what: &str) {
        self.report.error(&format!("service {} {what}", self.plan.services[service].name));
        if let Some(log) = &self.services[service].log {
            self.report.log(&log.path, &log.tail(LOG_TAIL));
        }
    }
}

/// Layer 5: a panic unwinds through here.
impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.torn_down {
            let cause = Cause::Broken("cgrun itself failed".into());
            let verdict = self.tear_down(&cause);
            self.report.verdict(&verdict, &cause, clock::since(self.begin));
            // Whoever catches the panic knows only of that. What survived outweighs it.
            if !verdict.is_proven() {
                std::process::exit(exit_code::NOT_PROVEN.into());
            }
        }
    }
}
