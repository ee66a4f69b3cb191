//! The standard input of services and readiness commands, which yields nothing.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

/// An input that yields nothing, and does not end while the second descriptor is open. Watchers such as
/// `esbuild --watch` exit when their input ends.
///
/// The supervisor alone has the writer: it does not survive exec, and the guardian closes it. So the input ends
/// with the supervisor. Each service has its own, because a program that makes its input non-blocking does so for all
/// that share it.
pub(super) fn open_forever() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// An input that ends at once.
pub(super) fn open_ended() -> io::Result<OwnedFd> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    // Some containers have no /dev/null. The writer of this pipe is closed right here.
    null.map_or_else(|_| open_forever().map(|(reader, _)| reader), Ok)
}
