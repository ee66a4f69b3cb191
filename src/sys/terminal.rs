//! Writing to stderr without ever being held up by it.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a write may wait for a reader who does not read.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
const NO_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// A reader kept us waiting in vain once: that is enough, for there may be many lines to say.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// What poll(2) promises a pipe takes at once (`PIPE_BUF`, pipe(7)).
const CHUNK: usize = 4096;

/// Writes `text` to stderr. A reader that is gone, a full disk, or a pipe that nobody empties
/// loses the text; it never blocks or ends us.
pub(crate) fn to_stderr(text: &str) {
    let stderr = rustix::stdio::stderr();
    for chunk in text.as_bytes().chunks(CHUNK) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
            let patience = if GIVEN_UP.load(Ordering::Relaxed) { &NO_PATIENCE } else { &PATIENCE };
            if !matches!(poll(&mut fds, Some(patience)), Ok(1)) {
                GIVEN_UP.store(true, Ordering::Relaxed);
                return;
            }
            match rustix::io::write(stderr, rest) {
                Ok(written) => rest = &rest[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether stderr is a terminal that we may draw on: we are in its foreground.
pub(crate) fn stderr_is_our_terminal() -> bool {
    let stderr = rustix::stdio::stderr();
    rustix::termios::isatty(stderr)
        && matches!(rustix::termios::tcgetpgrp(stderr), Ok(group) if group == rustix::process::getpgrp())
}

pub(crate) fn stderr_is_a_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stderr())
}

/// Whether this process has a controlling terminal (tty(4)).
pub(crate) fn has_terminal() -> bool {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open("/dev/tty", flags, rustix::fs::Mode::empty()).is_ok()
}

/// Width of the terminal on stderr in columns; 80 where it is unknown.
pub(crate) fn columns() -> usize {
    match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}
