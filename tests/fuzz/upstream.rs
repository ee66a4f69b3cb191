//! An engine that keeps what it receives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

pub const ANSWER: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
/// What no request begins with.
const ALL: &[u8] = b"\0all";

pub struct Upstream {
    _directory: tempfile::TempDir,
    pub socket: PathBuf,
    received: Receiver<Vec<u8>>,
}

impl Upstream {
    /// Serves one connection after another. Like an engine after `Connection: close`, it answers one request on each.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine");
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, received) = channel();
        std::thread::spawn(move || {
            for engine in listener.incoming() {
                if sender.send(serve(&engine.unwrap())).is_err() {
                    return;
                }
            }
        });
        Self { _directory: directory, socket, received }
    }

    /// What was received since the last call.
    pub fn take(&self) -> Vec<Vec<u8>> {
        UnixStream::connect(&self.socket).unwrap().write_all(ALL).unwrap();
        self.received.iter().take_while(|it| it != ALL).collect()
    }
}

fn serve(engine: &UnixStream) -> Vec<u8> {
    let (mut received, mut reader) = (Vec::new(), BufReader::new(engine));
    while !received.ends_with(b"\r\n\r\n") && reader.read_until(b'\n', &mut received).unwrap() > 0 {}
    let head = String::from_utf8_lossy(&received).to_lowercase();
    if let Some(length) = head.split("\r\ncontent-length: ").nth(1) {
        let length = length.split("\r\n").next().unwrap().parse().unwrap_or_default();
        let _ = reader.by_ref().take(length).read_to_end(&mut received);
    }
    let mut answering = engine;
    let _ = answering.write_all(ANSWER);
    let _ = engine.shutdown(Shutdown::Write);
    let _ = reader.read_to_end(&mut received);
    received
}
