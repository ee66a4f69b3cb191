//! What the teardowns on this host have found since it booted, for `cgrun sessions --format prometheus`. A host on which that
//! is wanted has the directory `/run/cgrun`; on others, nothing is counted.
//!
//! Each user has a file there, which only that user and root can read. That a session cannot be counted is no reason to fail,
//! or to wait.

mod counter;
mod host;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(crate) use counter::{BUCKETS, Counter, TEARDOWNS};
pub(crate) use host::{HostCounts, read_all};

use crate::sys::regular_file::open_regular_with;
use crate::sys::shared_counters::SharedCounters;
use crate::teardown::{Cause, Verdict};

/// Every user can make files in it, as in `/tmp`. It is emptied when the host boots.
pub(crate) const DIRECTORY: &str = "/run/cgrun";
/// The meaning of a counter never changes. A layout with other counters has another number.
const NAME: &str = "counts-1.";

/// Who tore down a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Supervisor,
    Guardian,
    Sweep,
}

/// Counts a teardown.
pub(crate) fn add(verdict: &Verdict, cause: &Cause, by: By) {
    if let Ok(counters) = open(Path::new(DIRECTORY)) {
        counter::of_teardown(verdict, cause, by).for_each(|(at, number)| counters.add(at, number));
    }
}

fn open(directory: &Path) -> io::Result<SharedCounters> {
    let us = rustix::process::geteuid().as_raw();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let file = open_regular_with(&mut options, path(directory, us), libc::O_NOFOLLOW)?;
    let file = file.ok_or_else(|| io::Error::other("it is not a regular file"))?;
    let metadata = file.metadata()?;
    // Anybody could have made it before us, or have linked another file of ours there.
    if metadata.uid() != us || metadata.nlink() != 1 {
        return Err(io::Error::other("it belongs to another user, or has a second name"));
    }
    SharedCounters::map(&file)
}

fn path(directory: &Path, uid: u32) -> PathBuf {
    directory.join(format!("{NAME}{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_has_planted_is_not_counted_in() {
        let directory = tempfile::tempdir().unwrap();
        let own = path(directory.path(), rustix::process::geteuid().as_raw());
        let other = directory.path().join("other");
        std::fs::write(&other, [7; 5000]).unwrap();
        std::os::unix::fs::symlink(&other, &own).unwrap();
        open(directory.path()).unwrap_err();
        std::fs::remove_file(&own).unwrap();
        std::fs::hard_link(&other, &own).unwrap();
        open(directory.path()).unwrap_err();
        std::fs::remove_file(&own).unwrap();
        nix::unistd::mkfifo(&own, nix::sys::stat::Mode::S_IRWXU).unwrap();
        open(directory.path()).unwrap_err();
        assert_eq!(std::fs::read(&other).unwrap(), [7; 5000]);
        std::fs::remove_file(&own).unwrap();
        open(directory.path()).unwrap().add(0, 1);
        assert_eq!(read_all(directory.path()).unwrap().counts.all()[0], 1);
    }

    #[test]
    fn counts_that_cannot_be_believed_are_missed() {
        let us = rustix::process::geteuid().as_raw();
        let planted: [fn(&Path, u32); 3] = [
            |directory, us| std::fs::write(path(directory, us + 1), [0; 4096]).unwrap(),
            |directory, us| std::fs::create_dir(path(directory, us + 1)).unwrap(),
            |directory, us| std::fs::write(path(directory, us), [7; 4096]).unwrap(),
        ];
        for (at, plant) in planted.into_iter().enumerate() {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("other"), "").unwrap();
            open(directory.path()).unwrap().add(0, 1);
            assert!(read_all(directory.path()).unwrap().is_complete);
            plant(directory.path(), us);
            let read = read_all(directory.path()).unwrap();
            assert!(!read.is_complete, "{at}");
            assert_eq!(read.counts.all()[0], u64::from(at < 2), "{at}");
        }
    }
}
