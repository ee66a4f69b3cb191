//! Connects within a time limit that the kernel measures.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_error};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::poll::timeout_until;
use super::time::Instant;

/// Connects to `address`. The stream does not block.
pub(crate) fn connect_within(address: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, address) {
        Ok(()) => return Ok(socket.into()),
        Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let deadline = Instant::now() + limit;
    loop {
        let timeout = timeout_until(deadline, Instant::now());
        match poll(&mut [PollFd::new(&socket, PollFlags::OUT)], timeout.as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    socket_error(&socket)??;
    Ok(socket.into())
}

/// Connects to the socket at `path`. The kernel would wait without a limit for room in the backlog of a server that hangs
/// (unix(7)). `limit` also applies to each later write.
pub(crate) fn connect_unix_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(socket.into()),
        Err(Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Connects to the socket at `path` without ever waiting. `None` if the server's backlog is full for now. The stream does
/// not block.
pub(crate) fn try_connect_unix(path: &Path) -> io::Result<Option<UnixStream>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(Some(socket.into())),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listener_accepts_and_a_port_without_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_secs(5);
        assert_eq!(connect_within(&address, limit).unwrap().peer_addr().unwrap(), address);
        drop(listener);
        let refused = connect_within(&address, limit).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// Keeps the connections until one fails.
    fn until_error<T>(connect: impl Fn() -> io::Result<T>) -> (Vec<T>, io::Error) {
        let mut streams = Vec::new();
        loop {
            match connect() {
                Ok(stream) => streams.push(stream),
                Err(error) => return (streams, error),
            }
        }
    }

    #[test]
    fn a_full_backlog_is_waited_for_as_long_as_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_millis(50);
        let (accepted, error) = until_error(|| connect_within(&address, limit));
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(accepted.len() < 5, "{}", accepted.len());
    }

    #[test]
    fn a_server_that_accepts_nothing_is_waited_for_as_long_as_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let limit = Duration::from_millis(50);
        assert_eq!(connect_unix_within(&path, limit).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let (waiting, error) = until_error(|| connect_unix_within(&path, limit));
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((1..5).contains(&waiting.len()), "{}", waiting.len());
        assert!(try_connect_unix(&path).unwrap().is_none());
        drop(listener.accept().unwrap());
        assert!(try_connect_unix(&path).unwrap().is_some());
    }
}
