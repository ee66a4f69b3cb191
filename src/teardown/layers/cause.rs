//! Why a session ends: one of the layers 1 to 5.

use std::process::ExitStatus;

use nix::sys::signal::Signal;

use super::any_other_exit::AnyOtherExit;
use super::ctrl_c::CtrlC;
use super::exit_rules::SessionEnd;
use super::layer::Layer;
use super::normal_exit::NormalExit;
use super::startup_failure::StartupFailure;
use super::termination::Termination;
use crate::config::OnLeak;
use crate::plan::ServiceId;
use crate::runtime::exit_code::Exit;
use crate::sys::signals::Caught;
use crate::teardown::verdict::Verdict;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    NormalExit(NormalExit),
    StartupFailure(StartupFailure),
    CtrlC(CtrlC),
    Termination(Termination),
    AnyOtherExit(AnyOtherExit),
}

impl Cause {
    /// The supervisor was killed, and the guardian or a sweep tears down the session.
    pub(crate) const SUPERVISOR_DIED: Self = Self::AnyOtherExit(AnyOtherExit::SupervisorDied);

    /// The cause for a first signal that asks cgrun to stop.
    pub(crate) fn from_signal(caught: Caught) -> Self {
        match caught {
            Caught { signal: Signal::SIGINT, from_terminal } => {
                Self::CtrlC(CtrlC { from_terminal, again: false })
            }
            caught => Self::Termination(Termination::Signal(caught)),
        }
    }

    fn as_layer(&self) -> &dyn Layer {
        match self {
            Self::NormalExit(layer) => layer,
            Self::StartupFailure(layer) => layer,
            Self::CtrlC(layer) => layer,
            Self::Termination(layer) => layer,
            Self::AnyOtherExit(layer) => layer,
        }
    }

    /// The number of the layer, 1 to 5.
    pub(crate) fn layer(&self) -> u8 {
        self.as_layer().number()
    }

    /// The name of the layer, for people.
    pub(crate) fn layer_title(&self) -> &'static str {
        self.as_layer().title()
    }

    /// The cause's name in the JSON report.
    pub(crate) fn name(&self) -> &'static str {
        self.as_layer().name()
    }

    /// The cause in one sentence, given the names of the plan's services.
    pub(crate) fn sentence(&self, services: &[&str]) -> String {
        self.as_layer().sentence(services)
    }

    /// Whether the user is told the sentence.
    pub(crate) fn is_explained(&self) -> bool {
        self.as_layer().is_explained()
    }

    /// The service that ended the session, and what happened to it.
    pub(crate) fn failed_service(&self) -> Option<(ServiceId, &str)> {
        self.as_layer().failed_service()
    }

    /// The signal that asks a running command to exit; `None` if the terminal has already sent it.
    pub(crate) fn stop_signal(&self) -> Option<Signal> {
        self.as_layer().stop_signal()
    }

    /// How many times we were asked to stop before the teardown began.
    pub(crate) fn requests(&self) -> u32 {
        self.as_layer().requests()
    }

    /// The signal that began the teardown, if one did.
    pub(crate) fn received(&self) -> Option<Caught> {
        self.as_layer().received()
    }

    /// Whether the session is ended because its command hangs, or takes too long.
    pub(crate) fn is_hang(&self) -> bool {
        matches!(self, Self::Termination(Termination::TimedOut(_) | Termination::Idle(_)))
    }

    pub(crate) fn is_supervisor_dead(&self) -> bool {
        *self == Self::SUPERVISOR_DIED
    }

    /// How cgrun should exit. `command` is how the command exited, `None` if it never ran.
    pub(crate) fn exit(&self, command: Option<ExitStatus>, verdict: &Verdict, on_leak: OnLeak) -> Exit {
        let end = SessionEnd {
            is_proven: verdict.is_proven(),
            command,
            command_killed: verdict.command_killed,
            leak_fails: verdict.has_leaks() && on_leak == OnLeak::Fail,
        };
        end.unless_proven().unwrap_or_else(|| self.as_layer().exit(&end))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    use rustix::process::Pid;

    use super::*;
    use crate::runtime::exit_code::LEAKED;

    fn exited(code: i32) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(code << 8))
    }

    fn killed(signal: Signal) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(signal as i32))
    }

    fn caught(signal: Signal) -> Cause {
        Cause::from_signal(Caught { signal, from_terminal: false })
    }

    fn timed_out() -> Cause {
        Cause::Termination(Termination::TimedOut(Duration::from_secs(1)))
    }

    fn ended() -> Cause {
        Cause::NormalExit(NormalExit::default())
    }

    fn exit(cause: &Cause, command: Option<ExitStatus>, verdict: &Verdict) -> Exit {
        cause.exit(command, verdict, OnLeak::Report)
    }

    #[test]
    fn each_cause_has_its_exit() {
        let clean = Verdict::default();
        let service =
            Cause::StartupFailure(StartupFailure::Service { service: ServiceId::new(0), why: String::new() });
        let command = |found| Cause::StartupFailure(StartupFailure::Command { found, why: String::new() });
        let broken = Cause::AnyOtherExit(AnyOtherExit::Broken(String::new()));
        let service_ended =
            Cause::Termination(Termination::ServiceEnded { service: ServiceId::new(0), how: String::new() });
        let rows = [
            (ended(), exited(7), Exit::Code(7)),
            (ended(), killed(Signal::SIGSEGV), Exit::Code(139)),
            (service, None, Exit::Code(125)),
            (command(true), None, Exit::Code(126)),
            (command(false), None, Exit::Code(127)),
            (caught(Signal::SIGINT), exited(2), Exit::Code(2)),
            (caught(Signal::SIGTERM), killed(Signal::SIGTERM), Exit::Signal(Signal::SIGTERM)),
            (caught(Signal::SIGTERM), killed(Signal::SIGINT), Exit::Code(130)),
            (caught(Signal::SIGHUP), None, Exit::Signal(Signal::SIGHUP)),
            (timed_out(), exited(0), Exit::Code(124)),
            (Cause::Termination(Termination::Idle(Duration::from_secs(1))), exited(0), Exit::Code(124)),
            (Cause::Termination(Termination::ParentExited), None, Exit::Signal(Signal::SIGTERM)),
            (service_ended, exited(0), Exit::Code(125)),
            (broken, exited(0), Exit::Code(125)),
            (Cause::SUPERVISOR_DIED, None, Exit::Code(125)),
        ];
        for (cause, command, wanted) in rows {
            assert_eq!(exit(&cause, command, &clean), wanted, "{cause:?}, {command:?}");
        }
    }

    #[test]
    fn cgrun_dies_of_the_signal_that_the_command_ignored() {
        let verdict = Verdict { command_killed: true, ..Verdict::default() };
        let end = exit(&caught(Signal::SIGTERM), killed(Signal::SIGKILL), &verdict);
        assert_eq!(end, Exit::Signal(Signal::SIGTERM));
    }

    #[test]
    fn a_leak_that_was_only_counted_is_a_leak() {
        let verdict = Verdict { undescribed: [Pid::INIT].into(), ..Verdict::default() };
        assert_eq!(ended().exit(exited(0), &verdict, OnLeak::Fail), Exit::Code(LEAKED));
    }

    #[test]
    fn an_unproven_session_is_never_called_clean() {
        let unknown = Verdict { unknown: vec!["x".into()], ..Verdict::default() };
        let survivor = Verdict { survivors: vec!["x".into()], ..Verdict::default() };
        for verdict in [unknown, survivor] {
            for cause in [ended(), timed_out(), caught(Signal::SIGINT)] {
                assert_eq!(exit(&cause, exited(0), &verdict), Exit::Code(122));
            }
        }
    }

    #[test]
    fn a_ctrl_c_that_killed_the_command_kills_cgrun() {
        let cause = Cause::NormalExit(NormalExit { interrupted: true, ..NormalExit::default() });
        let exit = |command| cause.exit(command, &Verdict::default(), OnLeak::Fail);
        assert_eq!(exit(killed(Signal::SIGINT)), Exit::Signal(Signal::SIGINT));
        assert_eq!(exit(exited(2)), Exit::Code(2));
        assert_eq!(exit(exited(0)), Exit::Code(0));
    }

    #[test]
    fn a_ctrl_backslash_that_killed_the_command_kills_cgrun() {
        for (quit, command, wanted) in [
            (true, killed(Signal::SIGQUIT), Exit::Signal(Signal::SIGQUIT)),
            (true, killed(Signal::SIGSEGV), Exit::Code(139)),
            (true, exited(2), Exit::Code(2)),
            (false, killed(Signal::SIGQUIT), Exit::Code(131)),
        ] {
            let cause = Cause::NormalExit(NormalExit { quit, ..NormalExit::default() });
            assert_eq!(exit(&cause, command, &Verdict::default()), wanted, "{command:?}");
        }
    }
}
