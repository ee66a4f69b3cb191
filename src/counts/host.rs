//! The counts of all users of the host.

use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::NAME;
use super::counter::Counts;
use crate::sys::regular_file::open_regular;
use crate::sys::shared_counters;

#[derive(Debug)]
pub(crate) struct HostCounts {
    pub counts: Counts,
    /// Whether there are no users whose counts we cannot read or believe.
    pub is_complete: bool,
}

/// Adds up what the users of the host have counted. `None` if nothing is counted on this host.
pub(crate) fn read_all(directory: &Path) -> Option<HostCounts> {
    let mut all = HostCounts { counts: Counts::zero(), is_complete: true };
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        entries => entries,
    };
    all.is_complete = entries.is_ok();
    for entry in entries.into_iter().flatten() {
        let Ok(entry) = entry else {
            all.is_complete = false;
            continue;
        };
        let name = entry.file_name();
        let Some(uid) = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse().ok()) else {
            continue;
        };
        all.is_complete &= match read(&entry.path(), uid) {
            Ok(Some(bytes)) => match shared_counters::parse(&bytes) {
                Some(counters) => all.counts.add(&counters),
                // It was made this moment.
                None => bytes.is_empty(),
            },
            // If another user has taken the name, this one is not counted.
            Ok(None) | Err(_) => false,
        };
    }
    Some(all)
}

/// The file of this user; `None` if another user has made it, or if it is no file.
fn read(path: &Path, uid: u32) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open_regular(path, libc::O_NOFOLLOW)? else { return Ok(None) };
    if file.metadata()?.uid() != uid {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(size_of::<[u64; shared_counters::COUNTERS]>() as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
