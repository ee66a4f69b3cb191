//! A report that goes to a pipe that we inherited, as in `--report json=>(jq .)`: the shell passes `/dev/fd/63`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::runtime::clock;
use crate::sys::poll::timeout_until;

/// Where the kernel shows our descriptors.
const DIRECTORIES: [&str; 2] = ["/dev/fd", "/proc/self/fd"];
const OUTPUTS: [&str; 2] = ["/dev/stdout", "/dev/stderr"];
/// How long to wait for a reader that reads nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the pipe if the path names a descriptor of ours that is one.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    let is_ours = OUTPUTS.map(Path::new).contains(&path)
        || path.parent().is_some_and(|directory| DIRECTORIES.map(Path::new).contains(&directory));
    if !is_ours || !std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Ok(None);
    }
    // Opened again, so that the session's processes do not inherit it and its flags are ours alone.
    let pipe = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = pipe.metadata()?;
    let is_same = |other: rustix::fs::Stat| (other.st_dev, other.st_ino) == (metadata.dev(), metadata.ino());
    let outputs = [rustix::fs::fstat(rustix::stdio::stdout()), rustix::fs::fstat(rustix::stdio::stderr())];
    if outputs.into_iter().flatten().any(is_same) {
        return Err(io::Error::other("stdout or stderr goes there, and they belong to the command"));
    }
    Ok(Some(pipe))
}

/// Writes all of `text`, but gives up on a reader that reads nothing for `PATIENCE`.
pub(super) fn write(mut pipe: &File, text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    let mut deadline = clock::now() + PATIENCE;
    while !rest.is_empty() {
        match pipe.write(rest) {
            Ok(length) => {
                rest = &rest[length..];
                deadline = clock::now() + PATIENCE;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let timeout = timeout_until(deadline, clock::now());
                if let Ok(0) = poll(&mut [PollFd::new(&pipe, PollFlags::OUT)], timeout.as_ref()) {
                    return Err(io::Error::other("its reader does not read"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
