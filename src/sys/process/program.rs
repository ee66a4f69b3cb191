//! A program and how it starts.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use super::identity::Identity;

/// Everything that execve(2) needs, prepared before the fork because the child must not allocate.
pub(crate) struct Program {
    pub(super) path: CString,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) directory: Directory,
}

/// Where a program runs.
pub(crate) enum Directory {
    /// In our own working directory, even if it could not enter that. This is the path.
    Ours(CString),
    Other(CString),
}

impl Program {
    /// The working directory, for people.
    pub(crate) fn cwd(&self) -> String {
        let (Directory::Ours(path) | Directory::Other(path)) = &self.directory;
        path.to_string_lossy().into_owned()
    }

    /// `path` is executed as given; `argv` includes the program's own name.
    pub(crate) fn new(path: CString, argv: Vec<CString>, env: Vec<CString>, directory: Directory) -> Self {
        Self { path, argv, env, directory }
    }
}

/// Which process group the program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Our process group, so that the terminal and the shell see one job.
    Shared,
    /// Its own process group.
    Own,
    /// Its own session (setsid(2)), which has no controlling terminal.
    Session,
}

/// The program's standard streams; `None` means ours.
#[derive(Clone, Copy, Default)]
pub(crate) struct Streams<'a> {
    pub input: Option<BorrowedFd<'a>>,
    /// Standard output and error.
    pub output: Option<BorrowedFd<'a>>,
}

/// How a program starts.
pub(crate) struct SpawnOptions<'a> {
    pub group: Group,
    pub streams: Streams<'a>,
    /// Keep ignoring the signals that were ignored on purpose when we started.
    pub keep_ignored: bool,
    /// The user it runs as, if not ours.
    pub identity: Option<&'a Identity>,
    /// Share our memory with it until it executes, which is faster. If its cgroup ran out of memory before that, the
    /// kernel would kill us too.
    pub shares_memory: bool,
}
