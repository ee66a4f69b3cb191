//! Describes a process for messages: pid, command, age and user.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::process::Pid;

use super::stat::{is_dead, raw_stat};
use crate::sys::small_file::read_start;
use crate::sys::users::user_name;
use crate::text::{age, readable, shorten};

/// How many bytes of a command line are read. More would not help a person.
pub(crate) const COMMAND_LINE_SHOWN: usize = 4096;

/// One process at one moment.
#[derive(Clone, Debug)]
pub(crate) struct ProcessInfo {
    pub pid: Pid,
    pub uid: Option<u32>,
    pub age: Duration,
    /// Empty arguments are kept; a process without a command line shows its `[name]`.
    pub command: Vec<OsString>,
    pub is_zombie: bool,
}

impl ProcessInfo {
    /// `None` if the process is gone or its stat cannot be read.
    pub(crate) fn read(pid: Pid) -> Option<Self> {
        let stat = raw_stat(pid)?;
        let is_zombie = is_dead(&stat);
        Some(Self { is_zombie, ..Self::with_stat(pid, &stat.comm, stat.starttime)? })
    }

    /// Like [`Self::read`], for a living process whose stat was already read: its `name`, and `started`, its
    /// start time in clock ticks after boot.
    pub(crate) fn with_stat(pid: Pid, name: &str, started: u64) -> Option<Self> {
        // The owner of the directory is the effective user of the process (proc(5)).
        let uid = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let mut command = command_line(pid).unwrap_or_default();
        if command.is_empty() {
            command = vec![format!("[{name}]").into()];
        }
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let started = Duration::from_millis(started * 1000 / procfs::ticks_per_second());
        Some(Self {
            pid,
            uid: Some(uid),
            age: Duration::new(uptime.tv_sec as u64, uptime.tv_nsec as u32).saturating_sub(started),
            command,
            is_zombie: false,
        })
    }

    /// The name of its user, or the uid if it has no name.
    pub(crate) fn user(&self) -> String {
        self.uid.map_or("unknown user".into(), user_name)
    }

    /// The command line as a person would type it, with control characters escaped, cut to `width`
    /// characters.
    pub(crate) fn command_for_people(&self, width: usize) -> String {
        let words: Vec<_> = self.command.iter().map(|word| readable(&word.to_string_lossy())).collect();
        // Programs that change their command line can leave the rest of the old one blank.
        shorten(words.join(" ").trim_end(), width)
    }
}

/// `pid 4711 (uvicorn app:app, started 3 h ago by ci)`
impl fmt::Display for ProcessInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pid, command) = (self.pid, self.command_for_people(120));
        write!(f, "pid {pid} ({command}, started {} ago by {})", age(self.age), self.user())
    }
}

fn command_line(pid: Pid) -> io::Result<Vec<OsString>> {
    Ok(split_nul(&read_start(format!("/proc/{pid}/cmdline"), COMMAND_LINE_SHOWN + 1)?))
}

fn split_nul(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_the_running_test() {
        let info = ProcessInfo::read(rustix::process::getpid()).unwrap();
        assert!(info.age < Duration::from_secs(3600), "{info}");
        assert!(!info.command.is_empty());
    }
}
