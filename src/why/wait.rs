//! What a thread can wait for.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use rustix::process::Pid;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wait {
    /// By this signal, if it is known.
    Stopped(Option<i32>),
    Traced(Option<Pid>),
    /// The share of one CPU that it used lately.
    Busy(f64),
    Child(Children),
    Read(File),
    Write(File),
    /// Any of these.
    Events(Vec<(Direction, File)>),
    Connect(File),
    Accept(File),
    /// Opening a FIFO waits for the other end.
    Open(OsString, Direction),
    /// A lock of a file.
    FileLock(File),
    /// A lock, or whatever else a thread waits for in memory.
    Futex {
        shared: bool,
    },
    /// For so long.
    Sleep(Option<Duration>),
    Signal,
    /// A lock within a database.
    DatabaseLock,
    /// A server of a database, for the next statement of a transaction.
    Transaction,
    /// It cannot be interrupted: the function of the kernel.
    Uninterruptible(Option<String>),
    /// Another system call, or the function of the kernel.
    Other(String),
    /// It does not wait, and hardly uses the CPU.
    Running,
    /// It is hidden, or cannot be understood: what little is known.
    Unknown(Option<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Children {
    Any,
    Group(i32),
    /// `None` if it has exited, or cannot be seen.
    One(Option<Pid>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// An open file of the process that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// `None` if only the kind of the file is known.
    pub number: Option<i32>,
    pub kind: FileKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The name in `/proc/PID/fd`, which both ends share.
    Pipe(OsString),
    Socket(u32),
    /// A terminal, as the programs at it have it open.
    Terminal(String),
    /// Its other end: `/dev/ptmx`, and the number of the terminal.
    Master(Option<u32>),
    Process(Option<Pid>),
    /// An eventfd, a timerfd, and so on: the kernel's name.
    Anonymous(String),
    Path(OsString),
    /// It was closed, or is hidden.
    Unknown,
}

impl File {
    pub(super) fn unknown(number: Option<i32>) -> Self {
        Self { number, kind: FileKind::Unknown }
    }
}

impl FileKind {
    pub(super) fn of_target(target: &OsStr) -> Self {
        let text = target.to_string_lossy();
        if text.starts_with("pipe:[") {
            return Self::Pipe(target.into());
        }
        if let Some(inode) = text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            return inode.parse().map_or(Self::Unknown, Self::Socket);
        }
        if let Some(name) = text.strip_prefix("anon_inode:") {
            return Self::Anonymous(name.trim_matches(['[', ']']).into());
        }
        match Self::is_terminal(target) {
            true if text.ends_with("/ptmx") => Self::Master(None),
            true => Self::Terminal(text.into()),
            false => Self::Path(target.into()),
        }
    }

    pub(super) fn is_terminal(target: &OsStr) -> bool {
        let bytes = target.as_encoded_bytes();
        ["/dev/pts/", "/dev/tty", "/dev/console", "/dev/ptmx"]
            .iter()
            .any(|it| bytes.starts_with(it.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_file_is_in_its_name() {
        let of = |name: &str| FileKind::of_target(name.as_ref());
        assert_eq!(of("pipe:[7]"), FileKind::Pipe("pipe:[7]".into()));
        assert_eq!(of("socket:[7]"), FileKind::Socket(7));
        assert_eq!(of("socket:[x]"), FileKind::Unknown);
        assert_eq!(of("anon_inode:[eventfd]"), FileKind::Anonymous("eventfd".into()));
        assert_eq!(of("anon_inode:inotify"), FileKind::Anonymous("inotify".into()));
        assert_eq!(of("/dev/pts/3"), FileKind::Terminal("/dev/pts/3".into()));
        assert_eq!(of("/dev/tty"), FileKind::Terminal("/dev/tty".into()));
        assert_eq!((of("/dev/ptmx"), of("/dev/pts/ptmx")), (FileKind::Master(None), FileKind::Master(None)));
        assert_eq!(of("/tmp/pipe:[7]"), FileKind::Path("/tmp/pipe:[7]".into()));
    }
}
