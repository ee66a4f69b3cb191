//! Where the program begins, in place of std's own start. That reads `/proc/self/maps` to find the end of the stack, and
//! installs handlers that swallow the first SIGSEGV or SIGBUS that another process sends.

use std::os::fd::RawFd;

use nix::sys::signal::{SigHandler, Signal};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What std does before `main` and we need too.
pub(crate) fn prepare() {
    open_standard_streams();
    // SAFETY: SIG_IGN is no handler of ours, so nothing of ours runs in signal context.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// Opens /dev/null in place of each of them that is closed, because the next file that we open would be taken for it.
fn open_standard_streams() {
    const LAST: RawFd = 2;
    for number in 0..=LAST {
        // SAFETY: it is only asked whether this number is open.
        let stream = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        if rustix::io::fcntl_getfd(stream) == Err(Errno::BADF) {
            // The kernel gives the lowest number that is free: this one.
            let opened = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty())
                .or_else(|_| rustix::fs::open(c"/", OFlags::RDONLY, Mode::empty()));
            opened.ok().map(std::os::fd::IntoRawFd::into_raw_fd);
        }
    }
}

/// Begins the program with this function, which returns the exit code.
macro_rules! begin_with {
    ($start:path) => {
        // SAFETY: the C library calls the function with this name once, and no other one has it.
        #[unsafe(no_mangle)]
        extern "C" fn main(_count: i32, _arguments: *const *const std::ffi::c_char) -> i32 {
            $crate::sys::entry::prepare();
            $start()
        }
    };
}
pub(crate) use begin_with;
