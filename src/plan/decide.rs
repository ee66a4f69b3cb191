//! Turns arguments and config into a plan.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Error, Result, bail};
use nix::sys::signal::Signal;

use super::identity::resolve_identity;
use super::private_plan;
use super::service_id::PerService;
use super::service_plan::ServicePlan;
use super::services::plan_services;
use super::session_plan::{GRACE, KILL_WAIT, SETTLE, SessionPlan, Verbosity, records};
use crate::cli::{ConfigOptions, LimitOptions, Run};
use crate::config::{Config, OnLeak, Private, ReportKind};
use crate::limits::{Limit, Limits, ProfileLimits};
use crate::scratch::{Keep, Tmp};
use crate::sys::port::Port;

const PORTS: [Port; 2] = [Port::tcp(3000), Port::tcp(8000)];

/// The ports to watch: those of the command line, or else of the config, or else 3000 and 8000, plus the
/// services' own.
pub(crate) fn watched_ports(options: &ConfigOptions, config: Option<&Config>) -> Result<Vec<Port>> {
    Ok(watched(options, config, &planned_services(config, GRACE)?))
}

fn watched(
    options: &ConfigOptions,
    config: Option<&Config>,
    services: &PerService<ServicePlan>,
) -> Vec<Port> {
    let session = config.map(|config| &config.keys.session);
    let asked_for: Vec<Port> = if !options.ports.is_empty() {
        options.ports.clone()
    } else if let Some(ports) = session.and_then(|session| session.ports.as_ref()) {
        ports.clone()
    } else {
        PORTS.to_vec()
    };
    let mut ports = Vec::new();
    for port in asked_for.into_iter().chain(services.iter().flat_map(ServicePlan::own_ports)) {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

fn planned_services(config: Option<&Config>, grace: Duration) -> Result<PerService<ServicePlan>> {
    config.map_or(Ok(PerService::new(Vec::new())), |config| plan_services(config, grace))
}

/// Decides everything that can be decided without examining the host.
pub(crate) fn plan(run: Run, config: Option<&Config>, cwd: PathBuf, state: PathBuf) -> Result<SessionPlan> {
    match run.command.first() {
        None => bail!("no command given; specify what to run, such as: cgrun pytest"),
        Some(program) if program.is_empty() => {
            bail!("the command is an empty string; specify what to run, such as: cgrun pytest")
        }
        Some(_) => {}
    }
    let options = run.options;
    let session = config.map(|config| &config.keys.session);
    let private_keys = config.map(|config| &config.keys.private);
    let time = |option: Option<crate::config::Time>, key: Option<crate::config::Time>, default| {
        option.or(key).map_or(default, |time| time.0)
    };
    let grace = time(options.grace, session.and_then(|it| it.grace), GRACE);
    let services = planned_services(config, grace)?;
    let configured = session.and_then(|it| it.logs.as_ref()).map(|logs| Path::new(&logs.0));
    options.logs.as_deref().or(configured).map_or(Ok(()), without_tilde)?;
    let logs = options.logs.or_else(|| {
        let config = config?;
        Some(config.directory().join(&config.keys.session.logs.as_ref()?.0))
    });
    let timeout = options.timeout.or(session.and_then(|it| it.timeout)).map(|time| time.0);
    if timeout == Some(Duration::ZERO) {
        bail!("a timeout of 0 would end the session before it begins; omit it for no timeout");
    }
    let idle_timeout = options.idle_timeout.or(session.and_then(|it| it.idle_timeout)).map(|time| time.0);
    if idle_timeout == Some(Duration::ZERO) {
        bail!("an idle timeout of 0 would end the session as soon as the command waits; omit it for none");
    }
    let warn_after = options.warn_after.or(session.and_then(|it| it.warn_after)).map(|time| time.0);
    if warn_after == Some(Duration::ZERO) {
        bail!("a warning after 0 says nothing; omit it for none");
    }
    let timeout_signal = options.timeout_signal.or(session.and_then(|it| it.timeout_signal)).map(|it| it.0);
    if let Some(signal @ (Signal::SIGKILL | Signal::SIGSTOP)) = timeout_signal {
        bail!("no program can write anything on {signal}; choose another timeout signal, such as SIGABRT");
    }
    let private = private_plan::decide(
        options.private,
        private_keys,
        options.shards.is_some_and(|count| count > 1),
        services.iter().flat_map(ServicePlan::own_ports).next(),
    )?;
    let tmp = tmp(
        options.tmp.or(session.and_then(|it| it.tmp)),
        options.keep_tmp.or(session.and_then(|it| it.keep_tmp)),
        private.kinds,
    )?;
    let profile_limits = profile_limits(&options.limits, config);
    let (limits, limits_best_effort) =
        limits(options.limits, config, profile_limits.as_ref(), services.len(), options.shards)?;
    Ok(SessionPlan {
        limits,
        profile_limits,
        limits_best_effort,
        command: run.command,
        watched: watched(&options.config, config, &services),
        services,
        grace,
        kill_wait: time(options.kill_wait, session.and_then(|it| it.kill_wait), KILL_WAIT),
        settle: time(options.settle, session.and_then(|it| it.settle), SETTLE),
        timeout,
        idle_timeout,
        warn_after,
        end_with_parent: options
            .end_with_parent
            .or(session.and_then(|it| it.end_with_parent))
            .unwrap_or(false),
        timeout_signal,
        stop_within: options.stop_within.or(session.and_then(|it| it.stop_within)).map(|time| time.0),
        on_leak: options.on_leak.or(session.and_then(|it| it.on_leak)).unwrap_or(OnLeak::Report),
        require: options.require.or(session.and_then(|it| it.require)),
        private,
        tmp,
        containers: options.containers.or(session.and_then(|it| it.containers)).unwrap_or(false),
        shard: None,
        identity: resolve_identity(
            options.user.as_deref().or(session.and_then(|it| it.user.as_ref()).map(|it| it.0.as_str())),
            options.no_new_privs.or(session.and_then(|it| it.no_new_privs)).unwrap_or(false),
        )?,
        clean_env: options.clean_env.or(session.and_then(|it| it.clean_env)).unwrap_or(false),
        allow: [session.and_then(|it| it.allow.clone()).unwrap_or_default(), options.allow].concat(),
        diagnose: config.map(Config::rules).unwrap_or_default(),
        reports: reports(options.reports, config, &cwd)?,
        reclaim_ports: options.reclaim_ports.or(session.and_then(|it| it.reclaim_ports)).unwrap_or(false),
        logs,
        records: records(&state),
        state,
        baseline: None,
        verbosity: match (options.quiet, options.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        },
        cwd,
    })
}

/// When the session's temporary directory is kept; `None` if it has none of its own.
fn tmp(whose: Option<Tmp>, keep: Option<Keep>, private: Private) -> Result<Option<Keep>> {
    match (whose, keep) {
        (None, Some(_)) => {
            bail!(
                "the session has no temporary directory of its own to keep; set tmp = \"session\", or omit keep_tmp"
            )
        }
        (Some(Tmp::Session), Some(Keep::OnFailure | Keep::Always)) if private.tmp => bail!(
            "what is in a private /tmp cannot be kept, and with --shards it is private; omit keep_tmp, or pass \
             --private net,ipc,shm"
        ),
        (Some(Tmp::Session), keep) => Ok(Some(keep.unwrap_or_default())),
        (None | Some(Tmp::Host), _) => Ok(None),
    }
}

/// The limits that come from the profile in use, and not from the command line.
fn profile_limits(options: &LimitOptions, config: Option<&Config>) -> Option<ProfileLimits> {
    let used = config?.profile.as_ref()?;
    let LimitOptions { memory, pids, cpus, .. } = *options;
    let options = Limits { memory, pids, cpus, ..Limits::default() }.names();
    let limits = used.limits.iter().copied().filter(|limit| !options.contains(limit)).collect();
    Some(ProfileLimits { profile: used.name.clone(), limits })
}

/// The session's limits, and whether to run without the ones that cannot be applied.
fn limits(
    options: LimitOptions,
    config: Option<&Config>,
    of_profile: Option<&ProfileLimits>,
    services: usize,
    shards: Option<u16>,
) -> Result<(Limits, bool)> {
    let written = config.map(|config| &config.keys.limits);
    let mut limits = written.map(|it| it.limits()).unwrap_or_default();
    limits.memory = options.memory.or(limits.memory);
    limits.pids = options.pids.or(limits.pids);
    limits.cpus = options.cpus.or(limits.cpus);
    let is_divided = options.divide_limits.or(written.and_then(|it| it.divided)).unwrap_or(false);
    if let Some(among) = shards.filter(|_| is_divided) {
        limits = limits.divided(among).map_err(Error::msg)?;
    }
    if let Some(pids) = limits.pids.filter(|pids| pids.0 <= services as u64) {
        bail!(
            "a limit of {} processes{}{} is too small: {services} services and the command need at least {}",
            pids.0,
            of_profile.map(|it| it.note(&[Limit::Pids])).unwrap_or_default(),
            if is_divided { " for each shard" } else { "" },
            services + 1
        );
    }
    let best_effort = options.limits_best_effort.or(written.and_then(|it| it.best_effort));
    Ok((limits, best_effort.unwrap_or(false)))
}

/// Refuses a path that begins with `~`, because we would create a directory of that name. A shell does not
/// expand `~` after a `=`.
pub(super) fn without_tilde(path: &Path) -> Result<()> {
    if path.as_os_str().as_bytes().starts_with(b"~") {
        bail!("{} begins with ~, which is not expanded here; write the full path", path.display());
    }
    Ok(())
}

/// The reports to write. A kind on the command line replaces the same kind in the config.
fn reports(
    mut asked_for: Vec<(ReportKind, PathBuf)>,
    config: Option<&Config>,
    cwd: &Path,
) -> Result<Vec<(ReportKind, PathBuf)>> {
    let keys = config.and_then(|config| Some((config, config.keys.session.reports.as_ref()?)));
    let written = keys.iter().flat_map(|(_, keys)| keys.values().map(|path| Path::new(&path.0)));
    asked_for.iter().map(|(_, path)| path.as_path()).chain(written).try_for_each(without_tilde)?;
    asked_for.iter_mut().for_each(|(_, path)| *path = cwd.join(&path));
    let by_hand: Vec<_> = asked_for.iter().map(|(kind, _)| *kind).collect();
    for (kind, path) in keys.into_iter().flat_map(|(config, keys)| {
        keys.iter().map(move |(kind, path)| (kind, config.directory().join(&path.0)))
    }) {
        if path.file_name() == Some(OsStr::new("-")) {
            bail!("a report cannot go to -: stdout belongs to the command; name a file");
        }
        if !by_hand.contains(kind) {
            asked_for.push((*kind, path));
        }
    }
    Ok(asked_for)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ServiceId;
    use clap::Parser;
    use std::path::Path;

    fn planned(toml: &str, args: &[&str]) -> Result<SessionPlan, String> {
        let path = Path::new("/project/cgrun.toml");
        let keys = toml::from_str(toml).map_err(|error| error.to_string())?;
        let config = Config { path: path.into(), text: toml.into(), keys, profile: None };
        let cli = crate::cli::Cli::try_parse_from([&["cgrun"], args].concat())
            .map_err(|error| error.to_string())?;
        plan(cli.run, Some(&config), "/project".into(), "/state".into()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_overrides_the_config() {
        let toml = "[session]\ngrace = '1s'\nports = [1, 2]\nkill_wait = '9s'";
        let plan = planned(toml, &["--grace", "3s", "-p", "7", "true"]).unwrap();
        assert_eq!(
            (plan.grace.as_secs(), plan.kill_wait.as_secs(), plan.watched),
            (3, 9, vec![Port::tcp(7)])
        );
    }

    #[test]
    fn services_start_after_what_they_need() {
        let toml = "[services.a]\ncommand=['x']\ndepends_on=['c']\n[services.b]\ncommand=['x']\n\
                    [services.c]\ncommand=['x']\ndepends_on=['b']";
        let plan = planned(toml, &["true"]).unwrap();
        let names: Vec<_> = plan.services.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a"]);
        assert_eq!(plan.services[ServiceId::new(2)].depends_on, [ServiceId::new(1)]);
    }

    #[test]
    fn services_ports_are_watched() {
        let plan = planned(
            "[services.a]\ncommand=['x']\nport=8000\n[services.b]\ncommand=['x']\nport=99",
            &["true"],
        );
        assert_eq!(plan.unwrap().watched, [3000, 8000, 99].map(Port::tcp));
    }

    #[test]
    fn invalid_services_are_refused_with_a_reason() {
        let cases = [
            (
                "[services.a]\ncommand=['x']\ndepends_on=['b']\n[services.b]\ncommand=['x']\ndepends_on=['a']",
                "a -> b -> a",
            ),
            ("[services.a]\ncommand=['x']\ndepends_on=['a']", "a -> a"),
            ("[services.a]\ncommand=['x']\ndepends_on=['z']", "no service \"z\""),
            ("[services.a]\ncommand=[]", "a list of words"),
            ("[services.a]\ncommand=['x']\nport=1\n[services.b]\ncommand=['x']\nport=1", "the same port"),
            ("[services.a]\ncommand=['x']\nready={}", "one of http"),
            ("[services.a]\ncommand=['x']\nready={log='(',tcp=1}", "one of http"),
            ("[services.a]\ncommand=['x']\nready={log='('}", "not a regular expression"),
            ("[services.a]\ncommand=['x']\nready={http='https://x'}", "not this host"),
        ];
        for (toml, reason) in cases {
            let error = planned(toml, &["true"]).unwrap_err();
            assert!(error.contains(reason), "{toml}\n{error}");
        }
    }
}
