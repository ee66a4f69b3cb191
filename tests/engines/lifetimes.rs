//! What a session has created in a container engine does not stay, even if everything of cgrun is killed.

use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{output, shell, text};
use super::proxied::{program, session, session_command};
use super::started::{client, engine};
use crate::harness::until;

/// Starts a container that does not exit by itself.
fn start(engine: &Engine, name: &str) -> String {
    format!(
        "{} run --detach --network none --name {name} --volume {name}:/data {IMAGE} tail -f /dev/null >/dev/null",
        program(engine)
    )
}

/// A stranger's container, which no session is to touch.
fn start_stranger(engine: &Engine) {
    shell(&client(
        engine,
        &format!("run --detach --network none --name stranger {IMAGE} tail -f /dev/null >/dev/null"),
    ));
}

fn only_the_stranger_is_left(engine: &Engine) -> bool {
    let list = engine.list();
    let volumes = output(Command::new("sh").args(["-c", &client(engine, "volume ls --quiet")]));
    list.lines().count() == 1 && list.starts_with("stranger: Up") && volumes.stdout.is_empty()
}

/// Runs until it is killed, once it has a container and a volume.
fn running(engine: &Engine) -> Child {
    let script =
        format!("{} && {} && touch started && sleep 1000", start(engine, "box-a"), start(engine, "box-b"));
    let log = std::fs::File::create(engine.host.path().join("log")).unwrap();
    let mut command = session_command(engine, &[], &script);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let log = || std::fs::read_to_string(engine.host.path().join("log")).unwrap();
    let has_started = || engine.host.path().join("started").exists() || !log().is_empty();
    until("the containers run", has_started);
    assert!(
        engine.list().contains("box-a: Up") && engine.list().contains("box-b: Up"),
        "{}{}",
        engine.list(),
        log()
    );
    child
}

/// Neither the guardian nor what leads to the engine is left.
fn kill_all(engine: &Engine, mut session: Child) {
    let all = engine.host.cgruns_outside();
    assert_eq!(all.len(), 3, "{all:?}");
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        all.iter().for_each(|&pid| kill(Pid::from_raw(pid), signal).unwrap());
    }
    session.wait().unwrap();
    until("all are dead", || engine.host.cgruns_outside().is_empty());
    assert!(engine.list().contains("box-a: Up"), "{}", engine.list());
}

fn a_sweep_ends_containers_if_all_of_cgrun_is_killed(kind: EngineKind) {
    let engine = engine(kind);
    start_stranger(&engine);
    kill_all(&engine, running(&engine));
    let swept = output(
        Command::new(crate::harness::cgrun_program()).arg("sweep").env("XDG_STATE_HOME", engine.host.path()),
    );
    assert_eq!(swept.status.code(), Some(0), "{}", text(&swept.stderr));
    assert!(text(&swept.stderr).contains("container box-a ("), "{}", text(&swept.stderr));
    assert!(only_the_stranger_is_left(&engine), "{}", engine.list());
}

fn the_next_session_ends_containers_of_one_that_was_killed(kind: EngineKind) {
    let engine = engine(kind);
    start_stranger(&engine);
    kill_all(&engine, running(&engine));
    let done = session(&engine, &[], "true");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(only_the_stranger_is_left(&engine), "{}", engine.list());
}

/// The engine was asked, and creates it after all processes of the session are dead.
#[test]
fn what_is_being_created_when_cgrun_is_killed_does_not_stay() {
    let engine = engine(EngineKind::Docker);
    let script = format!(
        "touch running; until [ -e go ]; do sleep 0.01; done
         curl -sS --unix-socket ${{DOCKER_HOST#unix://}} -H 'Content-Type: application/json' \\
             -d '{{\"Image\":\"{IMAGE}\",\"Cmd\":[\"true\"]}}' http://x/containers/create"
    );
    let mut command = session_command(&engine, &["--report", "json=report.json"], &script);
    let mut cgrun = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let file = |name: &str| engine.host.path().join(name);
    until("the command runs", || file("running").exists());
    let daemon = Pid::from_raw(engine.daemon());
    kill(daemon, Signal::SIGSTOP).unwrap();
    let connections = || {
        let table = std::fs::read_to_string("/proc/thread-self/net/unix").unwrap();
        table.lines().filter(|line| line.ends_with("/run/docker.sock")).count()
    };
    let before = connections();
    std::fs::write(file("go"), "").unwrap();
    until("the engine is asked", || connections() > before);
    cgrun.kill().unwrap();
    cgrun.wait().unwrap();
    kill(daemon, Signal::SIGCONT).unwrap();
    until("the guardian has reported", || file("report.json").exists());
    let report = std::fs::read_to_string(file("report.json")).unwrap();
    assert!(!report.contains("has not answered"), "{report}");
    assert_eq!(engine.list(), "", "{report}");
    until("no cgrun is left", || engine.host.cgruns_outside().is_empty());
}

/// A client with an address of its own.
#[test]
fn what_goes_around_the_session_is_named() {
    let engine = engine(EngineKind::Docker);
    shell("mv /run/docker.sock /run/elsewhere.sock");
    let script = format!(
        "docker --host unix:///run/elsewhere.sock run --detach --network none --name around {IMAGE} tail -f /dev/null >/dev/null"
    );
    let mut command = session_command(&engine, &[], &script);
    let done = output(command.env("DOCKER_HOST", "unix:///run/elsewhere.sock"));
    shell("mv /run/elsewhere.sock /run/docker.sock");
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(
        said.contains("Docker's container around") && !said.contains("hint: with --containers"),
        "{said}"
    );
    assert!(engine.list().contains("around: Up"), "{}", engine.list());
}

with_both! {
    a_sweep_ends_containers_if_all_of_cgrun_is_killed,
    the_next_session_ends_containers_of_one_that_was_killed,
}
