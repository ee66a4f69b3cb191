//! One session, fully decided.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::baseline::BaselinePlan;
use super::environment::Environment;
use super::private_plan::PrivatePlan;
use super::service_id::PerService;
use super::service_plan::ServicePlan;
use super::shard::Shard;
use crate::config::{OnLeak, ReportKind};
use crate::containment::Require;
use crate::leaks::allow::Pattern;
use crate::limits::{Limits, ProfileLimits};
use crate::runtime::state_directory;
use crate::scratch::Keep;
use crate::stacks::Rules;
use crate::sys::port::Port;
use crate::sys::process::identity::Identity;

pub(crate) const GRACE: Duration = Duration::from_secs(5);
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(2);
pub(super) const SETTLE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct SessionPlan {
    pub command: Vec<OsString>,
    pub cwd: PathBuf,
    /// In start order: each service comes after those that it depends on.
    pub services: PerService<ServicePlan>,
    /// All ports that must be free afterwards, including the services' own, without duplicates.
    pub watched: Vec<Port>,
    pub grace: Duration,
    pub kill_wait: Duration,
    pub settle: Duration,
    pub timeout: Option<Duration>,
    /// How long the command can do nothing.
    pub idle_timeout: Option<Duration>,
    /// How long the command can run without a warning.
    pub warn_after: Option<Duration>,
    /// The session ends if the process that started cgrun exits.
    pub end_with_parent: bool,
    /// What a command that hangs receives before it is asked to exit.
    pub timeout_signal: Option<Signal>,
    /// How long the whole teardown may take.
    pub stop_within: Option<Duration>,
    pub on_leak: OnLeak,
    /// Leaks that are known.
    pub baseline: Option<BaselinePlan>,
    /// Leaks that are not counted.
    pub allow: Vec<Pattern>,
    /// The tools for the stacks of hung processes.
    pub diagnose: Rules,
    pub reports: Vec<(ReportKind, PathBuf)>,
    pub reclaim_ports: bool,
    /// The minimum containment to accept.
    pub require: Option<Require>,
    /// What the session does not share with the host.
    pub private: PrivatePlan,
    /// When its temporary directory is kept; `None` if it has none of its own.
    pub tmp: Option<Keep>,
    /// Whether it ends the containers that its processes create.
    pub containers: bool,
    /// Which of several sessions of the same command it is.
    pub shard: Option<Shard>,
    /// The user that the session's processes run as, if not the supervisor's.
    pub identity: Option<Identity>,
    /// Pass on only the variables that a login would keep.
    pub clean_env: bool,
    /// The directory for the logs of all runs; `None` for one in the state directory.
    pub logs: Option<PathBuf>,
    /// The directory for files that outlive the run.
    pub state: PathBuf,
    /// The directory for the records of guardians and sweeps.
    pub records: PathBuf,
    pub verbosity: Verbosity,
    /// Limits for the session as a whole.
    pub limits: Limits,
    /// Those of them that come from a profile of the config.
    pub profile_limits: Option<ProfileLimits>,
    /// Warn about a limit that cannot be applied, instead of failing.
    pub limits_best_effort: bool,
}

/// How much cgrun prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    Quiet,
    #[default]
    Normal,
    Verbose,
}

impl SessionPlan {
    /// The environment of the session's processes, without the session's own markers.
    pub(crate) fn environment(&self) -> Environment {
        let environment = Environment::for_session(self.clean_env, self.identity.as_ref());
        environment.with_all(self.shard.iter().flat_map(|shard| shard.variables()))
    }

    /// The command as one line, for people.
    pub(crate) fn command_line(&self) -> String {
        self.command.join(OsStr::new(" ")).to_string_lossy().into_owned()
    }
}

/// The directory for the records of sessions whose supervisor died.
pub(crate) fn records(state: &Path) -> PathBuf {
    state.join(state_directory::RECORDS)
}
