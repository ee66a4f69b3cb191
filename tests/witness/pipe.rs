//! The write end of a pipe: see poll(2).

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether any process holds the write end of the pipe whose read end this is.
pub(super) fn has_writer(reader: impl AsFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(&reader, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once))?;
    Ok(!polled[0].revents().contains(PollFlags::HUP))
}
