//! One service, fully decided.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use regex::bytes::Regex;

use super::service_id::ServiceId;
use super::url::Url;
use crate::config::ServiceInput;
use crate::limits::Limits;
use crate::sys::port::Port;

/// Probes a server over TLS. A TLS library would be many times as large as cgrun and would have the rights of its
/// user, whereas curl runs as a process of the session. `--insecure`, because a test server has a self-signed
/// certificate; its address is a loopback address, and its port must be the service's own.
const CURL: [&str; 12] = [
    "curl",
    "--disable",
    "--silent",
    "--show-error",
    "--fail",
    "--insecure",
    "--globoff",
    "--noproxy",
    "*",
    "--output",
    "/dev/null",
    "--max-time",
];
/// How long one request may take: a fraction of the time that the service has, because some servers start over with
/// each request, and others never answer their first one.
const REQUESTS: u32 = 4;
const FIRST_ANSWER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct ServicePlan {
    pub name: String,
    pub command: Vec<OsString>,
    pub cwd: PathBuf,
    pub env: BTreeMap<String, String>,
    pub port: Option<Port>,
    pub probe: Probe,
    pub ready_timeout: Duration,
    pub depends_on: Vec<ServiceId>,
    pub stop_signal: Signal,
    pub grace: Duration,
    pub critical: bool,
    pub stdin: ServiceInput,
    pub limits: Limits,
}

/// How to tell that a service is ready.
#[derive(Debug)]
pub(crate) enum Probe {
    /// It was started.
    Started,
    /// It listens on this port.
    Listening(Port),
    /// It listens on the URL's port, and answers a GET with 2xx or 3xx.
    Http(Url),
    /// The same over TLS, with any certificate.
    Https(Url),
    /// A line of its log matches.
    Log(Regex),
    /// This command exits with 0.
    Command(Vec<OsString>),
}

impl ServicePlan {
    /// The ports that must be free before it starts, and that only the session may listen on before it is
    /// ready: its port, and the port of its probe.
    pub(crate) fn own_ports(&self) -> impl Iterator<Item = Port> {
        let asked = match &self.probe {
            Probe::Listening(port) => Some(*port),
            Probe::Http(url) | Probe::Https(url) => Some(Port::tcp(url.port)),
            _ => None,
        };
        self.port.into_iter().chain(asked.filter(|_| asked != self.port))
    }

    /// The command that must exit with 0 before it is ready, if there is one.
    pub(crate) fn readiness_command(&self) -> Option<Vec<OsString>> {
        match &self.probe {
            Probe::Command(command) => Some(command.clone()),
            Probe::Https(url) => {
                let patience = (self.ready_timeout / REQUESTS).max(FIRST_ANSWER).as_secs();
                let words = CURL.into_iter().map(OsString::from);
                Some(words.chain([patience.to_string().into(), url.to_string().into()]).collect())
            }
            _ => None,
        }
    }

    /// Names what its probe waits for, in a word or two.
    pub(crate) fn awaited(&self) -> String {
        match &self.probe {
            Probe::Started => "start".into(),
            Probe::Listening(port) => format!("port {port}"),
            Probe::Http(url) | Probe::Https(url) => url.to_string(),
            Probe::Log(regex) => format!("log line /{regex}/"),
            Probe::Command(command) => command.join(OsStr::new(" ")).to_string_lossy().into_owned(),
        }
    }
}
