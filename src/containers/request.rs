//! One request to an engine: HTTP/1.0, so that the answer ends with the connection and needs no further framing (RFC 1945).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};

use super::exchange::{Answer, parse};
use crate::sys::poll::timeout_until;
use crate::sys::time::Instant;

/// A host with thousands of containers says less than this.
const LONGEST: usize = 32 << 20;

#[derive(Debug)]
pub(super) struct Request(UnixStream);

/// Sends the request. It is small enough for any socket buffer.
pub(super) fn get(mut stream: UnixStream, path: &str) -> io::Result<Request> {
    stream.write_all(
        format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: cgrun\r\n\r\n").as_bytes(),
    )?;
    stream.set_nonblocking(true)?;
    Ok(Request(stream))
}

impl Request {
    /// The body of the answer.
    pub(super) fn answer(mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        let mut chunk = [0; 16 << 10];
        loop {
            match self.0.read(&mut chunk) {
                Ok(0) => return body(&answer),
                Ok(length) => answer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(deadline)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if answer.len() > LONGEST {
                return Err(io::Error::other(format!("its answer is longer than {} MiB", LONGEST >> 20)));
            }
        }
    }

    fn wait(&self, deadline: Instant) -> io::Result<()> {
        let timeout = timeout_until(deadline, Instant::now());
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => Err(io::Error::other("it did not answer in time")),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn body(answer: &[u8]) -> io::Result<Vec<u8>> {
    match parse(answer)? {
        Answer { code: 200, body } => Ok(body),
        Answer { code, .. } => Err(io::Error::other(format!("it answers with HTTP {code}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ask(answer: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let request = get(ours, "/x").unwrap();
        let mut asked = [0; 1024];
        assert!(theirs.read(&mut asked).unwrap() > 10);
        theirs.write_all(answer).unwrap();
        if limit > Duration::from_secs(1) {
            drop(theirs);
            return request.answer(Instant::now() + limit);
        }
        request.answer(Instant::now() + limit)
    }

    #[test]
    fn the_body_is_what_follows_the_headers() {
        let long = Duration::from_secs(5);
        assert_eq!(ask(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n[]\n", long).unwrap(), b"[]\n");
        for wrong in [&b""[..], b"HTTP/1.0 200 OK\r\n", b"HTTP/1.0 500 No\r\n\r\n{}", b"nonsense\r\n\r\n"] {
            ask(wrong, long).unwrap_err();
        }
    }

    #[test]
    fn an_engine_that_hangs_is_waited_for_until_the_deadline() {
        let error = ask(b"HTTP/1.0 200 OK\r\n\r\n", Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.to_string(), "it did not answer in time");
    }
}
