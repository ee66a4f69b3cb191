//! An engine that hangs when a session begins, or a sweep asks it what dead sessions have left: a signal ends the wait at once.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::ended::{Labels, fake_engine};
use super::host::EngineHost;
use crate::harness::cgrun_program;

/// Less than an engine has to list what it has.
const SOON: Duration = Duration::from_secs(3);

fn cgrun(host: &EngineHost, arguments: &[&str], socket: &str) -> Command {
    let mut command = Command::new(cgrun_program());
    command.args(arguments).current_dir(host.path()).env("XDG_STATE_HOME", host.path());
    command.env("DOCKER_HOST", format!("unix://{socket}")).env("HOME", host.path()).env_remove("NEXTEST");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// How cgrun exits if it gets the signal once it waits, and what it said.
fn interrupted(mut command: Command, signal: Signal, until_it_waits: impl FnOnce()) -> (ExitStatus, String) {
    let cgrun = command.stderr(Stdio::piped()).spawn().unwrap();
    until_it_waits();
    let began = Instant::now();
    kill(Pid::from_raw(cgrun.id() as i32), signal).unwrap();
    let done = cgrun.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(began.elapsed() < SOON, "{:?}: {said}", began.elapsed());
    (done.status, said)
}

#[test]
fn a_session_does_not_begin_if_a_signal_comes_while_an_engine_hangs() {
    let host = EngineHost::enter();
    let socket = host.path().join("hangs.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let command = cgrun(&host, &["--containers", "touch", "started"], socket.to_str().unwrap());
        let mut connections = Vec::new();
        let (status, said) = interrupted(command, signal, || {
            let asks_for_list = |it: &UnixStream| {
                let mut line = String::new();
                BufReader::new(it).read_line(&mut line).unwrap();
                line.starts_with("GET /containers/json?all=1")
            };
            // The first one only tries whether somebody is there.
            loop {
                connections.push(listener.accept().unwrap().0);
                if asks_for_list(connections.last().unwrap()) {
                    return;
                }
            }
        });
        assert_eq!(status.signal(), Some(signal as i32), "{status}: {said}");
        assert!(!said.contains("cannot determine"), "{said}");
        assert!(!host.path().join("started").exists(), "{said}");
        // What it has asked before is not taken for the next one.
        listener.set_nonblocking(true).unwrap();
        while listener.accept().is_ok() {}
        listener.set_nonblocking(false).unwrap();
    }
}

/// What was asked to exit has its time, and is left to the next sweep.
#[test]
fn a_sweep_ends_at_a_signal_while_an_engine_hangs() {
    let host = EngineHost::enter();
    let Labels { session, boot, pid_namespace, owner } = Labels::of_a_dead_owner();
    let container = json!([{
        "Id": "1234", "Names": ["/web"], "Image": "redis:7", "State": "running", "Created": 1,
        "Labels": {
            "cgrun.session": session, "cgrun.boot": boot, "cgrun.pid-namespace": pid_namespace, "cgrun.owner": owner,
        },
    }]);
    let (stops, is_stopping) = channel();
    let (end_of_hang, hang) = channel::<()>();
    let (asks, asked) = channel();
    let socket = fake_engine(&host, "stops.sock", move |line| {
        asks.send(line.to_owned()).unwrap();
        match line {
            _ if line.starts_with("GET /containers/json") => (200, container.to_string()),
            _ if line.starts_with("GET /networks") => (200, "null".into()),
            _ if line.starts_with("GET /volumes") => (200, "{}".into()),
            _ if line.starts_with("POST ") => {
                stops.send(()).unwrap();
                let _ = hang.recv();
                (204, String::new())
            }
            _ => (404, "{}".into()),
        }
    });
    let command = cgrun(&host, &["sweep"], socket.to_str().unwrap());
    let (status, said) = interrupted(command, Signal::SIGINT, || is_stopping.recv().unwrap());
    assert_eq!(status.signal(), Some(Signal::SIGINT as i32), "{status}: {said}");
    assert!(!said.contains("web"), "{said}");
    drop(end_of_hang);
    // The engine takes one request after the other, and this one is the last.
    UnixStream::connect(&socket).unwrap().write_all(b"GET /last HTTP/1.0\r\n\r\n").unwrap();
    let tells = asked.iter().take_while(|line| line != "GET /last").filter(|line| !line.starts_with("GET "));
    let tells: Vec<_> = tells.collect();
    assert!(matches!(&tells[..], [stop] if stop.starts_with("POST /containers/1234/stop?")), "{tells:?}");
}
