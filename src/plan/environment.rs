//! The environment of the session's processes.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::sys::process::identity::Identity;

/// The variables that `--clean-env` keeps, as login(1) does, in addition to `LC_*`.
const LOGIN_KEEPS: [&str; 5] = ["PATH", "TERM", "LANG", "TZ", "COLORTERM"];

/// They tell a process which sockets it was passed. The last one also identifies the process, by a number that
/// cgrun cannot know before it starts the program.
const PASSED_SOCKETS: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", LISTEN_PIDFDID];
const LISTEN_PIDFDID: &str = "LISTEN_PIDFDID";

/// The environment of a new process: the supervisor's, with changes.
#[derive(Clone, Debug)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The supervisor's environment, adapted to the user that the session runs as. The session's own markers
    /// are added when it starts.
    pub(crate) fn for_session(clean: bool, identity: Option<&Identity>) -> Self {
        let mut env = Self(std::env::vars_os().collect());
        env.0.remove(OsStr::new(LISTEN_PIDFDID));
        if clean {
            env.retain(|name| LOGIN_KEEPS.contains(&name) || name.starts_with("LC_"));
        }
        let Some((user, _)) = identity.and_then(|identity| identity.user.as_ref()) else {
            return env;
        };
        // Remove variables that refer to files and services of the supervisor's user. Their names are all UTF-8.
        env.0.retain(|name, _| {
            !name.to_str().is_some_and(|name| {
                name.starts_with("XDG_") || ["DBUS_SESSION_BUS_ADDRESS", "MAIL"].contains(&name)
            })
        });
        env.with_all([
            ("HOME", user.dir.as_os_str()),
            ("USER", OsStr::new(&user.name)),
            ("LOGNAME", OsStr::new(&user.name)),
            ("SHELL", user.shell.as_os_str()),
        ])
    }

    fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| name.to_str().is_some_and(&wanted));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// A copy with these variables added or replaced.
    pub(crate) fn with_all<N: Into<OsString>, V: Into<OsString>>(
        &self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut changed = self.clone();
        changed.0.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        changed
    }

    /// A copy without these variables.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        let mut changed = self.clone();
        changed.0.retain(|name, _| !names.iter().any(|it| name == it));
        changed
    }

    /// A copy for a process that is not meant to take over the sockets that were passed to us (sd_listen_fds(3)).
    pub(crate) fn without_passed_sockets(&self) -> Self {
        let mut changed = self.clone();
        changed.0.retain(|name, _| !PASSED_SOCKETS.contains(&name.to_str().unwrap_or_default()));
        changed
    }

    /// A copy for a program that runs in this directory, because some programs trust PWD. The variable is left out if a
    /// shell would write the path differently.
    pub(crate) fn with_directory(&self, path: &Path) -> Self {
        let mut changed = self.clone();
        changed.0.remove(OsStr::new("PWD"));
        let is_plain = path.is_absolute()
            && path.components().all(|it| !matches!(it, Component::ParentDir | Component::CurDir));
        if is_plain {
            let path: PathBuf = path.components().collect();
            changed.0.insert("PWD".into(), path.into());
        }
        changed
    }

    /// `NAME=VALUE` for each variable, as execve(2) takes them; `None` if one has a NUL byte.
    pub(crate) fn entries(&self) -> Option<Vec<CString>> {
        let entry = |(name, value): (&OsString, &OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        };
        self.0.iter().map(entry).collect()
    }
}
