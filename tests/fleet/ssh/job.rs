//! A suite in a session on a far host, and the ways in which it dies.

use std::fs::{File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::hosts::{Host, Hosts};
use super::near;
use crate::fleet::suite::Suites;
use crate::harness::until;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Death {
    ClientKilled,
    ClientInterrupted,
    ClientTerminated,
    /// The window of the client, closed.
    WindowClosed,
    /// No packet comes through any more, and neither side is told.
    LinkDown,
    /// The client that shares its connection with the one of the job (`ControlMaster`).
    MasterKilled,
    /// The process of sshd for this connection.
    SshdKilled,
    CgrunKilled,
    /// Its guardian too; then the host is swept.
    BothKilled,
    /// None: the suite runs to its end.
    None,
}

impl Death {
    /// Those without a test of their own come first.
    pub(super) const ALL: [Self; 10] = [
        Self::ClientInterrupted,
        Self::ClientTerminated,
        Self::None,
        Self::WindowClosed,
        Self::ClientKilled,
        Self::LinkDown,
        Self::MasterKilled,
        Self::SshdKilled,
        Self::CgrunKilled,
        Self::BothKilled,
    ];

    /// Whether it can happen before there is a session. A client whose master dies that early connects by itself.
    pub(super) fn can_be_early(self) -> bool {
        use Death::*;
        matches!(self, ClientKilled | ClientInterrupted | ClientTerminated | WindowClosed | LinkDown)
    }
}

/// How the job is started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// With a terminal, which hangs up at the end of the connection.
    Terminal,
    /// Without, and cgrun looks at the process that has started it.
    EndWithParent,
    /// The same below a shell, which waits for cgrun.
    InShell,
    /// The same by a user other than root, who has no cgroup of their own.
    OrdinaryUser,
    /// Without, and with nothing else.
    Bare,
}

pub(super) struct Job {
    pub(super) suites: Suites,
    pub(super) report: PathBuf,
    seed: u32,
    client: Child,
    master: Option<Child>,
    window: Option<OwnedFd>,
}

impl Job {
    /// Starts one on the first host, which can die in this way.
    pub(super) fn start(hosts: &Hosts, seed: u32, seconds: f64, way: Way, death: Death) -> Self {
        let suites = Suites::within(&hosts.path().join(format!("job-{seed}")));
        let report = hosts.path().join(format!("report-{seed}.json"));
        let is_root = way != Way::OrdinaryUser;
        // Whoever logs in has to write there.
        let mode = if is_root { 0o755 } else { 0o777 };
        for made in
            ["", &format!("job-{seed}"), &format!("job-{seed}/registered")].map(|it| hosts.path().join(it))
        {
            std::fs::set_permissions(made, Permissions::from_mode(mode)).unwrap();
        }
        let option = if !matches!(way, Way::Terminal | Way::Bare) { " --end-with-parent" } else { "" };
        let exec = if way == Way::InShell { "" } else { "exec " };
        let far = format!(
            "{exec}cgrun{option} --report json={} {}",
            report.display(),
            suites.command(seed, seconds).join(" ")
        );
        let socket = hosts.path().join(format!("master-{seed}"));
        let socket = socket.to_str().unwrap();
        let master = (death == Death::MasterKilled).then(|| {
            let master = near(&["ssh", "-M", "-S", socket, "-N", "far1"]).spawn().unwrap();
            until("the control master listens", || std::os::unix::net::UnixStream::connect(socket).is_ok());
            master
        });
        let mut words = vec!["ssh"];
        if master.is_some() {
            words.extend(["-S", socket]);
        }
        if way == Way::Terminal {
            words.push("-tt");
        }
        words.extend([if is_root { "far1" } else { "user@far1" }, &far]);
        let (client, window) = match death {
            Death::WindowClosed => in_window(&words),
            _ => (near(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), None),
        };
        Self { suites, report, seed, client, master, window }
    }

    pub(super) fn until_started(&self) {
        self.suites.until_started(self.seed);
    }

    /// Returns when it died.
    pub(super) fn strike(&mut self, host: &Host, death: Death) -> Instant {
        let begin = Instant::now();
        let client = Pid::from_raw(self.client.id().try_into().unwrap());
        match death {
            Death::ClientKilled => kill(client, Signal::SIGKILL).unwrap(),
            Death::ClientInterrupted => kill(client, Signal::SIGINT).unwrap(),
            Death::ClientTerminated => kill(client, Signal::SIGTERM).unwrap(),
            Death::WindowClosed => drop(self.window.take().unwrap()),
            Death::LinkDown => host.link("down"),
            Death::MasterKilled => self.master.as_mut().unwrap().kill().unwrap(),
            Death::SshdKilled => kill(host.sshd_of(host.supervisors()[0]), Signal::SIGKILL).unwrap(),
            Death::CgrunKilled => kill(host.supervisors()[0], Signal::SIGKILL).unwrap(),
            Death::BothKilled => {
                let both = [host.supervisors(), host.guardians()].concat();
                assert_eq!(both.len(), 2, "a supervisor and a guardian");
                // So that neither sees the other die.
                for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
                    both.iter().for_each(|&pid| kill(pid, signal).unwrap());
                }
                until("both cgruns have exited", || host.supervisors().is_empty());
                assert!(!self.suites.alive().is_empty(), "nothing is left that could end them");
                let swept = near(&["ssh", host.name(), "cgrun sweep"]).output().unwrap();
                assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
            }
            Death::None => {
                until("the suite has ended", || self.suites.has_ended(self.seed));
                return Instant::now();
            }
        }
        begin
    }

    /// What its report says, if there is one.
    pub(super) fn cause(&self) -> Option<String> {
        self.report.exists().then(|| cause_of(&self.report))
    }

    /// What is left near when the far host is clean.
    pub(super) fn forget(mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
        if let Some(mut master) = self.master {
            let _ = master.kill();
            let _ = master.wait();
        }
    }
}

/// Why a session has ended, by its report.
pub(super) fn cause_of(report: &Path) -> String {
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    report["outcome"]["cause"].as_str().unwrap().to_string()
}

/// Runs a program in a window of its own, which is closed when it is dropped.
fn in_window(words: &[&str]) -> (Child, Option<OwnedFd>) {
    let nix::pty::OpenptyResult { master, slave } = nix::pty::openpty(None, None).unwrap();
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC).unwrap();
    let ends = [(); 3].map(|()| Stdio::from(File::from(slave.try_clone().unwrap())));
    let [input, output, error] = ends;
    let mut command: Command = near(&[&["setsid", "-c"], words].concat());
    (command.stdin(input).stdout(output).stderr(error).spawn().unwrap(), Some(master))
}
