//! Containers that a daemon starts for a session, outside of it.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{output, shell, text};
use crate::harness::cgrun_program;

pub(super) fn engine(kind: EngineKind) -> Engine {
    let mut engine = Engine::start(kind);
    if kind == EngineKind::Podman {
        engine.serve();
    }
    engine
}

/// The words that start a container, which nothing ends.
fn start(engine: &Engine, name: &str) -> String {
    let words = format!("run --detach --network none --name {name} {IMAGE} tail -f /dev/null >/dev/null");
    client(engine, &words)
}

/// A command that asks the daemon.
pub(super) fn client(engine: &Engine, arguments: &str) -> String {
    match engine.kind() {
        EngineKind::Podman => format!("podman --url unix:///run/podman/podman.sock {arguments}"),
        _ => engine.in_a_shell(arguments),
    }
}

fn session(engine: &Engine, options: &[&str], script: &str) -> Output {
    let mut command = Command::new(cgrun_program());
    command.args(options).args(["sh", "-c", script]).current_dir(engine.host.path());
    output(command.env("XDG_STATE_HOME", engine.host.path()).env_remove("NEXTEST"))
}

fn report(engine: &Engine) -> Value {
    serde_json::from_slice(&std::fs::read(engine.host.path().join("report.json")).unwrap()).unwrap()
}

pub(super) fn name(kind: EngineKind) -> &'static str {
    if kind == EngineKind::Docker { "docker" } else { "podman" }
}

/// As in "Docker's container web".
pub(super) fn whose(kind: EngineKind) -> &'static str {
    if kind == EngineKind::Docker { "Docker's" } else { "podman's" }
}

fn what_a_session_has_started_is_named_and_left_alone(kind: EngineKind) {
    let engine = engine(kind);
    shell(&start(&engine, "before"));
    let again = client(&engine, "restart --time 0 before >/dev/null");
    let remove = client(&engine, "rm --force gone >/dev/null");
    let script = format!("{} && {} && {remove}", start(&engine, "left"), start(&engine, "gone"));
    let done = session(&engine, &["--report", "json=report.json"], &script);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    let engine_name = name(kind);
    let line = format!(
        "cgrun: 1 possible leftover left alone, since it can be someone else's:\n\
         cgrun:   {} container left (",
        whose(kind)
    );
    assert!(said.contains(&line), "{said}");
    assert!(said.contains(&format!("if it is yours: {engine_name} rm --force left\n")), "{said}");
    assert!(said.contains("hint: with --containers") && !said.contains("hint: with --private"), "{said}");
    let left = report(&engine)["leftovers"].clone();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["kind"]), (1, &"container".into()), "{left}");
    assert!(left[0]["container"]["image"].as_str().unwrap().contains(IMAGE), "{left}");
    assert!(engine.list().contains("left: Up"), "{}", engine.list());
    let done = session(&engine, &[], "true");
    assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(0), ""));
    // Its start is newer than the session, although it is not.
    let done = session(&engine, &[], &again);
    let said = text(&done.stderr);
    assert!(said.contains("container before (") && !said.contains("container left ("), "{said}");
}

fn a_daemon_that_hangs_is_bounded_and_said(kind: EngineKind) {
    let engine = engine(kind);
    let daemon = Pid::from_raw(engine.daemon());
    kill(daemon, Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    let done = session(&engine, &["--report", "json=report.json"], "true");
    kill(daemon, Signal::SIGCONT).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let (said, expected) = (text(&done.stderr), "cannot determine which containers");
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains(expected) && said.contains("it did not answer in time"), "{said}");
    let unverified = report(&engine)["leftovers_unverified"].clone();
    assert!(unverified[0].as_str().unwrap().contains(expected), "{unverified}");
}

/// A user who is not allowed to ask has started nothing there.
fn a_user_without_rights_is_told_nothing(kind: EngineKind) {
    let engine = engine(kind);
    let script = format!("chmod 777 {}", engine.host.path().display());
    shell(&script);
    let done = session(&engine, &["--user", "nobody"], "true");
    assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(0), ""));
}

fn a_socket_that_nobody_listens_to_is_nothing(kind: EngineKind) {
    let mut engine = engine(kind);
    engine.end_daemon();
    let done = session(&engine, &[], "true");
    assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(0), ""));
}

/// The engine listens where only a context of Docker leads, which need not be the current one.
#[test]
fn an_engine_of_a_context_is_asked() {
    let engine = engine(EngineKind::Docker);
    let home = engine.host.path().display();
    shell(&format!(
        "mv /run/docker.sock /run/elsewhere.sock\n\
         export HOME={home}\n\
         docker context create other --docker host=tcp://127.0.0.1:1\n\
         docker context create elsewhere --docker host=unix:///run/elsewhere.sock\n\
         docker context use other"
    ));
    let run = format!("run --detach --network none --name left {IMAGE} tail -f /dev/null");
    let script = format!("HOME={home} exec docker --context elsewhere {run}");
    let mut command = Command::new(cgrun_program());
    command.args(["sh", "-c", &script]).current_dir(engine.host.path()).env("HOME", engine.host.path());
    let done = output(command.env("XDG_STATE_HOME", engine.host.path()).env_remove("NEXTEST"));
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("Docker's container left ("), "{said}");
}

with_both! {
    what_a_session_has_started_is_named_and_left_alone,
    a_daemon_that_hangs_is_bounded_and_said,
    a_user_without_rights_is_told_nothing,
    a_socket_that_nobody_listens_to_is_nothing,
}
