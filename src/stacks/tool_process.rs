//! One running tool.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

use super::tool::Tool;
use crate::sys::process::children::reap_group;
use crate::sys::process::identity::Identity;
use crate::sys::process::pidfd::Process;
use crate::sys::process::spawn::{Directory, Group, Program, SpawnOptions, Streams, spawn};
use crate::text::{exit_status, plain, readable, shorten};

/// No more of its output is kept.
const MOST_OUTPUT: usize = 1 << 20;
/// A killed tool exits well within this time, unless the kernel holds it.
const ENDING: Duration = Duration::from_secs(1);
/// The words of a tool that cannot trace the process, in lower case.
const DENIED: [&str; 2] = ["permission denied", "operation not permitted"];
/// How much of its last words is shown.
const COMPLAINT: usize = 160;
/// They would make the runtime of a tool do what they want of that of the tests, such as to listen on a port.
const FOR_RUNTIMES: [&str; 4] = ["JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "NODE_OPTIONS"];

/// All that a tool of another user gets: that user can read its environment, and ours can have secrets.
const FOR_OTHERS: [&str; 5] = ["PATH", "LANG", "LC_ALL", "TERM", "TZ"];
/// eu-stack would ask these servers for the symbols of each program.
const DEBUG_SERVERS: &str = "DEBUGINFOD_URLS";

/// A tool that reads a stack. It leads a process group of its own, and dies with us.
#[derive(Debug)]
pub(super) struct ToolProcess {
    process: Process,
    reader: OwnedFd,
    output: Vec<u8>,
    /// Nobody can write to it any more.
    is_at_end: bool,
}

/// A tool that has exited, or was killed.
#[derive(Debug)]
pub(super) struct Ended {
    pub output: String,
    pub was_killed: bool,
    status: Option<ExitStatus>,
}

impl ToolProcess {
    /// Must be called while this process has a single thread.
    pub(super) fn start(tool: &Tool, identity: Option<&Identity>) -> Result<Self, String> {
        let failed = |error: rustix::io::Errno| plain(&error.into());
        let null =
            rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).map_err(failed)?;
        let options = SpawnOptions {
            group: Group::Session,
            streams: Streams { input: Some(null.as_fd()), output: Some(writer.as_fd()) },
            keep_ignored: false,
            identity,
            shares_memory: false,
        };
        let program =
            program(tool, identity.is_some()).ok_or("its path or an argument contains a NUL byte")?;
        let process = spawn(&program, &options, None, None).map_err(|error| plain(&error.source))?;
        Ok(Self { process, reader, output: Vec::new(), is_at_end: false })
    }

    /// What becomes readable if it writes or exits.
    pub(super) fn wakes(&self) -> impl Iterator<Item = PollFd<'_>> {
        let reader = (!self.is_at_end).then(|| PollFd::new(&self.reader, PollFlags::IN));
        std::iter::once(PollFd::new(&self.process, PollFlags::IN)).chain(reader)
    }

    /// Reads what it has written so far.
    pub(super) fn read(&mut self) {
        let mut piece = Vec::with_capacity(1 << 16);
        loop {
            match rustix::io::read(&self.reader, spare_capacity(&mut piece)) {
                Ok(1..) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => return,
                Ok(0) | Err(_) => {
                    self.is_at_end = true;
                    return;
                }
            }
            let room = MOST_OUTPUT - self.output.len();
            self.output.extend_from_slice(&piece[..piece.len().min(room)]);
            piece.clear();
        }
    }

    pub(super) fn has_exited(&self) -> bool {
        self.process.has_exited()
    }

    /// Kills whatever is left of it.
    pub(super) fn end(mut self) -> Ended {
        let was_killed = !self.process.has_exited();
        // It is not reaped yet, so no other group has its number.
        let _ = self.process.signal_group(Signal::SIGKILL);
        let status = reap_group(self.process.pid, ENDING);
        self.read();
        let output = String::from_utf8_lossy(&self.output).into_owned();
        Ended { output, was_killed, status }
    }
}

impl Ended {
    /// Why a tool that said nothing useful failed.
    pub(super) fn complaint(&self) -> String {
        let is_denied = DENIED.iter().any(|words| self.output.to_lowercase().contains(words));
        if is_denied {
            return "is not permitted to trace the process".into();
        }
        match self.output.lines().map(str::trim).find(|line| !line.is_empty()) {
            Some(said) => format!("failed: {}", shorten(&readable(said), COMPLAINT)),
            None => format!("said nothing ({})", self.status.map_or("killed".into(), exit_status)),
        }
    }
}

/// It runs in our directory, and asks no server for the symbols of programs.
fn program(tool: &Tool, is_for_other: bool) -> Option<Program> {
    let text = |text: &OsStr| CString::new(text.as_bytes()).ok();
    let argv = std::iter::once(tool.path.as_os_str()).chain(tool.arguments.iter().map(|it| it.as_os_str()));
    let is_kept = |name: &OsStr| match (name.to_str(), is_for_other) {
        (name, true) => name.is_some_and(|name| FOR_OTHERS.contains(&name)),
        (name, false) => name.is_none_or(|name| !FOR_RUNTIMES.contains(&name) && name != DEBUG_SERVERS),
    };
    let variables = std::env::vars_os().filter(|(name, _)| is_kept(name));
    let entry = |(name, value): (OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    Some(Program::new(
        text(tool.path.as_os_str())?,
        argv.map(text).collect::<Option<_>>()?,
        variables.filter_map(entry).collect(),
        Directory::Ours(c".".into()),
    ))
}
