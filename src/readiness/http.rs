//! One HTTP GET at a time, without blocking: does the service answer, and well?

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::runtime::clock;

/// A status line is shorter than this, whatever headers follow it.
const LONGEST: usize = 8 * 1024;
/// The listener is known to be on this host, so that connecting takes microseconds unless its
/// backlog is full.
const CONNECT: Duration = Duration::from_millis(50);
/// How long one request may take before another is tried.
const ANSWER: Duration = Duration::from_secs(5);

/// A readiness URL: plain http to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `None` for `localhost`: whichever loopback address the service listens on.
    pub address: Option<IpAddr>,
    pub port: u16,
    target: String,
    authority: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no readiness URL; it is like http://127.0.0.1:8000/health");
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if uri.scheme_str() != Some("http")
            || authority.as_str().contains('@')
            || authority.port_u16() == Some(0)
        {
            return Err(wrong());
        }
        let host = authority.host().trim_matches(['[', ']']);
        let address = match host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() || address.is_unspecified() => Some(address),
            _ if host == "localhost" => None,
            _ => {
                return Err(format!(
                    "{host:?} in {text:?} is not this host; a service is asked at localhost or a loopback address"
                ));
            }
        };
        let target = uri.path_and_query().map_or("/", |it| it.as_str()).to_string();
        Ok(Self {
            address,
            port: authority.port_u16().unwrap_or(80),
            target,
            authority: authority.to_string(),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.target)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_this_host() {
        let url: Url = "http://127.0.0.1:8000/health?x=1".parse().unwrap();
        assert_eq!((url.address, url.port), (Some("127.0.0.1".parse().unwrap()), 8000));
        assert_eq!(url.to_string(), "http://127.0.0.1:8000/health?x=1");
        assert_eq!("http://[::1]:5173".parse::<Url>().unwrap().address, Some("::1".parse().unwrap()));
        assert_eq!("http://localhost".parse::<Url>().unwrap().port, 80);
    }

    #[test]
    fn other_urls_are_refused() {
        for text in [
            "https://127.0.0.1/",
            "127.0.0.1:80",
            "http://example.org/",
            "http://8.8.8.8/",
            "http://[2001:db8::1]:80/",
            "http://u@127.0.0.1/",
            "http://127.0.0.1:0/",
            "",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
