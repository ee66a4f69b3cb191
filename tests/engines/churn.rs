//! Many clients, and clients that are killed, at the socket of a session (`--containers`).

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::host::EngineHost;
use super::recorder::{ANSWER, Recorder, Waiting};
use crate::harness::until;

const ENGINE: &str = "/run/recorder.sock";
const PING: &[u8] = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n";

/// How many descriptors and threads the process has that serves the socket.
fn used(session: &Waiting) -> [usize; 2] {
    let process = format!("/proc/{}", session.proxy());
    ["fd", "task"].map(|it| std::fs::read_dir(format!("{process}/{it}")).unwrap().count())
}

/// A client whose request never ends.
fn endless(session: &Waiting, path: &str) -> Child {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-X", "POST", "-T", "-", "--unix-socket"]).arg(&session.socket);
    curl.arg(format!("http://x{path}")).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    curl.spawn().unwrap()
}

#[test]
fn a_thousand_requests_and_clients_that_are_killed_leave_no_thread_or_descriptor() {
    let host = EngineHost::enter();
    let recorder = Recorder::listen(Path::new(ENGINE));
    let session = Waiting::start(host.path(), ENGINE);
    recorder.forget();
    let before = used(&session);
    for _ in 0..1000 {
        assert_eq!(session.ask(PING).as_bytes(), ANSWER);
    }
    recorder.take(1000);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..200).map(|_| scope.spawn(|| session.ask(PING))).collect();
        all.into_iter().for_each(|it| assert_eq!(it.join().unwrap().as_bytes(), ANSWER));
    });
    recorder.take(200);
    let begun = recorder.begun();
    let mut clients: Vec<_> = (0..20).map(|_| endless(&session, "/images/load")).collect();
    clients.extend((0..10).map(|_| endless(&session, "/containers/create")));
    until("the requests have begun", || {
        // Two threads for each that is passed on, and one for a creation.
        recorder.begun() == begun + 20 && used(&session)[1] == before[1] + 50
    });
    for client in &mut clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    recorder.take(20);
    until("nothing is left of them", || used(&session) == before);
    assert_eq!(session.ask(PING).as_bytes(), ANSWER);
}
