//! The directories of sessions of which everything was killed.

use std::fs::DirEntry;
use std::io::ErrorKind::{ConnectionRefused, NotFound};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::geteuid;

use super::NAMES;
use super::directory::SUFFIX;
use crate::containment::SessionId;
use crate::sys::connect::connect_unix_within;
use crate::sys::time::time_of_files;

/// One that is being made has no sockets yet.
const YOUNG: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_millis(50);

/// Removes those in `parent` whose sockets nobody serves, as far as we are allowed to.
pub(super) fn remove(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(SessionId::of_directory);
        let is_old = || {
            let changed = entry.metadata().and_then(|it| it.modified()).ok();
            changed.and_then(|at| time_of_files().duration_since(at).ok()).is_some_and(|age| age > YOUNG)
        };
        // A link could lead anywhere.
        if id.is_some() && entry.file_type().is_ok_and(|it| it.is_dir()) && is_own(&entry) && is_old() {
            remove_if_dead(&entry.path());
        }
    }
}

/// Another user could put a link in the way meanwhile.
fn is_own(entry: &DirEntry) -> bool {
    entry.metadata().is_ok_and(|it| it.uid() == geteuid().as_raw())
}

/// What else is in it keeps it.
fn remove_if_dead(directory: &Path) {
    let sockets = NAMES.map(|name| directory.join(name));
    let is_dead = |path: &Path| {
        connect_unix_within(path, CONNECT)
            .is_err_and(|error| [ConnectionRefused, NotFound].contains(&error.kind()))
    };
    if sockets.iter().all(|path| is_dead(path)) {
        for path in sockets {
            let _ = std::fs::remove_file(path);
        }
        let _ = std::fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_what_nobody_serves_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, age: Duration| {
            let directory = parent.path().join(name);
            std::fs::create_dir(&directory).unwrap();
            let listener = UnixListener::bind(directory.join(NAMES[0])).unwrap();
            let times = FileTimes::new().set_modified(time_of_files() - age);
            File::open(&directory).unwrap().set_times(times).unwrap();
            listener
        };
        let old = YOUNG * 2;
        let serving = make("cgrun-bcdfghjk-engines", old);
        drop(make("cgrun-bcdfghjm-engines", old));
        drop(make("cgrun-bcdfghjn-engines", Duration::ZERO));
        drop(make("cgrun-of-somebody-engines", old));
        remove(parent.path());
        let mut left: Vec<_> =
            std::fs::read_dir(parent.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["cgrun-bcdfghjk-engines", "cgrun-bcdfghjn-engines", "cgrun-of-somebody-engines"]);
        drop(serving);
    }
}
