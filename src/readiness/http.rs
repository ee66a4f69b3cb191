//! One HTTP GET at a time, without blocking: does the service answer, and well?

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::plan::Url;
use crate::runtime::clock;

/// A status line is shorter than this, whatever headers follow it.
const LONGEST: usize = 8 * 1024;
/// The listener is known to be on this host, so that connecting takes microseconds unless its
/// backlog is full.
const CONNECT: Duration = Duration::from_millis(50);
/// How long one request may take before another is tried.
const ANSWER: Duration = Duration::from_secs(5);

/// A GET under way.
#[derive(Debug)]
pub struct Request {
    stream: TcpStream,
    answer: Vec<u8>,
    deadline: Instant,
}

/// What came of a GET.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    Failed(String),
}

impl Request {
    /// Asks at the first of `addresses` that can be connected to.
    pub fn send(url: &Url, addresses: &[IpAddr]) -> io::Result<Self> {
        let mut stream = Err(io::Error::other("no address"));
        for &address in addresses {
            stream =
                stream.or_else(|_| TcpStream::connect_timeout(&SocketAddr::new(address, url.port), CONNECT));
        }
        let mut stream = stream?;
        stream.set_nonblocking(true)?;
        let (target, authority) = (&url.target, &url.authority);
        // Small enough for any socket buffer, so that a short write is a failure like any other.
        stream.write_all(
            format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: cgrun\r\nAccept: */*\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        Ok(Self { stream, answer: Vec::new(), deadline: clock::now() + ANSWER })
    }

    /// What has come of it; `None` while it is under way.
    pub fn poll(&mut self) -> Option<Answer> {
        let mut chunk = [0u8; 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(Answer::Failed("it closed the connection without an answer".into())),
                Ok(length) => {
                    self.answer.extend_from_slice(&chunk[..length]);
                    let mut headers = [httparse::EMPTY_HEADER; 0];
                    let mut response = httparse::Response::new(&mut headers);
                    // Too many headers is fine: by then the status line has been read.
                    let parsed = response.parse(&self.answer);
                    match (parsed, response.code) {
                        (_, Some(status)) => return Some(Answer::Status(status)),
                        (Err(error), None) => {
                            return Some(Answer::Failed(format!("its answer is not HTTP: {error}")));
                        }
                        (Ok(_), None) if self.answer.len() > LONGEST => {
                            return Some(Answer::Failed("its answer is not HTTP".into()));
                        }
                        (Ok(_), None) => {}
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(Answer::Failed(crate::text::plain(&error))),
            }
        }
        (clock::now() >= self.deadline)
            .then(|| Answer::Failed(format!("no answer within {} s", ANSWER.as_secs())))
    }
}

impl AsFd for Request {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
