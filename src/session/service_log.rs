//! The services' output: each service of each run writes directly to a file of its own, so that no pipe can fill
//! up, and the output remains if cgrun is killed.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use crate::containment::SessionId;
use crate::runtime::state_directory;
use crate::sys::time;
use crate::text::{readable, shorten};

/// Logs of earlier runs are removed after this time.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// How many bytes at the end of a log are read for each line that is shown.
const READ_PER_LINE: u64 = 2048;
/// How much of each of its lines is shown (characters).
const LONGEST_SHOWN: usize = 500;

/// The log directory of one run. It is held open, and never opened through a symbolic link: if root runs a
/// session as another user, that user may own the parent directory.
#[derive(Debug)]
pub(super) struct Logs {
    path: PathBuf,
    directory: OwnedFd,
}

/// One service's log.
#[derive(Debug)]
pub(super) struct Log {
    pub path: PathBuf,
    pub file: File,
}

impl Logs {
    /// Creates this run's directory, in the one that the user chose or in the state directory, and removes those of
    /// old runs.
    pub(super) fn create(chosen: Option<&Path>, state: &Path, id: &SessionId) -> Result<Self> {
        let root = chosen.map_or_else(|| state.join(state_directory::LOGS), Path::to_path_buf);
        let path = root.join(id.directory());
        let made = match chosen {
            Some(root) => std::fs::create_dir_all(root),
            None => state_directory::create(&root),
        };
        let directory = made
            .and_then(|()| std::fs::create_dir(&path))
            .and_then(|()| open_directory(&path))
            .with_context(|| {
            format!("cannot create the log directory {}; choose another with --logs", path.display())
        })?;
        // While we are alive, this tells other runs that the logs are in use.
        let _ = flock(&directory, FlockOperation::NonBlockingLockShared);
        remove_old(&root);
        Ok(Self { path, directory })
    }

    pub(super) fn open(&self, service: &str) -> Result<Log> {
        let name = format!("{service}.log");
        let path = self.path.join(&name);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::from_raw_mode(0o644));
        let file = file.with_context(|| {
            format!("cannot write the log {}; choose another place with --logs", path.display())
        })?;
        Ok(Log { path, file: file.into() })
    }
}

impl Log {
    /// Up to `lines` last lines; empty if the log cannot be read.
    pub(super) fn tail(&self, lines: usize) -> Vec<String> {
        let text = self.end(lines as u64 * READ_PER_LINE).unwrap_or_default();
        let all: Vec<_> = text.lines().map(|line| shorten(&readable(line), LONGEST_SHOWN)).collect();
        all[all.len().saturating_sub(lines)..].to_vec()
    }

    /// The lines in the last `limit` bytes.
    fn end(&self, limit: u64) -> io::Result<String> {
        let length = self.file.metadata()?.len();
        let mut bytes = vec![0; length.min(limit) as usize];
        let read = self.file.read_at(&mut bytes, length.saturating_sub(limit))?;
        let text = String::from_utf8_lossy(&bytes[..read]);
        // The rest of a line would be mistaken for a line, and half a secret is not masked by a CI system.
        let whole = text.split_once('\n').filter(|_| length > limit).map(|(_, whole)| whole);
        Ok(whole.unwrap_or(&text).to_string())
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Removes only old directories whose name is one of ours and whose run is over. A failure does no harm.
fn remove_old(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().filter_map(Result::ok) {
        let ours = entry.file_name().to_str().is_some_and(|name| SessionId::of_directory(name).is_some());
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time::time_of_day().duration_since(time).ok());
        if ours && age.is_some_and(|age| age > KEPT) && !is_in_use(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the run is still alive. Some network file systems have no locks: there, only the age counts.
fn is_in_use(directory: &Path) -> bool {
    let locked = open_directory(directory)
        .and_then(|directory| Ok(flock(&directory, FlockOperation::NonBlockingLockExclusive)?));
    locked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
