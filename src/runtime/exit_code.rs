//! From how a session went to how cgrun ends, in one table.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::config::OnLeak;
use crate::teardown::{Cause, Verdict};

/// The command passed, but something leaked, and `--on-leak fail`.
pub const LEAKED: u8 = 121;
/// Something survived, or the check could not be completed.
pub const NOT_PROVEN: u8 = 122;
/// `--timeout` ran out.
pub const TIMED_OUT: u8 = 124;
/// cgrun could not do its job.
pub const FAILED: u8 = 125;
/// The command cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
pub const NOT_FOUND: u8 = 127;
/// `cgrun check`: a watched port is held, or a stale session is left.
pub const NOT_CLEAN: u8 = 1;

/// How this process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(u8),
    /// Of the signal that came to us, so that shells and CI see it.
    Signal(Signal),
}

/// What the exit depends on.
pub struct Outcome<'a> {
    pub cause: &'a Cause,
    /// `None` where the command never ran.
    pub command: Option<ExitStatus>,
    pub verdict: &'a Verdict,
    pub on_leak: OnLeak,
}

/// The first row that fits.
pub fn exit(outcome: &Outcome<'_>) -> Exit {
    let received = outcome.cause.signal();
    let died_of = outcome.command.and_then(|status| status.signal());
    let leaked = outcome.verdict.leaked() > 0 && outcome.on_leak == OnLeak::Fail;
    match (outcome.cause, received, outcome.command) {
        _ if !outcome.verdict.is_proven() => Exit::Code(NOT_PROVEN),
        (Cause::TimedOut, ..) => Exit::Code(TIMED_OUT),
        (Cause::NotExecuted { found: true, .. }, ..) => Exit::Code(NOT_EXECUTABLE),
        (Cause::NotExecuted { found: false, .. }, ..) => Exit::Code(NOT_FOUND),
        (Cause::StartupFailed { .. } | Cause::ServiceEnded { .. }, ..) => Exit::Code(FAILED),
        (Cause::Broken(_) | Cause::SupervisorDied, ..) => Exit::Code(FAILED),
        // It had not started, it died of the same signal, or we had to kill it on behalf of that.
        (_, Some(signal), None) => Exit::Signal(signal),
        (_, Some(signal), Some(_)) if died_of == Some(signal as i32) || outcome.verdict.command_killed => {
            Exit::Signal(signal)
        }
        (_, _, Some(status)) => match status.code() {
            Some(0) if leaked => Exit::Code(LEAKED),
            Some(code) => Exit::Code(code as u8),
            None => Exit::Code(128 + died_of.unwrap_or_default() as u8),
        },
        (_, None, None) => Exit::Code(FAILED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::signals::Caught;

    fn exited(code: i32) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(code << 8))
    }

    fn killed(signal: Signal) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(signal as i32))
    }

    fn caught(signal: Signal) -> Cause {
        Cause::Signal { caught: Caught { signal, from_terminal: false }, again: false }
    }

    fn of(cause: &Cause, command: Option<ExitStatus>, verdict: &Verdict) -> Exit {
        exit(&Outcome { cause, command, verdict, on_leak: OnLeak::Report })
    }

    #[test]
    fn the_table() {
        let clean = Verdict::default();
        let ended = Cause::CommandEnded { interrupted: false, lately: false };
        assert_eq!(of(&ended, exited(7), &clean), Exit::Code(7));
        assert_eq!(of(&ended, killed(Signal::SIGSEGV), &clean), Exit::Code(139));
        assert_eq!(
            of(&caught(Signal::SIGTERM), killed(Signal::SIGTERM), &clean),
            Exit::Signal(Signal::SIGTERM)
        );
        assert_eq!(of(&caught(Signal::SIGINT), exited(2), &clean), Exit::Code(2));
        assert_eq!(of(&caught(Signal::SIGHUP), None, &clean), Exit::Signal(Signal::SIGHUP));
        assert_eq!(of(&caught(Signal::SIGTERM), killed(Signal::SIGINT), &clean), Exit::Code(130));
        assert_eq!(of(&Cause::TimedOut, exited(0), &clean), Exit::Code(124));
        assert_eq!(
            of(&Cause::StartupFailed { service: 0, why: String::new() }, None, &clean),
            Exit::Code(125)
        );
        let ignored_us = Verdict { command_killed: true, ..Verdict::default() };
        assert_eq!(
            of(&caught(Signal::SIGTERM), killed(Signal::SIGKILL), &ignored_us),
            Exit::Signal(Signal::SIGTERM)
        );
    }

    #[test]
    fn a_leak_that_was_only_counted_is_a_leak() {
        let verdict = Verdict { undescribed: vec!["a".into()], ..Verdict::default() };
        let cause = &Cause::CommandEnded { interrupted: false, lately: false };
        let outcome = Outcome { cause, command: exited(0), verdict: &verdict, on_leak: OnLeak::Fail };
        assert_eq!(exit(&outcome), Exit::Code(LEAKED));
    }

    #[test]
    fn what_is_not_proven_clean_is_never_called_so() {
        let unknown = Verdict { unknown: vec!["x".into()], ..Verdict::default() };
        let survivor = Verdict { survivors: vec!["x".into()], ..Verdict::default() };
        for verdict in [unknown, survivor] {
            for cause in [
                Cause::CommandEnded { interrupted: false, lately: false },
                Cause::TimedOut,
                caught(Signal::SIGINT),
            ] {
                assert_eq!(of(&cause, exited(0), &verdict), Exit::Code(122));
            }
        }
    }

    #[test]
    fn a_ctrl_c_that_killed_the_command_kills_us() {
        let verdict = Verdict::default();
        let outcome = |command| Outcome {
            cause: &Cause::CommandEnded { interrupted: true, lately: false },
            command,
            verdict: &verdict,
            on_leak: OnLeak::Fail,
        };
        assert_eq!(exit(&outcome(killed(Signal::SIGINT))), Exit::Signal(Signal::SIGINT));
        assert_eq!(exit(&outcome(exited(2))), Exit::Code(2));
        assert_eq!(exit(&outcome(exited(0))), Exit::Code(0));
    }
}
