//! Waits for changes to a directory (inotify(7)).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

use super::poll::timeout_until;
use super::time::Instant;

/// Notices changes to the attributes of a directory, and its removal.
#[derive(Debug)]
pub(crate) struct DirectoryWatch(OwnedFd);

impl DirectoryWatch {
    pub(crate) fn of(directory: &Path) -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(&inotify, directory, WatchFlags::ATTRIB)?;
        // The removal of a cgroup is an event of its parent only.
        if let Some(parent) = directory.parent() {
            add_watch(&inotify, parent, WatchFlags::DELETE)?;
        }
        Ok(Self(inotify))
    }

    /// Waits until something has changed since the last call, for at most `limit`. Returns whether it has.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let now = Instant::now();
        let timeout = timeout_until(now + limit, now);
        let has_changed =
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()).is_ok_and(|it| it > 0);
        // If more events are pending, the next call returns at once, which does no harm.
        let _ = rustix::io::read(&self.0, &mut [0u8; 4096]);
        has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_attribute_and_a_removal_are_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("it");
        std::fs::create_dir(&directory).unwrap();
        let watch = DirectoryWatch::of(&directory).unwrap();
        assert!(!watch.wait(Duration::ZERO));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&directory, mode).unwrap();
        assert!(watch.wait(Duration::MAX));
        assert!(!watch.wait(Duration::ZERO));
        std::fs::remove_dir(&directory).unwrap();
        assert!(watch.wait(Duration::MAX));
    }
}
