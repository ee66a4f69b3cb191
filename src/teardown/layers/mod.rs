//! The layers: why a session ends, and what follows from it, with one file per layer.
//!
//! | layer | when | noticed by |
//! |---|---|---|
//! | 1 [`normal_exit`] | the command exited, pass or fail | session |
//! | 2 [`startup_failure`] | a service failed or never became ready; the command cannot be executed | session |
//! | 3 [`ctrl_c`] | SIGINT: during startup, the tests or the cleanup | session |
//! | 4 [`termination`] | SIGTERM, SIGHUP, SIGQUIT; a timeout; a critical service ended | session |
//! | 5 [`any_other_exit`] | a panic or an error of our own | `Drop` of the session |
//! | | a crash, SIGKILL or out-of-memory kill of the supervisor | guardian, `cgrun sweep` |
//! | 6 [`orphans`] | processes that left the containment, after each of the above | the teardown itself |

mod any_other_exit;
mod cause;
mod ctrl_c;
mod exit_rules;
mod layer;
mod normal_exit;
mod orphans;
mod startup_failure;
mod termination;

pub(crate) use any_other_exit::AnyOtherExit;
pub(crate) use cause::Cause;
pub(crate) use ctrl_c::CtrlC;
pub(super) use layer::NO_MORE_GRACE;
pub(crate) use normal_exit::NormalExit;
pub(super) use orphans::Orphans;
pub(crate) use startup_failure::StartupFailure;
pub(crate) use termination::Termination;
