//! The leak log: a file of the session to which hooks of test runners write what they have ended, so that it is reported like
//! everything else that leaked. Hooks append each line with one write, and the kernel does not mix those.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::leak::Leak;
use super::log_entry::LogEntry;
use crate::containment::SessionId;
use crate::sys::process::identity::Identity;
use crate::sys::regular_file::open_regular_with;

/// The variable that tells the processes of a session where its log is; empty if it has none.
pub(crate) const LEAK_LOG: &str = "CGRUN_LEAK_LOG";

/// About 15,000 processes.
pub(crate) const LARGEST: u64 = 16 << 20;
/// So many processes are described. The others are only counted.
const DESCRIBED: usize = 10_000;

/// The session's own log. It is read through the descriptor, since everybody in the session can replace the file.
#[derive(Debug)]
pub(crate) struct LeakLog {
    path: PathBuf,
    file: File,
}

/// What the log says.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    pub ended: Vec<Leak>,
    /// What is still running is allowed to if it is one of these.
    pub allowed: HashSet<(i32, u64)>,
    /// How many others were ended, including entries that cannot be read.
    pub undescribed: usize,
}

impl LeakLog {
    /// An empty one, to which the session's user can write. `None` if that is not possible, which hooks complain about.
    pub(crate) fn create(id: &SessionId, identity: Option<&Identity>) -> Option<Self> {
        let path = std::path::absolute(path_of(id)).ok()?;
        let file =
            OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path).ok()?;
        let log = Self { path, file };
        let user = identity.and_then(|identity| identity.user.as_ref());
        let given = user.map(|(user, _)| fchown(&log.file, Some(user.uid.as_raw()), Some(user.gid.as_raw())));
        if given.is_some_and(|given| given.is_err()) {
            log.remove();
            return None;
        }
        Some(log)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn read(&self) -> Logged {
        match read(&self.file) {
            Ok((bytes, is_all)) => {
                let mut logged = Logged::parse(&bytes);
                logged.undescribed += usize::from(!is_all);
                logged
            }
            Err(_) => Logged { undescribed: 1, ..Logged::default() },
        }
    }

    /// Nothing is written to it any more.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn path_of(id: &SessionId) -> PathBuf {
    std::env::temp_dir().join(format!("cgrun-{id}.leaks"))
}

/// Removes the log of a session whose supervisor and guardian were killed.
pub(crate) fn remove_stale_log(id: &SessionId) {
    let _ = std::fs::remove_file(path_of(id));
}

/// At most [`LARGEST`] bytes, and whether these are all.
fn read(file: &File) -> io::Result<(Vec<u8>, bool)> {
    let length = file.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(length.min(LARGEST)).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok((bytes, length <= LARGEST))
}

impl Logged {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut logged = Self::default();
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        for (number, line) in lines.enumerate() {
            let (by, processes) = match serde_json::from_slice(line) {
                Ok(LogEntry::Ended { by, processes }) => (by, processes),
                Ok(LogEntry::Allowed { processes }) => {
                    logged.allowed.extend(processes);
                    continue;
                }
                Err(_) => {
                    logged.undescribed += 1;
                    continue;
                }
            };
            for process in processes {
                let leak = (logged.ended.len() < DESCRIBED).then(|| process.into_leak(by, number)).flatten();
                logged.undescribed += usize::from(leak.is_none());
                logged.ended.extend(leak);
            }
        }
        logged
    }
}

/// Adds an entry to the log at this path, if that belongs to one of these users.
pub(crate) fn append_to_log(path: &Path, entry: &LogEntry, owners: &[u32]) -> io::Result<()> {
    let foreign = || io::Error::other("it is not the session's");
    let options = &mut OpenOptions::new();
    let mut file = open_regular_with(options.append(true), path, libc::O_NOFOLLOW)?.ok_or_else(foreign)?;
    if !owners.contains(&file.metadata()?.uid()) {
        return Err(foreign());
    }
    let line = serde_json::to_string(entry)? + "\n";
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::leaks::EndedBy;

    /// A line about this process, as a hook would write it.
    fn line() -> String {
        let stat = crate::sys::procfs::stat::stat_text(rustix::process::getpid()).unwrap();
        let process = serde_json::json!({
            "stat": stat, "command_line": ["sleep", "9"], "executable": null, "uid": 0, "age_seconds": 1.5,
            "started_during": {"runner": "pytest", "test": "a.py::b\u{1b}", "phase": null, "worker": null, "evidence": "plugin"},
        });
        serde_json::json!({"ended": {"by": "pytest plugin", "processes": [process, process]}}).to_string()
    }

    #[test]
    fn what_cannot_be_read_counts_and_spoils_nothing_else() {
        let (good, other) = (line(), line().replace("pytest plugin", "someone"));
        let text =
            format!("{good}\n\n{{}}\n\u{0}\n{other}\n{}\n{good}\n{}", good.replace("1.5", "-1"), &good[..99]);
        let logged = Logged::parse(text.as_bytes());
        assert_eq!((logged.ended.len(), logged.undescribed), (4, 6));
        let origin = logged.ended[0].started_during.clone().unwrap();
        assert_eq!((origin.runner, origin.test.as_deref()), ("pytest", Some("a.py::b\\u{1b}")));
        assert_eq!(logged.ended[0].ended_by(), Some(EndedBy::PytestPlugin));
        assert_ne!(logged.ended[0].place(), logged.ended[2].place(), "each entry has pids of its own");
    }

    #[test]
    fn so_many_processes_are_counted_only() {
        let logged = Logged::parse([line().as_str()].repeat(DESCRIBED / 2 + 3).join("\n").as_bytes());
        assert_eq!((logged.ended.len(), logged.undescribed), (DESCRIBED, 6));
    }

    #[test]
    fn a_log_that_has_grown_without_bounds_is_read_in_part() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, line() + "\n").unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let logged = LeakLog { path, file }.read();
        assert_eq!((logged.ended.len(), logged.undescribed), (2, 2));
    }

    #[test]
    fn only_a_file_of_the_session_is_appended_to() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link, fifo] = ["file", "link", "fifo"].map(|name| directory.path().join(name));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let entry = LogEntry::Ended { by: EndedBy::Ps, processes: Vec::new() };
        let us = rustix::process::geteuid().as_raw();
        for (path, owner) in [(&link, us), (&fifo, us), (&file, us + 1), (&directory.path().join("none"), us)]
        {
            assert!(append_to_log(path, &entry, &[owner]).is_err(), "{}", path.display());
        }
        append_to_log(&file, &entry, &[us]).unwrap();
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "{\"ended\":{\"by\":\"cgrun ps\",\"processes\":[]}}\n"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_to_it_is_fatal(at in 0usize..400, garbage in ".{0,6}") {
            let mut line = line().into_bytes();
            let at = at.min(line.len() - 1);
            line.splice(at..at + 1, garbage.into_bytes());
            let logged = Logged::parse(&line);
            prop_assert!(logged.ended.len() <= 2);
        }
    }
}
