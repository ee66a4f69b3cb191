//! A line between this process and a child. Each end sees when the other one is closed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

/// Longer than any message.
const LONGEST: usize = 4 << 10;

#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

impl Line {
    /// The end of each side. The child must drop ours, or it never sees that we have closed it.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), Self(theirs)))
    }

    /// A failure means that nobody listens any more.
    pub(crate) fn say(&self, message: &[u8]) {
        let _ = send(&self.0, message, SendFlags::NOSIGNAL);
    }

    /// The next message; empty if the other end is closed.
    pub(crate) fn hear(&self, limit: Duration) -> io::Result<Vec<u8>> {
        let limit = Timespec::try_from(limit).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit)) {
            Ok(0) => Err(io::Error::other(format!("no answer within {} s", limit.tv_sec))),
            Ok(_) => {
                let mut message = vec![0; LONGEST];
                let (length, _) = recv(&self.0, &mut message[..], RecvFlags::DONTWAIT)?;
                message.truncate(length);
                Ok(message)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the other end is closed.
    pub(crate) fn until_closed(&self) {
        let answer = || recv(&self.0, &mut [0u8; 1][..], RecvFlags::empty());
        while matches!(answer(), Ok((1.., _)) | Err(Errno::INTR)) {}
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
