//! Arguments, config and environment become one `SessionPlan`, or a clear error. Nothing on the host is
//! changed, and nothing looked at but who a user is.

mod services;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use regex::bytes::Regex;

use crate::cli::{ConfigOptions, LimitOptions, Run};
use crate::config::{Config, Limits, OnLeak, ReportKind};
use crate::containment::Require;
use crate::leaks::allow::Pattern;
use crate::readiness::http::Url;
use crate::session::program::Environment;
use crate::sys::identity::{Identity, groups_of};

const PORTS: [u16; 2] = [3000, 8000];
pub const GRACE: Duration = Duration::from_secs(5);
pub const KILL_WAIT: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_millis(100);

/// One session, fully decided.
#[derive(Debug)]
pub struct SessionPlan {
    pub command: Vec<OsString>,
    pub cwd: PathBuf,
    /// In an order in which each comes after what it depends on.
    pub services: Vec<ServicePlan>,
    /// All ports that must be free afterwards, the services' own included; no duplicates.
    pub watched: Vec<u16>,
    pub grace: Duration,
    pub kill_wait: Duration,
    pub settle: Duration,
    pub timeout: Option<Duration>,
    pub on_leak: OnLeak,
    /// What may outlive the command.
    pub allow: Vec<Pattern>,
    pub reports: Vec<(ReportKind, PathBuf)>,
    pub reclaim_ports: bool,
    /// The least that is to hold the session.
    pub require: Option<Require>,
    /// Whom the session's processes run as, where that is not us.
    pub identity: Option<Identity>,
    /// They get no more of our environment than a login would give.
    pub clean_env: bool,
    /// The directory for the logs of all runs.
    pub logs: PathBuf,
    /// Where it is noted what a guardian did.
    pub records: PathBuf,
    pub volume: Volume,
    /// What all of the session may use.
    pub limits: Limits,
    /// A limit that cannot be applied is a warning.
    pub limits_best_effort: bool,
}

/// How much cgrun says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    Quiet,
    #[default]
    Normal,
    Verbose,
}

#[derive(Debug)]
pub struct ServicePlan {
    pub name: String,
    pub command: Vec<OsString>,
    pub cwd: PathBuf,
    pub env: BTreeMap<String, String>,
    pub port: Option<u16>,
    pub probe: Probe,
    pub ready_timeout: Duration,
    /// Indices into the plan's services.
    pub depends_on: Vec<usize>,
    pub stop_signal: Signal,
    pub grace: Duration,
    pub critical: bool,
    pub limits: Limits,
}

/// What makes a service ready.
#[derive(Debug)]
pub enum Probe {
    /// That it was started.
    Started,
    /// A listening socket of its own on this port.
    Listening(u16),
    /// And an answer of 2xx or 3xx to a GET.
    Http(Url),
    /// A line of its log.
    Log(Regex),
    /// A command that exits 0.
    Command(Vec<OsString>),
}

/// What a login leaves of the environment it comes from.
const LOGIN_KEEPS: [&str; 5] = ["PATH", "TERM", "LANG", "TZ", "COLORTERM"];

impl SessionPlan {
    /// What the session's processes find in their environment, before its own marks.
    pub fn environment(&self) -> Environment {
        let mut env = Environment::ours();
        if self.clean_env {
            env = env.keeping(|name| LOGIN_KEEPS.contains(&name) || name.starts_with("LC_"));
        }
        let Some((user, _)) = self.identity.as_ref().and_then(|identity| identity.user.as_ref()) else {
            return env;
        };
        // They lead to what is ours.
        let is_ours =
            |name: &str| name.starts_with("XDG_") || ["DBUS_SESSION_BUS_ADDRESS", "MAIL"].contains(&name);
        let env = env.without(is_ours);
        env.with_all([
            ("HOME", user.dir.as_os_str()),
            ("USER", OsStr::new(&user.name)),
            ("LOGNAME", OsStr::new(&user.name)),
            ("SHELL", user.shell.as_os_str()),
        ])
    }

    /// The command as one line, for people.
    pub fn command_line(&self) -> String {
        self.command.join(OsStr::new(" ")).to_string_lossy().into_owned()
    }
}

/// Where it is noted what was done about sessions whose supervisor died.
pub fn records(state: &Path) -> PathBuf {
    state.join("ended")
}

impl ServicePlan {
    /// The ports that must be free before it starts, and whose listening sockets must be the
    /// session's own before it is ready: its port, and the one at which it is asked.
    pub fn own_ports(&self) -> impl Iterator<Item = u16> {
        let asked = match &self.probe {
            Probe::Listening(port) => Some(*port),
            Probe::Http(url) => Some(url.port),
            _ => None,
        };
        self.port.into_iter().chain(asked.filter(|_| asked != self.port))
    }

    /// What is being waited for, in a word or two.
    pub fn awaited(&self) -> String {
        match &self.probe {
            Probe::Started => "start".into(),
            Probe::Listening(port) => format!("port {port}"),
            Probe::Http(url) => url.to_string(),
            Probe::Log(regex) => format!("log line /{regex}/"),
            Probe::Command(command) => command.join(OsStr::new(" ")).to_string_lossy().into_owned(),
        }
    }
}

/// The ports to watch: the command line's, else the config's, else 3000 and 8000; and the services'.
pub fn watched_ports(options: &ConfigOptions, config: Option<&Config>) -> Result<Vec<u16>> {
    Ok(watched(options, config, &planned_services(config, GRACE)?))
}

fn watched(options: &ConfigOptions, config: Option<&Config>, services: &[ServicePlan]) -> Vec<u16> {
    let session = config.map(|config| &config.file.session);
    let asked_for: Vec<u16> = if !options.ports.is_empty() {
        options.ports.iter().map(|port| port.0).collect()
    } else if let Some(ports) = session.and_then(|session| session.ports.as_ref()) {
        ports.iter().map(|port| port.0).collect()
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

fn planned_services(config: Option<&Config>, grace: Duration) -> Result<Vec<ServicePlan>> {
    config.map_or(Ok(Vec::new()), |config| services::services(config, grace))
}

/// Decides everything that can be decided before looking at the host.
pub fn plan(run: Run, config: Option<&Config>, cwd: PathBuf, state: PathBuf) -> Result<SessionPlan> {
    match run.command.first() {
        None => bail!("no command given; say what to run, such as: cgrun pytest"),
        Some(program) if program.is_empty() => {
            bail!("the command is an empty word; say what to run, such as: cgrun pytest")
        }
        Some(_) => {}
    }
    let options = run.options;
    let session = config.map(|config| &config.file.session);
    let time = |option: Option<crate::config::Time>, key: Option<crate::config::Time>, default| {
        option.or(key).map_or(default, |time| time.0)
    };
    let grace = time(options.grace, session.and_then(|it| it.grace), GRACE);
    let services = planned_services(config, grace)?;
    let logs = options.logs.or_else(|| {
        let config = config?;
        Some(config.directory().join(&config.file.session.logs.as_ref()?.0))
    });
    let timeout = options.timeout.or(session.and_then(|it| it.timeout)).map(|time| time.0);
    if timeout == Some(Duration::ZERO) {
        bail!("a timeout of 0 would end the session before it begins; leave it out for none");
    }
    let (limits, limits_best_effort) = limits(options.limits, config, services.len())?;
    Ok(SessionPlan {
        limits,
        limits_best_effort,
        command: run.command,
        watched: watched(&options.config, config, &services),
        services,
        grace,
        kill_wait: time(options.kill_wait, session.and_then(|it| it.kill_wait), KILL_WAIT),
        settle: time(options.settle, session.and_then(|it| it.settle), SETTLE),
        timeout,
        on_leak: options.on_leak.or(session.and_then(|it| it.on_leak)).unwrap_or(OnLeak::Report),
        require: options.require.or(session.and_then(|it| it.require)),
        identity: identity(
            options.user.as_deref().or(session.and_then(|it| it.user.as_ref()).map(|it| it.0.as_str())),
            options.no_new_privs || session.and_then(|it| it.no_new_privs).unwrap_or(false),
        )?,
        clean_env: options.clean_env || session.and_then(|it| it.clean_env).unwrap_or(false),
        allow: [session.and_then(|it| it.allow.clone()).unwrap_or_default(), options.allow].concat(),
        reports: reports(options.reports, config, &cwd)?,
        reclaim_ports: options.reclaim_ports || session.and_then(|it| it.reclaim_ports).unwrap_or(false),
        logs: logs.unwrap_or_else(|| state.join("logs")),
        records: records(&state),
        volume: match (options.quiet, options.verbose) {
            (true, _) => Volume::Quiet,
            (_, true) => Volume::Verbose,
            _ => Volume::Normal,
        },
        cwd,
    })
}

/// The session's limits, and whether to do without those that cannot be applied.
fn limits(options: LimitOptions, config: Option<&Config>, services: usize) -> Result<(Limits, bool)> {
    let written = config.map(|config| &config.file.limits);
    let mut limits = written.map(|it| it.limits()).unwrap_or_default();
    limits.memory = options.memory.or(limits.memory);
    limits.pids = options.pids.or(limits.pids);
    limits.cpus = options.cpus.or(limits.cpus);
    if let Some(pids) = limits.pids.filter(|pids| pids.0 <= services as u64) {
        bail!(
            "a limit of {} processes is too small for {services} services and the command, which need {} to \
             start",
            pids.0,
            services + 1
        );
    }
    Ok((limits, options.limits_best_effort || written.is_some_and(|it| it.best_effort)))
}

/// Whom `--user` means, and what `--no-new-privs` takes.
fn identity(name: Option<&str>, no_new_privileges: bool) -> Result<Option<Identity>> {
    use nix::unistd::{Uid, User};
    let Some(name) = name else {
        return Ok(no_new_privileges.then_some(Identity { user: None, no_new_privileges }));
    };
    let by_number = name.parse().ok().map(|uid| User::from_uid(Uid::from_raw(uid)));
    let found = User::from_name(name).with_context(|| format!("cannot look user {name:?} up"))?;
    let found = found.or(by_number.transpose()?.flatten());
    let user = found.with_context(|| format!("there is no user {name:?}; see: getent passwd"))?;
    if !Uid::effective().is_root() {
        if user.uid != Uid::effective() {
            bail!("only root can run a session as another user; try: sudo cgrun --user {name} COMMAND");
        }
        return Ok(no_new_privileges.then_some(Identity { user: None, no_new_privileges }));
    }
    if user.uid.is_root() {
        bail!(
            "--user root would give up nothing: root has all capabilities again; name another user, or leave it out"
        );
    }
    let groups = groups_of(&user).with_context(|| format!("cannot look up the groups of {name:?}"))?;
    Ok(Some(Identity { user: Some((user, groups)), no_new_privileges }))
}

/// The command line's kinds in place of the config's.
fn reports(
    mut asked_for: Vec<(ReportKind, PathBuf)>,
    config: Option<&Config>,
    cwd: &Path,
) -> Result<Vec<(ReportKind, PathBuf)>> {
    asked_for.iter_mut().for_each(|(_, path)| *path = cwd.join(&path));
    let by_hand: Vec<_> = asked_for.iter().map(|(kind, _)| *kind).collect();
    let keys = config.and_then(|config| Some((config, config.file.session.reports.as_ref()?)));
    for (kind, path) in keys.into_iter().flat_map(|(config, keys)| {
        keys.iter().map(move |(kind, path)| (kind, config.directory().join(&path.0)))
    }) {
        if path.file_name() == Some(OsStr::new("-")) {
            bail!("a report cannot go to -: stdout is the command's; name a file");
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
    use clap::Parser;
    use std::path::Path;

    fn planned(toml: &str, args: &[&str]) -> Result<SessionPlan, String> {
        let path = Path::new("/project/cgrun.toml");
        let file = toml::from_str(toml).map_err(|error| error.to_string())?;
        let config = Config { path: path.into(), text: toml.into(), file };
        let cli = crate::cli::Cli::try_parse_from([&["cgrun"], args].concat())
            .map_err(|error| error.to_string())?;
        plan(cli.run, Some(&config), "/project".into(), "/state".into()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_wins_over_the_config() {
        let toml = "[session]\ngrace = '1s'\nports = [1, 2]\nkill_wait = '9s'";
        let plan = planned(toml, &["--grace", "3s", "-p", "7", "true"]).unwrap();
        assert_eq!((plan.grace.as_secs(), plan.kill_wait.as_secs(), plan.watched), (3, 9, vec![7]));
    }

    #[test]
    fn services_start_after_what_they_need() {
        let toml = "[services.a]\ncommand=['x']\ndepends_on=['c']\n[services.b]\ncommand=['x']\n\
                    [services.c]\ncommand=['x']\ndepends_on=['b']";
        let plan = planned(toml, &["true"]).unwrap();
        let names: Vec<_> = plan.services.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a"]);
        assert_eq!(plan.services[2].depends_on, [1]);
    }

    #[test]
    fn services_ports_are_watched() {
        let plan = planned(
            "[services.a]\ncommand=['x']\nport=8000\n[services.b]\ncommand=['x']\nport=99",
            &["true"],
        );
        assert_eq!(plan.unwrap().watched, [3000, 8000, 99]);
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
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
            ("[services.a]\ncommand=['x']\nready={log='('}", "no regular expression"),
            ("[services.a]\ncommand=['x']\nready={http='https://x'}", "http://"),
        ];
        for (toml, reason) in cases {
            let error = planned(toml, &["true"]).unwrap_err();
            assert!(error.contains(reason), "{toml}\n{error}");
        }
    }
}
