//! Writes to stderr without ever blocking on it.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a write may wait for a reader that does not read.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
const NO_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Set once a reader kept us waiting in vain: we never wait again, because many lines may follow.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// How many bytes a pipe accepts at once if poll(2) says that it is writable (`PIPE_BUF`, pipe(7)).
const CHUNK: usize = 4096;

/// Writes `text` to stderr. If the reader is gone, the disk is full or nothing reads the pipe, the text is
/// lost, but this never blocks or kills us. Returns whether all of it was written.
pub(crate) fn to_stderr(text: &str) -> bool {
    let stderr = rustix::stdio::stderr();
    for chunk in text.as_bytes().chunks(CHUNK) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
            let patience = if GIVEN_UP.load(Ordering::Relaxed) { &NO_PATIENCE } else { &PATIENCE };
            if !matches!(poll(&mut fds, Some(patience)), Ok(1)) {
                GIVEN_UP.store(true, Ordering::Relaxed);
                return false;
            }
            match rustix::io::write(stderr, rest) {
                Ok(written) => rest = &rest[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
    true
}

/// Whether stderr is a terminal that we can draw on because we are in its foreground.
pub(crate) fn stderr_is_our_terminal() -> bool {
    let stderr = rustix::stdio::stderr();
    rustix::termios::isatty(stderr)
        && matches!(rustix::termios::tcgetpgrp(stderr), Ok(group) if group == rustix::process::getpgrp())
}

pub(crate) fn stderr_is_a_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stderr())
}

/// The width of the terminal on stdout in columns; `None` if there is none.
pub(crate) fn stdout_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// The width of the terminal on stderr in columns; 80 if it is unknown.
pub(crate) fn columns() -> usize {
    match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}
