//! Whether a file is in use, without looking at any process: a lease is granted only on a file that nobody else has open
//! (`F_SETLEASE` in fcntl(2)). What is mapped is open too.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::regular_file::open_regular_with;

/// linux/fcntl.h
const F_SETSIG: i32 = 10;

/// Whether another process has the file open, at least for writing. An error if that cannot be determined.
pub(crate) fn is_in_use(path: &Path) -> io::Result<bool> {
    match open_regular_with(OpenOptions::new().read(true), path, libc::O_NOFOLLOW) {
        Ok(Some(file)) => has_other_users(&file),
        Ok(None) => Err(io::Error::other("it is not a regular file")),
        // Somebody has a lease on it.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

/// The lease ends when the file is closed. Until then, who opens the file waits for that moment.
fn has_other_users(file: &File) -> io::Result<bool> {
    // If somebody waits, the kernel tells us so with SIGIO, of which we would die. SIGURG is ignored.
    // SAFETY: this call takes a number and writes no memory (fcntl(2)).
    if unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } == 0 {
        return Ok(false);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_use_while_it_is_open_for_writing() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("x");
        let file = File::create(&path).unwrap();
        assert!(is_in_use(&path).unwrap());
        drop(file);
        assert!(!is_in_use(&path).unwrap());
        is_in_use(&directory.path().join("missing")).unwrap_err();
    }
}
