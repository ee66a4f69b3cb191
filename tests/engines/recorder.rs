//! An engine that only keeps what it receives, and a session that is led to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::host::processes_where;
use crate::harness::{cgrun_program, until};

pub(super) const ANSWER: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

/// All connections that have ended, each with every byte that was received. Like a real engine after
/// `Connection: close`, it answers one request on each.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    begun: Arc<AtomicUsize>,
}

impl Recorder {
    pub(super) fn listen(path: &Path) -> Self {
        let (recorder, listener) = (Self::default(), UnixListener::bind(path).unwrap());
        let it = recorder.clone();
        std::thread::spawn(move || {
            for engine in listener.incoming() {
                let it = it.clone();
                it.begun.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || it.serve(engine.unwrap()));
            }
        });
        recorder
    }

    fn serve(&self, engine: UnixStream) {
        let (mut received, mut reader) = (Vec::new(), BufReader::new(&engine));
        // The client can be killed at any time.
        let _ = read_request(&mut reader, &mut received);
        let _ = (&engine).write_all(ANSWER);
        let _ = engine.shutdown(Shutdown::Write);
        let _ = reader.read_to_end(&mut received);
        self.received.lock().unwrap().push(received);
    }

    /// Forgets what cgrun itself has asked before the session began.
    pub(super) fn forget(&self) {
        until("all connections have ended", || self.received.lock().unwrap().len() == self.begun());
        self.received.lock().unwrap().clear();
        self.begun.store(0, Ordering::SeqCst);
    }

    /// How many connections there were until now.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// What was received since the last call, once so many connections have ended. There must not be more.
    pub(super) fn take(&self, count: usize) -> Vec<Vec<u8>> {
        until(&format!("{count} connections have ended"), || self.received.lock().unwrap().len() >= count);
        let taken = std::mem::take(&mut *self.received.lock().unwrap());
        assert_eq!(taken.len(), count, "{:?}", taken.iter().map(|it| String::from_utf8_lossy(it)));
        taken
    }
}

/// Reads a head, and the body that it tells of.
fn read_request(reader: &mut impl BufRead, received: &mut Vec<u8>) -> std::io::Result<()> {
    while !received.ends_with(b"\r\n\r\n") && reader.read_until(b'\n', received)? > 0 {}
    let head = String::from_utf8_lossy(received).to_lowercase();
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        while !received.ends_with(b"\r\n0\r\n\r\n") && reader.read_until(b'\n', received)? > 0 {}
    } else if let Some(length) = head.split("\r\ncontent-length: ").nth(1) {
        let length: u64 = length.split("\r\n").next().unwrap().parse().unwrap_or_default();
        reader.take(length).read_to_end(received)?;
    }
    Ok(())
}

/// A session that stays until this is dropped.
pub(super) struct Waiting {
    child: Child,
    pub socket: PathBuf,
}

impl Waiting {
    /// The engine listens at `engine`.
    pub(super) fn start(directory: &Path, engine: &str) -> Self {
        let script = "echo \"${DOCKER_HOST#unix://}\" >socket.new; mv socket.new socket; cat >/dev/null";
        let program = std::env::var_os("CGRUN_PROXY_BENCH_PROGRAM");
        let mut command = Command::new(program.map_or_else(cgrun_program, PathBuf::from));
        command.args(["--containers", "sh", "-c", script]).current_dir(directory).stdin(Stdio::piped());
        command.env("DOCKER_HOST", format!("unix://{engine}")).env("HOME", directory).env_remove("NEXTEST");
        let child = command.env("XDG_STATE_HOME", directory).stderr(Stdio::null()).spawn().unwrap();
        let socket = directory.join("socket");
        until("the session runs", || socket.exists());
        Self { child, socket: std::fs::read_to_string(socket).unwrap().trim_end().into() }
    }

    pub(super) fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).unwrap()
    }

    /// Sends this, and nothing more. Returns what is answered, until the connection is closed.
    pub(super) fn ask(&self, request: &[u8]) -> String {
        let (mut stream, mut answer) = (self.connect(), Vec::new());
        // Who refuses does not read on.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The process that serves the socket.
    pub(super) fn proxy(&self) -> i32 {
        let table = std::fs::read_to_string("/proc/thread-self/net/unix").unwrap();
        let line = table.lines().find(|line| line.ends_with(self.socket.to_str().unwrap())).unwrap();
        let socket = format!("socket:[{}]", line.split_whitespace().nth(6).unwrap());
        let has = |process: &Path| {
            let links = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            links.filter_map(|it| std::fs::read_link(it.path()).ok()).any(|it| it.as_os_str() == &*socket)
        };
        let found = processes_where(|_, process| has(process));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(self.socket.metadata().unwrap().uid() == 0);
        found[0]
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
