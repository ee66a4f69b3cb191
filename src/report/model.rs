//! A session in figures and names, for programs: what `--report json` writes, and what the other reports
//! are drawn from. `schema.json` documents it; a change that breaks a reader raises `VERSION`.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Serialize;

use super::locate::{Locator, Place};
use super::tree::Tree;
use crate::containment::{self, Kind};
use crate::leaks::{How, Leak};
use crate::limits::Usage;
use crate::sys::details::Glimpse;
use crate::sys::proc::COMMAND_LINE_SHOWN;

pub const SCHEMA: &str = "cgrun-report";
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub version: u32,
    pub cgrun: &'static str,
    pub session: Session,
    pub outcome: Outcome,
    pub containment: Containment,
    pub command: Part,
    pub services: Vec<Service>,
    /// The roots of the leaked trees.
    pub leaks: Vec<Process>,
    /// How many processes leaked, also those that are not described.
    pub leaked: usize,
    pub undescribed: usize,
    pub allowed: Vec<Process>,
    pub survivors: Vec<String>,
    pub not_verified: Vec<String>,
    pub ports: Ports,
    pub teardown: Teardown,
    pub resources: Resources,
    /// What the cgroup has measured; absent where there is none.
    pub usage: Option<Usage>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Session {
    pub id: String,
    /// Pid of its supervisor.
    pub owner: u32,
    pub command: Vec<String>,
    pub working_directory: String,
    /// Seconds since 1970.
    pub began_at: f64,
    pub seconds: f64,
    /// Who wrote this: `supervisor`, or `guardian` where that had died.
    pub written_by: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Nothing leaked, nothing survived, and that is known.
    pub clean: bool,
    /// Nothing survived, and that is known.
    pub proven: bool,
    /// How cgrun ends; both null where it died.
    pub exit_code: Option<u8>,
    pub signal: Option<String>,
    pub layer: u8,
    #[serde(skip)]
    pub layer_title: &'static str,
    pub cause: &'static str,
    /// The cause, for people.
    pub why: String,
    pub leaks_fail: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Containment {
    pub kind: Kind,
    pub guarantee: &'static str,
    /// Of the cgroup, where there is one.
    pub path: Option<String>,
}

impl Containment {
    pub fn of(containment: &containment::Containment) -> Self {
        let kind = containment.kind();
        let path = containment.path().map(|path| path.to_string_lossy().into_owned());
        Self { kind, guarantee: kind.guarantee(), path }
    }
}

/// Seconds since the session's begin.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Part {
    pub started: Option<f64>,
    pub ready: Option<f64>,
    /// When it was asked to end, where it had not by itself.
    pub asked: Option<f64>,
    /// When its first process ended.
    pub ended: Option<f64>,
    /// When nothing was left of it.
    pub gone: Option<f64>,
    pub exit_code: Option<i32>,
    pub signal: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Service {
    pub name: String,
    pub command: Vec<String>,
    pub port: Option<u16>,
    pub log: Option<String>,
    /// What went wrong with it.
    pub problem: Option<String>,
    #[serde(flatten)]
    pub part: Part,
}

#[derive(Debug, Serialize)]
pub struct Process {
    pub pid: i32,
    pub parent: Option<i32>,
    pub name: String,
    pub cmdline: Vec<String>,
    pub cmdline_cut: bool,
    pub executable: Option<String>,
    pub working_directory: Option<String>,
    pub user: String,
    pub uid: Option<u32>,
    pub age: f64,
    pub cpu: f64,
    pub memory_bytes: u64,
    pub threads: u64,
    pub state: &'static str,
    pub listening: Vec<SocketAddr>,
    pub cgroup: Option<String>,
    /// Those of the command's streams that it had open.
    pub holds: Vec<&'static str>,
    pub how: &'static str,
    /// The service that it is of, where it is of one.
    pub service: Option<String>,
    pub ignores_sigterm: bool,
    /// It was asked to end, and was still there when its grace was over.
    pub had_to_be_killed: bool,
    pub started_during: Option<StartedDuring>,
    pub children: Vec<Process>,
}

#[derive(Debug, Serialize)]
pub struct StartedDuring {
    pub runner: &'static str,
    pub test: Option<String>,
    pub phase: Option<String>,
    pub worker: Option<String>,
    pub evidence: &'static str,
    pub file: Option<String>,
    pub line: Option<usize>,
    /// All of it for people.
    #[serde(skip)]
    pub said: String,
}

#[derive(Debug, Serialize)]
pub struct Ports {
    pub watched: Vec<u16>,
    /// Held by others than the session, and left alone.
    pub strangers: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Teardown {
    pub began: f64,
    pub phases: Vec<Phase>,
    pub command_killed: bool,
}

#[derive(Debug, Serialize)]
pub struct Phase {
    pub name: &'static str,
    pub began: f64,
    pub ended: f64,
}

#[derive(Debug, Serialize)]
pub struct Resources {
    /// Of all processes of the session that were waited for.
    pub cpu: f64,
    /// Of the largest of them.
    pub memory_peak_bytes: u64,
}

impl Process {
    pub fn of(tree: &Tree<'_>, tests: &mut Locator) -> Self {
        let Leak { process, glimpse, .. } = tree.leak;
        let lossy = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
        let shown: usize = process.command.iter().map(|word| word.len() + 1).sum();
        Self {
            pid: process.pid.as_raw_nonzero().get(),
            parent: glimpse.parent.map(|pid| pid.as_raw_nonzero().get()),
            name: glimpse.name.clone(),
            cmdline: process.command.iter().map(lossy).collect(),
            cmdline_cut: shown > COMMAND_LINE_SHOWN,
            executable: tree.leak.executable.as_ref().map(lossy),
            working_directory: tree.leak.working_directory.as_ref().map(lossy),
            user: process.user(),
            uid: process.uid,
            age: seconds(process.age),
            cpu: seconds(glimpse.cpu),
            memory_bytes: glimpse.memory,
            threads: glimpse.threads,
            state: state(glimpse),
            listening: tree.leak.listening.clone(),
            cgroup: tree.leak.place.clone(),
            holds: tree.leak.streams.clone(),
            how: how(tree.leak),
            service: match &tree.leak.how {
                How::OutlivedService(name) | How::OutlivedProbe(name) => Some(name.clone()),
                _ => None,
            },
            ignores_sigterm: glimpse.ignores(Signal::SIGTERM),
            had_to_be_killed: tree.leak.had_to_be_killed,
            started_during: started_during(tree.leak, tests),
            children: tree.children.iter().map(|child| Self::of(child, tests)).collect(),
        }
    }

    /// The command line as one line, for people.
    pub fn line(&self) -> String {
        crate::sys::proc::readable(&self.cmdline.join(" "))
    }

    pub fn size(&self) -> usize {
        1 + self.children.iter().map(Self::size).sum::<usize>()
    }
}

fn started_during(leak: &Leak, tests: &mut Locator) -> Option<StartedDuring> {
    let origin = leak.started_during.as_ref()?;
    let (file, line) = match tests.locate(origin) {
        Some(Place { file, line }) => (Some(file.to_string_lossy().into_owned()), line),
        None => (None, None),
    };
    Some(StartedDuring {
        runner: origin.runner,
        test: origin.test.clone(),
        phase: origin.phase.clone(),
        worker: origin.worker.clone(),
        evidence: origin.evidence.name(),
        file,
        line,
        said: origin.to_string(),
    })
}

pub fn how(leak: &Leak) -> &'static str {
    match leak.how {
        How::OutlivedCommand if leak.is_daemon => "daemonized",
        How::OutlivedCommand => "background",
        How::OutlivedService(_) => "outlived_service",
        How::OutlivedProbe(_) => "outlived_probe",
        How::ChangedCgroup => "changed_cgroup",
        How::Escaped => "escaped",
    }
}

/// As proc_pid_stat(5) has it. A process that was frozen for being read shows as sleeping.
fn state(glimpse: &Glimpse) -> &'static str {
    match glimpse.state {
        'R' => "running",
        'D' => "waiting",
        'T' | 't' => "stopped",
        'Z' | 'X' => "dead",
        _ => "sleeping",
    }
}

/// To the millisecond: finer is noise.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
