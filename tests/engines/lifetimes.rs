//! What a session has created in a container engine ends with it, however it ends.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

fn the_test_that_leaves_a_container_is_named(kind: EngineKind) {
    let engine = engine(kind);
    start_stranger(&engine);
    let test = "PYTEST_CURRENT_TEST='tests/test_a.py::test_b (call)'; export PYTEST_CURRENT_TEST";
    let script = format!("{test}; {}", start(&engine, "left"));
    for (options, code) in
        [(&[][..], 0), (&["--on-leak", "fail"], 121), (&["--on-leak", "fail", "--allow", "left"], 0)]
    {
        let done = session(&engine, options, &script);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{options:?}: {said}");
        let is_named = said.contains("tests/test_a.py::test_b (call)") && said.contains(IMAGE);
        assert_eq!(is_named, !options.contains(&"--allow"), "{options:?}: {said}");
        assert!(only_the_stranger_is_left(&engine), "{}", engine.list());
    }
}

fn containers_end_if_the_session_is_cancelled(kind: EngineKind) {
    let engine = engine(kind);
    start_stranger(&engine);
    let mut session = running(&engine);
    kill(Pid::from_raw(session.id() as i32), Signal::SIGTERM).unwrap();
    session.wait().unwrap();
    assert!(only_the_stranger_is_left(&engine), "{}", engine.list());
}

fn the_guardian_ends_containers_if_cgrun_is_killed(kind: EngineKind) {
    let engine = engine(kind);
    start_stranger(&engine);
    let mut session = running(&engine);
    session.kill().unwrap();
    session.wait().unwrap();
    until("the containers are gone", || only_the_stranger_is_left(&engine));
    until("no cgrun is left", || engine.host.cgruns_outside().is_empty());
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
    assert!(text(&swept.stderr).contains("container box-a of"), "{}", text(&swept.stderr));
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

fn an_engine_that_hangs_at_the_end_is_bounded_and_not_called_clean(kind: EngineKind) {
    let engine = engine(kind);
    let daemon = Pid::from_raw(engine.daemon());
    let script = format!("{}; kill -STOP {daemon}", start(&engine, "left"));
    let began = Instant::now();
    let done = session(&engine, &[], &script);
    let took = began.elapsed();
    kill(daemon, Signal::SIGCONT).unwrap();
    assert_eq!(done.status.code(), Some(122), "{}", text(&done.stderr));
    assert!(took < Duration::from_secs(60), "{took:?}");
}

macro_rules! with_both {
    ($($scenario:ident),* $(,)?) => {
        mod docker { $(#[test] fn $scenario() { super::$scenario(super::EngineKind::Docker) })* }
        mod podman { $(#[test] fn $scenario() { super::$scenario(super::EngineKind::Podman) })* }
    };
}

with_both! {
    the_test_that_leaves_a_container_is_named,
    containers_end_if_the_session_is_cancelled,
    the_guardian_ends_containers_if_cgrun_is_killed,
    a_sweep_ends_containers_if_all_of_cgrun_is_killed,
    the_next_session_ends_containers_of_one_that_was_killed,
    an_engine_that_hangs_at_the_end_is_bounded_and_not_called_clean,
}
