//! The places in which cgrun can be started on a host with systemd. Only the virtual machine of
//! `scripts/vm-test` has these users and a systemd that grants scopes.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use nix::unistd::Pid;

/// How a command is started, which determines where cgrun can create a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// As root in a service that delegates nothing.
    Root,
    /// As a user with a service manager (by lingering) but without a login session.
    User,
    /// As root in a unit with `Delegate=yes`.
    Delegated,
    /// As a user in a unit with `Delegate=yes` and `User=`.
    DelegatedToUser,
    /// As root in a unit with `Delegate=yes` that systemd confines to the first CPU.
    DelegatedOneCpu,
}

impl Place {
    pub(crate) const ALL: [Self; 4] = [Self::Root, Self::User, Self::Delegated, Self::DelegatedToUser];
    /// The places in which systemd creates a scope for the session.
    pub(crate) const SCOPES: [Self; 2] = [Self::Root, Self::User];

    pub(crate) fn is_root(self) -> bool {
        !matches!(self, Self::User | Self::DelegatedToUser)
    }

    /// Escapes a word of a command that is run here, because systemd expands variables in the commands of
    /// services.
    pub(super) fn word(self, word: &OsStr) -> OsString {
        if Self::SCOPES.contains(&self) {
            word.into()
        } else {
            word.to_str().unwrap().replace('$', "$$").into()
        }
    }

    /// The words that run a command here, in `directory` and with these variables.
    pub(super) fn launcher(self, directory: &Path, env: &[(OsString, OsString)]) -> Vec<OsString> {
        let service = |properties: &[&str]| {
            let mut words: Vec<OsString> =
                ["systemd-run", "--quiet", "--wait", "--pipe"].map(OsString::from).into();
            for property in properties {
                words.extend(["-p".into(), property.into()]);
            }
            words.push(joined(&["--working-directory=".as_ref(), directory.as_os_str()]));
            let setenv = |(name, value): &(OsString, OsString)| {
                joined(&["--setenv=".as_ref(), name, "=".as_ref(), value])
            };
            words.extend(env.iter().map(setenv));
            words
        };
        match self {
            Self::Root => Vec::new(),
            Self::User => {
                let words = "env -u XDG_RUNTIME_DIR -u DBUS_SESSION_BUS_ADDRESS runuser -u tester --";
                words.split(' ').map(OsString::from).collect()
            }
            Self::Delegated => service(&["Delegate=yes"]),
            Self::DelegatedToUser => service(&["Delegate=yes", "User=tester"]),
            Self::DelegatedOneCpu => service(&["Delegate=yes", "AllowedCPUs=0"]),
        }
    }
}

fn joined(words: &[&OsStr]) -> OsString {
    let mut all = OsString::new();
    words.iter().for_each(|word| all.push(word));
    all
}

/// The supervisor and the guardian of the session that was started in this directory.
#[derive(Debug, Default)]
pub(super) struct Cgruns {
    pub supervisor: Option<Pid>,
    pub guardian: Option<Pid>,
}

impl Cgruns {
    pub(super) fn of(directory: &Path) -> Self {
        let all: Vec<_> = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).collect();
        let cgruns: Vec<_> =
            all.iter().filter(|it| is_cgrun(it)).filter_map(|it| Some((it, stat(it)?))).collect();
        // Its guardian has no environment.
        let of_directory = cgruns.iter().filter(|(path, _)| has_in_environment(directory, path));
        let supervisor = of_directory.min_by_key(|(_, stat)| stat.begin).map(|(_, stat)| stat.pid);
        let leads_a_session = |pid: Pid| nix::unistd::getsid(Some(pid)) == Ok(pid);
        let guardian = cgruns
            .iter()
            .map(|(_, stat)| stat)
            .find(|it| Some(it.parent) == supervisor && leads_a_session(it.pid));
        Self { supervisor, guardian: guardian.map(|it| it.pid) }
    }
}

struct Stat {
    pid: Pid,
    parent: Pid,
    /// In clock ticks since the host was started.
    begin: u64,
}

/// See proc_pid_stat(5).
fn stat(process: &Path) -> Option<Stat> {
    let text = std::fs::read_to_string(process.join("stat")).ok()?;
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let pid = |text: &str| text.parse().ok().map(Pid::from_raw);
    Some(Stat {
        pid: pid(text.split(' ').next()?)?,
        parent: pid(fields[1])?,
        begin: fields[19].parse().ok()?,
    })
}

/// Whether it is a cgrun that has not exited.
pub(super) fn is_cgrun(process: &Path) -> bool {
    std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == super::cgrun_program())
}

fn has_in_environment(directory: &Path, process: &Path) -> bool {
    std::fs::read(process.join("environ")).is_ok_and(|environ| {
        let directory = directory.as_os_str().as_encoded_bytes();
        environ.windows(directory.len()).any(|window| window == directory)
    })
}
