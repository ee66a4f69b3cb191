//! Shows the output of the shards, of one after the other: the one that is shown is followed live, and what the others
//! write meanwhile waits in their spools.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::running_shard::RunningShard;
use super::spool::Stream;
use super::verdict;
use crate::report::Reporter;
use crate::runtime::events::Wake;

/// A pipe that is ready takes so much without making us wait (pipe(7), `PIPE_BUF`).
const AT_ONCE: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Printer {
    /// The position of the shard that is shown.
    current: Option<usize>,
    /// Those that were shown to their end.
    shown: Vec<usize>,
    /// Those that take nothing any more, with the reason.
    closed: Vec<(Stream, Errno)>,
}

impl Printer {
    /// Shows as much as our outputs take at once.
    pub(super) fn show(&mut self, shards: &mut [RunningShard], report: &Reporter) -> io::Result<()> {
        while let Some(current) = self.current.or_else(|| self.next(shards)) {
            self.current = Some(current);
            let shard = &mut shards[current];
            if !self.empty(shard, report)? || shard.is_running() {
                return Ok(());
            }
            if !shard.has_failed() {
                verdict::say_how_it_ended(shard, report);
            }
            self.shown.push(current);
            self.current = None;
        }
        Ok(())
    }

    /// One that has ended, or else one that runs.
    fn next(&self, shards: &[RunningShard]) -> Option<usize> {
        let mut rest = (0..shards.len()).filter(|at| !self.shown.contains(at));
        rest.clone().find(|&at| !shards[at].is_running()).or_else(|| rest.next())
    }

    /// Returns whether everything was shown.
    fn empty(&mut self, shard: &mut RunningShard, report: &Reporter) -> io::Result<bool> {
        let mut buffer = [0; AT_ONCE];
        while let Some(stream) = shard.spool.next_stream() {
            let bytes = shard.spool.peek(&mut buffer)?;
            let written = if self.closed.iter().any(|(closed, _)| *closed == stream) {
                bytes.len()
            } else if is_ready(fd(stream)) {
                report.clear();
                match rustix::io::write(fd(stream), bytes) {
                    Ok(length) => length,
                    Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                    Err(errno) => {
                        self.closed.push((stream, errno));
                        bytes.len()
                    }
                }
            } else {
                return Ok(false);
            };
            shard.spool.advance(written);
        }
        Ok(true)
    }

    /// The streams whose reader has gone.
    pub(super) fn unread(&self) -> impl Iterator<Item = Stream> {
        self.closed.iter().filter(|(_, errno)| *errno == Errno::PIPE).map(|(stream, _)| *stream)
    }

    /// Why output was lost, other than that nobody wanted it.
    pub(super) fn failure(&self) -> Option<Errno> {
        self.closed.iter().map(|(_, errno)| *errno).find(|errno| *errno != Errno::PIPE)
    }

    pub(super) fn is_done(&self, shards: &[RunningShard]) -> bool {
        self.shown.len() == shards.len()
    }

    /// What to wait for if not everything was shown.
    pub(super) fn wake(&self, shards: &[RunningShard]) -> Option<Wake<'static>> {
        let stream = shards[self.current?].spool.next_stream()?;
        Some(Wake::writable(fd(stream)))
    }
}

fn fd(stream: Stream) -> BorrowedFd<'static> {
    match stream {
        Stream::Out => rustix::stdio::stdout(),
        Stream::Err => rustix::stdio::stderr(),
    }
}

fn is_ready(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&now)), Ok(0))
}
