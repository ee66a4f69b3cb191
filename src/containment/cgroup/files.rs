//! Reading and writing the files of a cgroup (Documentation/admin-guide/cgroup-v2.rst).

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::containment::error::ContainmentError;

/// Opens without creating: on a wrong path this must fail, not make a plain file.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

pub(crate) fn write(path: &Path, value: &[u8]) -> Result<(), ContainmentError> {
    open_for_writing(path)
        .and_then(|mut file| file.write_all(value))
        .map_err(ContainmentError::on("write to", path))
}

/// The words of a file, such as the names in `cgroup.controllers`.
pub(crate) fn read_words(directory: &Path, file: &str) -> Result<BTreeSet<String>, ContainmentError> {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).map_err(ContainmentError::on("read", &path))?;
    Ok(text.split_whitespace().map(str::to_string).collect())
}

/// The text of a file; `None` if this host does not provide it, because the controller is missing or pressure
/// is turned off.
pub(crate) fn read_text(directory: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(directory.join(file)).ok()
}

/// The number in a file that contains only one.
pub(crate) fn read_number(directory: &Path, file: &str) -> Option<u64> {
    read_text(directory, file)?.trim().parse().ok()
}

/// The number after `key` in a flat keyed file.
pub(crate) fn read_keyed(directory: &Path, file: &str, key: &str) -> Option<u64> {
    keyed_value(&read_text(directory, file)?, key)
}

/// The number after `key` in a flat keyed text, such as `user_usec 123`.
pub(crate) fn keyed_value(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key)?.1.parse().ok()
}

/// Whether the cgroup is at its process limit. Without a limit it never is.
pub(crate) fn is_full(directory: &Path) -> bool {
    let (current, most) = (read_number(directory, "pids.current"), read_number(directory, "pids.max"));
    current.zip(most).is_some_and(|(current, most)| current >= most)
}

/// Whether this is the root of the hierarchy, the one cgroup that may have both processes and controllers.
/// Only the root has no `cgroup.type`.
pub(crate) fn is_root(directory: &Path) -> bool {
    !directory.join("cgroup.type").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_full_at_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
        assert!(!is_full(directory.path()));
        write("pids.current", "5\n");
        for (most, full) in [("max\n", false), ("6\n", false), ("5\n", true), ("4\n", true)] {
            write("pids.max", most);
            assert_eq!(is_full(directory.path()), full, "{most}");
        }
    }
}
