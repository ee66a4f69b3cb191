//! Many requests at once, in one thread: cgrun forks, so it has no others. Each is HTTP/1.0, so that its answer ends with
//! the connection (RFC 1945).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::engine::Engine;
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::connect::try_connect_unix;
use crate::sys::process::identity::{ActingAs, Identity};
use crate::sys::time::Instant;

/// So many connections are open at once.
const MOST: usize = 400;
/// How often to try again where a backlog is full.
const AGAIN: Duration = Duration::from_millis(20);
/// A host with thousands of containers says less than this of them.
pub(super) const LONGEST_LIST: usize = 32 << 20;
const HEADERS_END: &[u8] = b"\r\n\r\n";

/// How the one who asks spends the time until an answer comes.
pub(crate) trait Waiting {
    /// Waits until one of `wakes` is ready, or `until` has passed, or perhaps something else happens.
    fn wait(&mut self, wakes: &[Wake<'_>], until: Instant);

    /// Whether the user wants all to end now.
    fn is_urgent(&self) -> bool {
        false
    }
}

#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub engine: &'a Engine,
    pub method: &'static str,
    pub path: String,
    /// More bytes of the answer are not read.
    pub longest: usize,
    /// When to wait no more for this one.
    pub until: Option<Instant>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(engine: &'a Engine, path: impl Into<String>, longest: usize) -> Self {
        Self { engine, method: "GET", path: path.into(), longest, until: None }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub code: u16,
    pub body: Vec<u8>,
    /// What has answered, if it says so (RFC 9110).
    pub server: Option<String>,
}

/// When to wait no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub deadline: Instant,
    /// Whether the wait also ends when it is urgent.
    pub unless_urgent: bool,
}

impl Limit {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, unless_urgent: false }
    }
}

/// Nothing else is to be done meanwhile.
pub(crate) struct JustWaiting;

impl Waiting for JustWaiting {
    fn wait(&mut self, wakes: &[Wake<'_>], until: Instant) {
        Wake::wait_for_any(wakes, until);
    }
}

/// One request on its way.
struct Connection {
    stream: UnixStream,
    unsent: Vec<u8>,
    answer: Vec<u8>,
    longest: usize,
}

/// Asks all of them with the rights that this thread has, and waits for the bodies of the answers.
pub(super) fn get_all(asks: &[Ask<'_>], deadline: Instant) -> Vec<io::Result<Vec<u8>>> {
    let answers = ask_all(asks, None, Limit::until(deadline), &mut JustWaiting);
    answers.into_iter().map(|it| it.and_then(Answer::ok)).collect()
}

/// Asks all of them, and returns the answers in the same order. Connects with the rights of the session's user.
pub(super) fn ask_all(
    asks: &[Ask<'_>],
    identity: Option<&Identity>,
    limit: Limit,
    waiting: &mut dyn Waiting,
) -> Vec<io::Result<Answer>> {
    let mut answers: Vec<Option<io::Result<Answer>>> = asks.iter().map(|_| None).collect();
    let mut unasked: VecDeque<usize> = (0..asks.len()).collect();
    let mut open: Vec<(usize, Connection)> = Vec::new();
    loop {
        let is_full = connect(asks, identity, &mut unasked, &mut open, &mut answers);
        let now = clock::now();
        open.retain_mut(|(at, connection)| match connection.advance() {
            Ok(None) => asks[*at].until.is_none_or(|until| now < until),
            Ok(Some(answer)) => {
                answers[*at] = Some(Ok(answer));
                false
            }
            Err(error) => {
                answers[*at] = Some(Err(error));
                false
            }
        });
        let is_over = clock::now() >= limit.deadline || limit.unless_urgent && waiting.is_urgent();
        if open.is_empty() && unasked.is_empty() || is_over {
            return answers.into_iter().map(|it| it.unwrap_or_else(|| Err(too_late()))).collect();
        }
        // Room for further ones is there at once.
        if open.len() < MOST && !unasked.is_empty() && !is_full {
            continue;
        }
        let wakes: Vec<_> = open.iter().map(|(_, connection)| connection.wake()).collect();
        let again = is_full.then(|| clock::now() + AGAIN);
        let until = open.iter().filter_map(|(at, _)| asks[*at].until).chain(again).min();
        waiting.wait(&wakes, until.map_or(limit.deadline, |until| until.min(limit.deadline)));
    }
}

pub(super) fn too_late() -> io::Error {
    io::Error::other("it did not answer in time")
}

/// Returns whether a backlog is full.
fn connect(
    asks: &[Ask<'_>],
    identity: Option<&Identity>,
    unasked: &mut VecDeque<usize>,
    open: &mut Vec<(usize, Connection)>,
    answers: &mut [Option<io::Result<Answer>>],
) -> bool {
    if unasked.is_empty() || open.len() >= MOST {
        return false;
    }
    let _user = match ActingAs::session_user(identity) {
        Ok(user) => user,
        Err(errno) => {
            let error = || io::Error::other(format!("cannot switch to the session's user: {errno}"));
            unasked.drain(..).for_each(|at| answers[at] = Some(Err(error())));
            return false;
        }
    };
    while open.len() < MOST {
        let Some(&at) = unasked.front() else { return false };
        match try_connect_unix(asks[at].engine.socket()) {
            Ok(None) => return true,
            Ok(Some(stream)) => open.push((at, Connection::new(stream, &asks[at]))),
            Err(error) => answers[at] = Some(Err(error)),
        }
        unasked.pop_front();
    }
    false
}

impl Connection {
    fn new(stream: UnixStream, ask: &Ask<'_>) -> Self {
        let length = if ask.method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let request = format!(
            "{} {} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: cgrun\r\n{length}\r\n",
            ask.method, ask.path
        );
        Self { stream, unsent: request.into_bytes(), answer: Vec::new(), longest: ask.longest }
    }

    fn wake(&self) -> Wake<'_> {
        let fd = self.stream.as_fd();
        if self.unsent.is_empty() { Wake::readable(fd) } else { Wake::writable(fd) }
    }

    /// Goes on as far as it gets without waiting. The answer, if it is complete.
    fn advance(&mut self) -> io::Result<Option<Answer>> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut chunk = [0; 16 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return parse(&self.answer).map(Some),
                Ok(length) => self.answer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.answer.len() >= self.longest {
                return parse(&self.answer).map(Some);
            }
        }
    }
}

pub(super) fn parse(answer: &[u8]) -> io::Result<Answer> {
    if answer.is_empty() {
        return Err(io::Error::other("it closed the connection without an answer"));
    }
    let strange = || io::Error::other("its answer is no HTTP");
    let at = answer.windows(HEADERS_END.len()).position(|it| it == HEADERS_END).ok_or_else(strange)?;
    let head = std::str::from_utf8(&answer[..at]).map_err(|_| strange())?;
    let mut words = head.lines().next().unwrap_or_default().splitn(3, ' ');
    let (version, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !version.starts_with("HTTP/1.") {
        return Err(strange());
    }
    let code = code.parse().map_err(|_| strange())?;
    let server = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("server").then(|| value.trim().to_owned()));
    Ok(Answer { code, server, body: answer[at + HEADERS_END.len()..].to_vec() })
}

impl Answer {
    /// The body, or what is wrong.
    pub(super) fn ok(self) -> io::Result<Vec<u8>> {
        match self.code {
            200..=299 => Ok(self.body),
            code => Err(io::Error::other(match self.message() {
                Some(message) => format!("it answers with HTTP {code} ({message})"),
                None => format!("it answers with HTTP {code}"),
            })),
        }
    }

    /// What the engine says of a failure.
    pub(super) fn message(&self) -> Option<String> {
        let value: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(value.get("message")?.as_str()?.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;

    /// Answers each connection with the path that was asked for, after all have been accepted.
    fn serve(path: &Path, count: usize) -> std::thread::JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || {
            let mut streams: Vec<_> = (0..count).map(|_| listener.accept().unwrap().0).collect();
            for stream in &mut streams {
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).unwrap();
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let path = asked.split(' ').nth(1).unwrap();
                stream.write_all(format!("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{path}").as_bytes()).unwrap();
            }
        })
    }

    fn asks(engine: &Engine, count: usize) -> Vec<Ask<'_>> {
        (0..count).map(|at| Ask::get(engine, format!("/{at}"), 1 << 20)).collect()
    }

    #[test]
    fn all_are_asked_at_once_and_each_gets_its_own_answer() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::at(directory.path().join("socket"));
        let server = serve(engine.socket(), 50);
        let limit = Limit::until(clock::now() + Duration::from_secs(20));
        let answers = ask_all(&asks(&engine, 50), None, limit, &mut JustWaiting);
        for (at, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap().ok().unwrap(), format!("/{at}").as_bytes());
        }
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_accepts_nothing_is_waited_for_until_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::at(directory.path().join("socket"));
        let listener = UnixListener::bind(engine.socket()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let limit = Limit::until(clock::now() + Duration::from_millis(50));
        let answers = ask_all(&asks(&engine, 9), None, limit, &mut JustWaiting);
        let said: Vec<_> = answers.into_iter().map(|it| it.unwrap_err().to_string()).collect();
        assert_eq!(said, ["it did not answer in time"; 9]);
        drop(listener);
        let limit = Limit::until(clock::now() + Duration::from_secs(20));
        let answers = ask_all(&asks(&engine, 2), None, limit, &mut JustWaiting);
        assert!(answers.iter().all(|it| it.as_ref().unwrap_err().kind() == io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        for (answer, wrong) in [
            (&b""[..], "it closed the connection without an answer"),
            (b"HTTP/1.0 200 OK\r\n", "its answer is no HTTP"),
            (b"nonsense\r\n\r\n", "its answer is no HTTP"),
            (b"HTTP/1.0 x\r\n\r\n", "its answer is no HTTP"),
        ] {
            assert_eq!(parse(answer).unwrap_err().to_string(), wrong);
        }
        let failed = parse(b"HTTP/1.1 500 No\r\n\r\n{\"message\":\"the disk is full\\n\"}").unwrap();
        assert_eq!(failed.ok().unwrap_err().to_string(), "it answers with HTTP 500 (the disk is full)");
    }
}
