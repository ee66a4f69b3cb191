//! A service is ready when it answers a GET with 2xx or 3xx. Sends one request at a time, without blocking.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::probe::{ProbeCheck, Progress};
use crate::plan::Url;
use crate::runtime::clock;
use crate::sys::connect::connect_within;
use crate::sys::sockets::Listener;
use crate::sys::time::Instant;
use crate::text::plain;

/// A status line is shorter than this, whatever headers follow it.
const LONGEST: usize = 8 * 1024;
/// All interim answers (100, 103) together, with their headers, are shorter than this.
const LONGEST_INTERIM: usize = 256 * 1024;
/// The listener is known to be on this host, so that connecting takes microseconds unless its
/// backlog is full.
const CONNECT: Duration = Duration::from_millis(50);
/// How long the first request may take before another is tried. Each further request may take twice as long as the one
/// before, because some servers start their work over with each request, for example to compile a page.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct HttpCheck {
    url: Url,
    /// The request in progress.
    request: Option<HttpRequest>,
    patience: Duration,
}

impl HttpCheck {
    pub(super) fn new(url: &Url) -> Self {
        Self { url: url.clone(), request: None, patience: FIRST_ANSWER }
    }
}

impl ProbeCheck for HttpCheck {
    fn check(&mut self, listener: Option<&Listener>) -> io::Result<Progress> {
        let Some(request) = &mut self.request else {
            return Ok(match HttpRequest::send(&self.url, &addresses(&self.url, listener), self.patience) {
                Ok(request) => {
                    self.request = Some(request);
                    Progress::Pending
                }
                Err(error) => Progress::Failed(cannot_connect(&error, &self.url, listener)),
            });
        };
        let Some(answer) = request.poll() else { return Ok(Progress::Pending) };
        self.request = None;
        Ok(match answer {
            Answer::Status(200..400) => Progress::Passed,
            Answer::Status(code) => Progress::Failed(format!("it answers with HTTP {code}")),
            Answer::Failed(why) => Progress::Failed(why),
            Answer::Late => {
                let seconds = self.patience.as_secs();
                self.patience *= 2;
                Progress::Failed(format!("no answer within {seconds} s"))
            }
        })
    }

    /// Nothing would read what arrives, so it would wake us again and again.
    fn abandon(&mut self) {
        self.request = None;
    }

    fn unanswered(&self) -> String {
        "it has not answered".into()
    }

    fn wakes_on(&self) -> Option<BorrowedFd<'_>> {
        self.request.as_ref().map(|request| request.stream.as_fd())
    }
}

/// A GET in progress.
#[derive(Debug)]
struct HttpRequest {
    stream: TcpStream,
    answer: Vec<u8>,
    deadline: Instant,
}

/// The result of a GET.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Status(u16),
    Failed(String),
    Late,
}

impl HttpRequest {
    /// Sends the request to the first of `addresses` that accepts a connection.
    fn send(url: &Url, addresses: &[IpAddr], patience: Duration) -> io::Result<Self> {
        let mut stream = Err(io::Error::other("no address"));
        for &address in addresses {
            stream = stream.or_else(|_| connect_within(&SocketAddr::new(address, url.port), CONNECT));
        }
        let mut stream = stream?;
        let (target, authority) = (&url.target, &url.authority);
        // Small enough for any socket buffer, so that a short write is a failure like any other.
        stream.write_all(
            format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: cgrun\r\nAccept: */*\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        Ok(Self { stream, answer: Vec::new(), deadline: clock::now() + patience })
    }

    /// The result; `None` while the request is in progress.
    fn poll(&mut self) -> Option<Answer> {
        let mut chunk = [0u8; 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(Answer::Failed("it closed the connection without an answer".into())),
                Ok(length) => {
                    self.answer.extend_from_slice(&chunk[..length]);
                    if let Some(answer) = self.parse() {
                        return Some(answer);
                    }
                    if self.answer.len() > LONGEST_INTERIM {
                        return Some(Answer::Failed("its answer does not end".into()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(Answer::Failed(plain(&error))),
            }
        }
        (clock::now() >= self.deadline).then_some(Answer::Late)
    }

    /// The answer that has arrived; `None` if it is not complete yet.
    fn parse(&mut self) -> Option<Answer> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 0];
            let mut response = httparse::Response::new(&mut headers);
            // Too many headers are fine, because the status line comes first.
            let parsed = response.parse(&self.answer);
            return match (parsed, response.code) {
                // Another answer follows this one (RFC 9110, 15.2), except after 101.
                (_, Some(100 | 102..200)) => {
                    let end = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
                    self.answer.drain(..end);
                    continue;
                }
                (_, Some(status)) => Some(Answer::Status(status)),
                (Err(_), None) if TLS_RECORDS.iter().any(|begin| self.answer.starts_with(begin)) => {
                    Some(Answer::Failed("it answers with TLS; write https:// in the URL".into()))
                }
                (Err(error), None) => Some(Answer::Failed(format!("its answer is not HTTP: {error}"))),
                (Ok(_), None) if self.answer.len() > LONGEST => {
                    Some(Answer::Failed("its answer is not HTTP".into()))
                }
                (Ok(_), None) => None,
            };
        }
    }
}

/// The first bytes of a TLS alert and of a TLS handshake.
const TLS_RECORDS: [&[u8]; 2] = [&[21, 3], &[22, 3]];

fn cannot_connect(error: &io::Error, url: &Url, listener: Option<&Listener>) -> String {
    let why = format!("cannot connect to it: {}", plain(error));
    match (url.address, listener) {
        (Some(asked), Some(listener)) if listener.address != asked && !listener.address.is_unspecified() => {
            format!("{why}; it listens on {listener}: write localhost in the URL, or that address")
        }
        _ => why,
    }
}

/// Where to connect: to the URL's address, or for `localhost` to the address that the service listens on. A
/// socket at `::` may or may not accept IPv4, and the host may have no `::1`, so both are tried.
fn addresses(url: &Url, listener: Option<&Listener>) -> Vec<IpAddr> {
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    match (url.address, listener.map(|it| it.address)) {
        (Some(address), _) => vec![address],
        (None, Some(address)) if !address.is_unspecified() => vec![address],
        (None, Some(IpAddr::V6(_))) => vec![v4, v6],
        (None, _) => vec![v4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(cgroup: u64, address: &str) -> Listener {
        Listener {
            address: address.parse().unwrap(),
            port: crate::sys::port::Port::tcp(8000),
            inode: 1,
            uid: 0,
            cgroup: Some(cgroup),
        }
    }

    #[test]
    fn localhost_means_the_address_that_the_service_listens_on() {
        let localhost = "http://localhost:8000".parse().unwrap();
        let asked = |at: &str| addresses(&localhost, Some(&listener(7, at)));
        let expect = |list: &[&str]| list.iter().map(|it| it.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(asked("::1"), expect(&["::1"]));
        assert_eq!(asked("127.0.0.2"), expect(&["127.0.0.2"]));
        assert_eq!(asked("0.0.0.0"), expect(&["127.0.0.1"]));
        assert_eq!(asked("::"), expect(&["127.0.0.1", "::1"]));
        assert_eq!(addresses(&"http://[::1]:8000".parse().unwrap(), None), expect(&["::1"]));
    }

    #[test]
    fn an_interim_answer_without_an_end_is_given_up() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Url = format!("http://{}/", server.local_addr().unwrap()).parse().unwrap();
        let mut request =
            HttpRequest::send(&url, &[Ipv4Addr::LOCALHOST.into()], Duration::from_secs(60)).unwrap();
        let (mut connection, _) = server.accept().unwrap();
        let answering = std::thread::spawn(move || {
            connection.write_all(b"HTTP/1.1 103 Early Hints\r\n").unwrap();
            while connection.write_all(b"Link: </a.css>\r\n").is_ok() {}
        });
        let answer = loop {
            if let Some(answer) = request.poll() {
                break answer;
            }
        };
        assert_eq!(answer, Answer::Failed("its answer does not end".into()));
        drop(request);
        answering.join().unwrap();
    }
}
