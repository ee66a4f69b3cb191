//! Opens files that others can have replaced: a FIFO would wait for its writer, and a device might have no end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a file for reading, without waiting; `None` if it is not a regular file. `flags` are added to those of open(2).
pub(crate) fn open_regular(path: impl AsRef<Path>, flags: i32) -> io::Result<Option<File>> {
    open_regular_with(OpenOptions::new().read(true), path, flags)
}

/// The same with these options.
pub(crate) fn open_regular_with(
    options: &mut OpenOptions,
    path: impl AsRef<Path>,
    flags: i32,
) -> io::Result<Option<File>> {
    let file = options.custom_flags(flags | libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let is_regular = file.metadata()?.is_file();
    Ok(is_regular.then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let (file, fifo, link) =
            (directory.path().join("a"), directory.path().join("b"), directory.path().join("c"));
        std::fs::write(&file, "").unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let opens = |path: &Path| open_regular(path, 0).unwrap().is_some();
        assert!(opens(&file) && opens(&link));
        assert!(!opens(&fifo) && !opens(directory.path()) && !opens(Path::new("/dev/null")));
        assert!(open_regular(&link, libc::O_NOFOLLOW).is_err());
        assert!(open_regular(directory.path().join("d"), 0).is_err());
    }
}
