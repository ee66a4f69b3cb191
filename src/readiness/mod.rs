//! Is a service ready? Its probe passes, and whatever listens on its port is the session's own, so
//! that a stale server never passes for it.

pub mod http;

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use regex::bytes::Regex;
use rustix::process::Pid;

use crate::containment::Sockets;
use crate::plan::Url;
use crate::plan::{Probe, ServicePlan};
use crate::ports::Holding;
use crate::readiness::http::{Answer, Request};
use crate::runtime::clock;
use crate::sys::sock_diag::Listener;
use crate::text::exit_status;

/// No event tells that a socket began to listen, so we look this often. One look costs 50 µs.
pub const TICK: Duration = Duration::from_millis(10);
/// Pause after a request or a probing command that failed: first, and at most.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A log that grows faster than it can be searched must not keep us from everything else.
const SEARCH: Duration = Duration::from_millis(20);
/// A line longer than this is matched by its end.
const LONGEST_LINE: usize = 64 * 1024;

/// What a look at a service found.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    Ready,
    NotYet,
    /// Start the probing command and say its pid with [`Waiting::asking`].
    Ask,
}

/// What a look needs to know of the host.
pub struct Surroundings<'a> {
    /// Everything that listens on the services' ports, or why that is not known.
    pub listeners: &'a io::Result<Vec<Listener>>,
    /// Which of them are the session's.
    pub sockets: &'a Sockets,
}

/// The wait for one service.
#[derive(Debug)]
pub struct Waiting {
    pub since: Instant,
    pub deadline: Instant,
    attempt: Attempt,
    not_before: Instant,
    pause: Duration,
    /// Why its probe does not pass.
    why: String,
}

#[derive(Debug)]
enum Attempt {
    None,
    Http(Request),
    Command(Pid),
    Log(Follower),
    Passed,
}

impl Waiting {
    pub fn begin(plan: &ServicePlan, log: &File) -> io::Result<Self> {
        let now = clock::now();
        let attempt = match &plan.probe {
            Probe::Log(_) => Attempt::Log(Follower::of(log.try_clone()?)),
            _ => Attempt::None,
        };
        Ok(Self {
            since: now,
            deadline: now + plan.ready_timeout,
            attempt,
            not_before: now,
            pause: PAUSE,
            why: match &plan.probe {
                Probe::Command(_) => "its readiness command has not ended".into(),
                _ => "it has not answered".into(),
            },
        })
    }

    pub fn look(&mut self, plan: &ServicePlan, around: &Surroundings<'_>) -> io::Result<Look> {
        let Ok(listener) = own_listener(plan, around) else { return Ok(Look::NotYet) };
        Ok(match (&plan.probe, &mut self.attempt) {
            (_, Attempt::Passed) | (Probe::Started | Probe::Listening(_), _) => Look::Ready,
            (Probe::Log(regex), Attempt::Log(follower)) => {
                self.why = format!("no line of its log matches /{regex}/");
                if follower.finds(regex)? { Look::Ready } else { Look::NotYet }
            }
            (Probe::Http(_), Attempt::Http(request)) => match request.poll() {
                None => Look::NotYet,
                Some(Answer::Status(200..400)) => Look::Ready,
                Some(Answer::Status(code)) => self.failed(format!("it answers with HTTP {code}")),
                Some(Answer::Failed(why)) => self.failed(why),
            },
            _ if clock::now() < self.not_before => Look::NotYet,
            (Probe::Http(url), _) => match Request::send(url, &addresses(url, listener)) {
                Ok(request) => {
                    self.attempt = Attempt::Http(request);
                    Look::NotYet
                }
                Err(error) => self.failed(format!("cannot connect to it: {}", crate::text::plain(&error))),
            },
            (Probe::Command(_), Attempt::None) => Look::Ask,
            (Probe::Command(_) | Probe::Log(_), _) => Look::NotYet,
        })
    }

    /// Why it is not ready, for the message when time runs out.
    pub fn why(&self, plan: &ServicePlan, around: &Surroundings<'_>) -> String {
        own_listener(plan, around).map_or_else(|not_ours| not_ours.to_string(), |_| self.why.clone())
    }

    /// A probing command was started.
    pub fn asking(&mut self, pid: Pid) {
        self.attempt = Attempt::Command(pid);
    }

    /// A child of ours ended; was it the probing command?
    pub fn note_exit(&mut self, pid: Pid, status: ExitStatus) {
        if matches!(self.attempt, Attempt::Command(asked) if asked == pid) {
            if status.success() {
                self.attempt = Attempt::Passed;
            } else {
                self.failed(format!("its readiness command ends: {}", exit_status(status)));
            }
        }
    }

    fn failed(&mut self, why: String) -> Look {
        self.why = why;
        self.attempt = Attempt::None;
        self.not_before = clock::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Look::NotYet
    }

    /// Readable when the answer to a request is there.
    pub fn wakes_on(&self) -> Option<BorrowedFd<'_>> {
        match &self.attempt {
            Attempt::Http(request) => Some(request.as_fd()),
            _ => None,
        }
    }
}

/// Why a service's ports are not the session's own.
#[derive(Debug)]
enum NotOurs {
    Unknown(u16, String),
    Nobody(u16),
    Strangers(Vec<Listener>),
}

/// Looks the strangers' names up, which is slow.
impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(port, error) => write!(f, "cannot tell who listens on port {port}: {error}"),
            Self::Nobody(port) => write!(f, "nothing listens on port {port}"),
            Self::Strangers(listeners) => {
                let held: Vec<_> = Holding::of(listeners).iter().map(Holding::to_string).collect();
                write!(f, "{}, which is outside this session", held.join(", "))
            }
        }
    }
}

/// A listener of the session on the last of the service's ports, where every listener on each of
/// them is the session's. `None` for a service without a port.
fn own_listener<'a>(
    plan: &ServicePlan,
    around: &'a Surroundings<'_>,
) -> Result<Option<&'a Listener>, NotOurs> {
    let mut found = None;
    for port in plan.own_ports() {
        let listeners =
            around.listeners.as_ref().map_err(|error| NotOurs::Unknown(port, error.to_string()))?;
        let (ours, strangers): (Vec<_>, Vec<_>) = listeners
            .iter()
            .filter(|listener| listener.port == port)
            .partition(|listener| around.sockets.include(listener));
        if !strangers.is_empty() {
            return Err(NotOurs::Strangers(strangers.into_iter().cloned().collect()));
        }
        found = Some(*ours.first().ok_or(NotOurs::Nobody(port))?);
    }
    Ok(found)
}

/// Where to connect: the URL's address, or for `localhost` the one that is listened on. Whether a
/// socket at `::` takes IPv4 as well is its own choice, and whether there is `::1` the host's.
fn addresses(url: &Url, listener: Option<&Listener>) -> Vec<IpAddr> {
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    match (url.address, listener.map(|it| it.address)) {
        (Some(address), _) => vec![address],
        (None, Some(address)) if !address.is_unspecified() => vec![address],
        (None, Some(IpAddr::V6(_))) => vec![v4, v6],
        (None, _) => vec![v4],
    }
}

/// Reads what is appended to a log, line by line.
#[derive(Debug)]
struct Follower {
    file: File,
    /// Up to where it was read: the service writes by the same open file.
    at: u64,
    line: Vec<u8>,
}

impl Follower {
    fn of(file: File) -> Self {
        Self { file, at: 0, line: Vec::new() }
    }

    /// Whether a new line, also one that is still being written, matches; as far as one look gets.
    fn finds(&mut self, regex: &Regex) -> io::Result<bool> {
        let begin = clock::now();
        let mut chunk = [0u8; 8192];
        loop {
            let length = self.file.read_at(&mut chunk, self.at)?;
            self.at += length as u64;
            if length == 0 {
                return Ok(regex.is_match(&self.line));
            }
            for piece in chunk[..length].split_inclusive(|&byte| byte == b'\n') {
                self.line.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    self.line.pop();
                    if regex.is_match(&self.line) {
                        return Ok(true);
                    }
                    self.line.clear();
                }
            }
            let excess = self.line.len().saturating_sub(LONGEST_LINE);
            self.line.drain(..excess);
            if clock::since(begin) >= SEARCH {
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn listener(cgroup: u64, address: &str) -> Listener {
        Listener { address: address.parse().unwrap(), port: 8000, inode: 1, uid: 0, cgroup: Some(cgroup) }
    }

    #[test]
    fn one_stranger_on_the_port_spoils_it() {
        let plan = ServicePlan {
            name: "web".into(),
            command: Vec::new(),
            cwd: "/".into(),
            env: Default::default(),
            port: Some(8000),
            probe: Probe::Started,
            ready_timeout: Duration::ZERO,
            depends_on: Vec::new(),
            stop_signal: nix::sys::signal::Signal::SIGTERM,
            grace: Duration::ZERO,
            critical: true,
            limits: Default::default(),
        };
        let check = |listeners: io::Result<Vec<Listener>>| {
            let around = Surroundings { listeners: &listeners, sockets: &Sockets::MadeIn(vec![7, 8]) };
            own_listener(&plan, &around).map(|_| ()).map_err(|not_ours| not_ours.to_string())
        };
        assert!(check(Ok(vec![])).unwrap_err().contains("nothing listens"));
        assert_eq!(check(Ok(vec![listener(8, "::")])), Ok(()));
        let both = vec![listener(7, "0.0.0.0"), listener(9, "127.0.0.1")];
        assert!(check(Ok(both)).unwrap_err().contains("outside"));
        assert!(check(Err(io::Error::other("no"))).is_err());
    }

    #[test]
    fn localhost_is_wherever_the_service_listens() {
        let localhost = "http://localhost:8000".parse().unwrap();
        let asked = |at: &str| addresses(&localhost, Some(&listener(7, at)));
        let expect = |list: &[&str]| list.iter().map(|it| it.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(asked("::1"), expect(&["::1"]));
        assert_eq!(asked("127.0.0.2"), expect(&["127.0.0.2"]));
        assert_eq!(asked("0.0.0.0"), expect(&["127.0.0.1"]));
        assert_eq!(asked("::"), expect(&["127.0.0.1", "::1"]));
        assert_eq!(addresses(&"http://[::1]:8000".parse().unwrap(), None), expect(&["::1"]));
    }

    #[test]
    fn a_log_line_counts_once_it_is_there() {
        let path = std::env::temp_dir().join(format!("cgrun-follower-{}", std::process::id()));
        let mut writer = File::create(&path).unwrap();
        let mut follower = Follower::of(File::open(&path).unwrap());
        let regex = Regex::new("^ready on \\d+$").unwrap();
        assert!(!follower.finds(&regex).unwrap());
        write!(writer, "starting\nready o").unwrap();
        assert!(!follower.finds(&regex).unwrap());
        writeln!(writer, "n 8000").unwrap();
        assert!(follower.finds(&regex).unwrap());
        std::fs::remove_file(path).unwrap();
    }
}
