//! Proof that nothing is left of a session, from the kernel's own files.
//!
//! This shares no code with cgrun, so it is independent evidence. The tests use it directly; `scripts/chaos`,
//! `scripts/demo` and the tests in the virtual machine run it as a program (see `main.rs`).
//!
//! A [`Search`] that cannot read something fails; it never reports that nothing is left.

pub(crate) mod cgroups;
pub(crate) mod locks;
mod pipe;
pub(crate) mod ports;
mod processes;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The pause between two searches.
const PAUSE: Duration = Duration::from_millis(3);

/// The places to search. Anything found there is a leftover.
#[derive(Default)]
pub(crate) struct Search {
    /// Cgroups that must contain neither processes nor other cgroups.
    pub cgroups: Vec<PathBuf>,
    /// Cgroups below which no cgroup named `cgrun-*` may exist, at any depth.
    pub roots: Vec<PathBuf>,
    /// TCP ports of this thread's network namespace that must not be listened on.
    pub ports: Vec<u16>,
    /// No TCP port of this thread's network namespace may be listened on.
    pub every_port: bool,
    /// Text that no process may have in its command line, environment or working directory.
    pub marks: Vec<String>,
    /// Text that no process may have in its command line. Unlike a mark, this needs no privileges.
    pub command_lines: Vec<String>,
    /// Processes that must have no children apart from this one.
    pub parents: Vec<u32>,
    /// Directories in which no file may be locked.
    pub locks: Vec<PathBuf>,
    /// No process may hold the write end of the pipe that is standard input.
    pub input_pipe: bool,
}

/// A part of a session that still exists.
pub(crate) enum Leftover {
    Process {
        pid: u32,
        command_line: String,
        reason: String,
    },
    Cgroup(PathBuf),
    Port(u16),
    /// A file that a living process holds locked.
    Lock(PathBuf),
    InputPipe,
}

impl fmt::Display for Leftover {
    /// Formats one line, which starts with the kind.
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Process { pid, command_line, reason } => {
                write!(out, "process {pid} ({command_line}) {reason}")
            }
            Self::Cgroup(path) => write!(out, "cgroup {} exists", path.display()),
            Self::Port(port) => write!(out, "port {port} is listened on"),
            Self::Lock(path) => write!(out, "lock {} is held", path.display()),
            Self::InputPipe => write!(out, "pipe on standard input is held by a writer"),
        }
    }
}

impl fmt::Debug for Leftover {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Search {
    /// Everything that is left.
    ///
    /// # Errors
    /// Fails if something could not be read, because then it is not known whether anything is left.
    pub(crate) fn leftovers(&self) -> io::Result<Vec<Leftover>> {
        let mut found = Vec::new();
        for path in &self.cgroups {
            cgroups::require(path)?;
            let is_in = |pid| processes::leftover(pid, format!("is in {}", path.display()));
            found.extend(cgroups::members(path)?.into_iter().map(is_in));
            found.extend(cgroups::children(path)?.into_iter().map(Leftover::Cgroup));
        }
        for root in &self.roots {
            cgroups::require(root)?;
            let sessions = cgroups::descendants(root)?.into_iter().filter(|path| is_session(path));
            found.extend(sessions.map(Leftover::Cgroup));
        }
        if self.every_port || !self.ports.is_empty() {
            let is_watched = |port: &u16| self.every_port || self.ports.contains(port);
            found.extend(ports::listening()?.into_iter().filter(is_watched).map(Leftover::Port));
        }
        found.extend(processes::leftovers(self)?);
        for directory in &self.locks {
            found.extend(locks::held(directory)?.into_iter().map(Leftover::Lock));
        }
        if self.input_pipe && pipe::has_writer(io::stdin())? {
            found.push(Leftover::InputPipe);
        }
        Ok(found)
    }

    /// Searches until nothing is left, or for at most `limit`, because a killed process takes a moment to exit.
    ///
    /// # Errors
    /// Fails like [`leftovers`](Self::leftovers), if it still fails after `limit`.
    pub(crate) fn leftovers_after(&self, limit: Duration) -> io::Result<Vec<Leftover>> {
        let deadline = Instant::now() + limit;
        loop {
            let found = self.leftovers();
            if found.as_ref().is_ok_and(Vec::is_empty) || Instant::now() >= deadline {
                return found;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn is_session(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"cgrun-"))
}

/// Adds the path to an error that does not name it.
fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.to_path_buf();
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// An object that disappeared while it was read is not left.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [rustix::io::Errno::NOENT, rustix::io::Errno::SRCH, rustix::io::Errno::NODEV]
        .iter()
        .any(|gone| code == Some(gone.raw_os_error()))
}
