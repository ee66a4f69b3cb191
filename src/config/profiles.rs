//! Profiles: the keys of `[profiles.NAME.session]`, `.limits` and `.private` replace those of the config, key by key.

use super::diagnostic::ConfigError;
use super::file::{Config, UsedProfile};
use super::keys::SessionKeys;
use crate::limits::SessionLimits;
use crate::runtime::ci::Ci;

/// The profile that is used in CI without being named.
const CI: &str = "ci";

impl Config {
    /// Applies the profile that the user named, or else, in CI, the profile `ci` if there is one.
    pub(crate) fn with_profile(mut self, named: Option<&str>, ci: Option<Ci>) -> Result<Self, ConfigError> {
        let name = named.unwrap_or(CI);
        if named.is_none() && ci.is_none() {
            return Ok(self);
        }
        let Some(profile) = self.keys.profiles.remove(name) else {
            return match named {
                None => Ok(self),
                Some(_) => Err(ConfigError::NoProfile {
                    path: self.path,
                    name: name.into(),
                    profiles: self.keys.profiles.into_keys().collect(),
                }),
            };
        };
        let (chosen_by, limits) = (ci.filter(|_| named.is_none()), profile.limits.limits().names());
        self.profile = Some(UsedProfile { name: name.into(), chosen_by, limits });
        self.keys.session = replaced(self.keys.session, profile.session);
        self.keys.limits = replaced_limits(self.keys.limits, profile.limits);
        self.keys.private = self.keys.private.replaced(profile.private);
        Ok(self)
    }

    /// Which profile is used, and why, for people.
    pub(crate) fn used_profile(&self) -> Option<String> {
        let UsedProfile { name, chosen_by, .. } = self.profile.as_ref()?;
        let why = chosen_by.map(|ci| format!(", because {}", ci.why())).unwrap_or_default();
        Some(format!("using the profile {name} of {}{why}", self.path.display()))
    }
}

fn replaced(keys: SessionKeys, by: SessionKeys) -> SessionKeys {
    SessionKeys {
        ports: by.ports.or(keys.ports),
        grace: by.grace.or(keys.grace),
        stop_within: by.stop_within.or(keys.stop_within),
        kill_wait: by.kill_wait.or(keys.kill_wait),
        settle: by.settle.or(keys.settle),
        timeout: by.timeout.or(keys.timeout),
        warn_after: by.warn_after.or(keys.warn_after),
        end_with_parent: by.end_with_parent.or(keys.end_with_parent),
        timeout_signal: by.timeout_signal.or(keys.timeout_signal),
        idle_timeout: by.idle_timeout.or(keys.idle_timeout),
        on_leak: by.on_leak.or(keys.on_leak),
        allow: by.allow.or(keys.allow),
        baseline: by.baseline.or(keys.baseline),
        reports: by.reports.or(keys.reports),
        reclaim_ports: by.reclaim_ports.or(keys.reclaim_ports),
        require: by.require.or(keys.require),
        tmp: by.tmp.or(keys.tmp),
        keep_tmp: by.keep_tmp.or(keys.keep_tmp),
        containers: by.containers.or(keys.containers),
        user: by.user.or(keys.user),
        no_new_privs: by.no_new_privs.or(keys.no_new_privs),
        clean_env: by.clean_env.or(keys.clean_env),
        logs: by.logs.or(keys.logs),
    }
}

fn replaced_limits(limits: SessionLimits, by: SessionLimits) -> SessionLimits {
    SessionLimits {
        memory: by.memory.or(limits.memory),
        swap: by.swap.or(limits.swap),
        pids: by.pids.or(limits.pids),
        cpus: by.cpus.or(limits.cpus),
        io_weight: by.io_weight.or(limits.io_weight),
        cpuset: by.cpuset.or(limits.cpuset),
        best_effort: by.best_effort.or(limits.best_effort),
        divided: by.divided.or(limits.divided),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &str = "[session]\nports = [1, 2]\ngrace = '1s'\n[limits]\npids = 5\n\
        [profiles.ci.session]\nports = [3]\non_leak = 'fail'\n[profiles.ci.limits]\nmemory = '1G'\n\
        [profiles.nightly.session]\ntimeout = '3h'\n";

    fn applied(named: Option<&str>, ci: Option<Ci>) -> Result<Config, ConfigError> {
        let config = Config::parse(Path::new("cgrun.toml"), TEXT.into()).unwrap().unwrap();
        config.with_profile(named, ci)
    }

    #[test]
    fn a_profile_replaces_keys_and_leaves_others() {
        let config = applied(Some("ci"), None).unwrap();
        let session = &config.keys.session;
        assert_eq!(session.ports.as_ref().unwrap().len(), 1);
        assert!(session.grace.is_some() && session.on_leak.is_some());
        assert!(config.keys.limits.pids.is_some() && config.keys.limits.memory.is_some());
    }

    #[test]
    fn the_profile_ci_is_used_in_ci_unless_another_is_named() {
        let name = |config: Config| config.profile.map(|it| it.name);
        assert_eq!(name(applied(None, None).unwrap()), None);
        assert_eq!(name(applied(None, Some(Ci::Other)).unwrap()).as_deref(), Some("ci"));
        assert_eq!(name(applied(Some("nightly"), Some(Ci::GitHub)).unwrap()).as_deref(), Some("nightly"));
        let config = Config::parse(Path::new("cgrun.toml"), "[profiles.x]".into()).unwrap().unwrap();
        assert_eq!(name(config.with_profile(None, Some(Ci::Other)).unwrap()), None);
    }

    #[test]
    fn it_is_said_why_a_profile_is_used() {
        let said = |named, ci| applied(named, ci).unwrap().used_profile().unwrap();
        assert_eq!(said(Some("ci"), Some(Ci::GitHub)), "using the profile ci of cgrun.toml");
        assert_eq!(
            said(None, Some(Ci::GitLab)),
            "using the profile ci of cgrun.toml, because GitLab CI runs cgrun"
        );
        assert!(said(None, Some(Ci::Other)).ends_with(", because the variable CI is set"));
    }

    #[test]
    fn an_unknown_profile_is_refused_with_those_that_exist() {
        let error = applied(Some("c"), Some(Ci::Other)).unwrap_err().to_string();
        assert_eq!(error, "the config cgrun.toml has no profile \"c\"; its profiles are ci, nightly");
    }
}
