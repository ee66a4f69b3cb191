//! cgrun in containers, with the real engines: docker, podman, and runc with the settings that Kubernetes gives.
//!
//! Each cell of the matrix is one test: an engine with some options, and the containment that cgrun must find there.

/// The same scenarios with each engine.
macro_rules! with_both {
    ($($scenario:ident),* $(,)?) => {
        mod docker { $(#[test] fn $scenario() { super::$scenario(crate::engines::EngineKind::Docker) })* }
        mod podman { $(#[test] fn $scenario() { super::$scenario(crate::engines::EngineKind::Podman) })* }
    };
}

mod advised;
mod builds;
mod churn;
mod clients;
mod ended;
pub(crate) mod engine;
mod foreign;
mod hanging;
pub(crate) mod host;
mod inside;
mod known;
mod leaked;
mod lifetimes;
mod load;
mod many;
mod nested;
mod proxied;
mod recorder;
mod refusals;
mod requests;
mod started;
mod strangers;
mod suites;

use std::process::Output;

use serde_json::Value;

use engine::{Engine, EngineKind};
use host::text;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One engine with some options.
#[derive(Clone, Copy)]
struct Cell {
    engine: EngineKind,
    options: &'static [&'static str],
    /// The containment that cgrun finds.
    containment: &'static str,
    /// What `cgrun doctor` calls the container.
    name: Option<&'static str>,
}

const DOCKER: Cell =
    Cell { engine: EngineKind::Docker, options: &[], containment: "tree", name: Some("docker") };
const PODMAN: Cell =
    Cell { engine: EngineKind::Podman, options: &[], containment: "cgroup", name: Some("podman") };
const RUNC: Cell = Cell { engine: EngineKind::Runc, options: &[], containment: "cgroup", name: None };

macro_rules! matrix {
    ($($test:ident: $cell:expr;)*) => { $(#[test] fn $test() { check($cell) })* };
}

matrix! {
    docker_by_default: DOCKER;
    docker_privileged: Cell { options: &["--privileged"], containment: "cgroup", ..DOCKER };
    docker_without_seccomp: Cell { options: &["--security-opt=seccomp=unconfined"], containment: "cgroup", ..DOCKER };
    docker_with_sys_admin: Cell { options: &["--cap-add=SYS_ADMIN"], containment: "cgroup", ..DOCKER };
    docker_as_an_ordinary_user: Cell { options: &["--user=1000"], ..DOCKER };
    podman_by_default: PODMAN;
    podman_privileged: Cell { options: &["--privileged"], ..PODMAN };
    podman_with_its_cgroups_unmasked: Cell { options: &["--security-opt=unmask=/sys/fs/cgroup"], ..PODMAN };
    podman_without_capabilities: Cell { options: &["--cap-drop=ALL"], ..PODMAN };
    podman_as_an_ordinary_user: Cell { options: &["--user=1000"], containment: "tree", ..PODMAN };
    podman_without_root: Cell { engine: EngineKind::RootlessPodman, ..PODMAN };
    runc_like_kubernetes: RUNC;
    runc_with_sys_admin: Cell { options: &["--cap-add=SYS_ADMIN"], ..RUNC };
}

/// The same promises in every cell, with cgrun as the first process and beside it.
fn check(cell: Cell) {
    let engine = Engine::start(cell.engine);
    let found = doctor(&engine, cell.options);
    assert_eq!(found["containment"], cell.containment, "{found:#}");
    assert_eq!(found["container"].as_str(), cell.name, "{found:#}");
    advice_is_true(&engine, cell, &found);
    can_be_private_if_doctor_says_so(&engine, cell, &found);

    let leaking = ["cgrun", "--grace", "300ms", "-v", "sh", "/leak.sh"];
    assert_leak_is_stopped(&engine.run(cell.options, &leaking), cell);
    let container = engine.idle(cell.options);
    assert_leak_is_stopped(&container.exec(&leaking), cell);
    assert_eq!(engine.host.marked(), [0; 0]);

    // In a process tree, only the session's marker in their environment shows that they belong to it.
    let marker = engine.host.marker();
    let clear = if cell.containment == "tree" { "" } else { "env -i " };
    let script = format!("{clear}setsid sleep {marker} & exec sleep {marker}");
    let mut client = container.exec_in_background(&["cgrun", "--grace", "300ms", "sh", "-c", &script]);
    engine.host.until_marked(2);
    let supervisor = engine.host.cgruns()[0];
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    engine.host.until_none_is_marked();
    client.wait().unwrap();
    if cell.containment == "cgroup" {
        assert_sweep_ends_what_both_left(&engine, &container, &script);
    }
    // The guardian verifies its work and writes a record after the last process has exited.
    crate::harness::until("no cgrun is left", || engine.host.cgruns().is_empty());
    let listing: Value =
        serde_json::from_slice(&container.exec(&["cgrun", "sessions", "--json"]).stdout).unwrap();
    assert_eq!(listing["sessions"].as_array().unwrap().len(), 0, "{listing:#}");
}

fn doctor(engine: &Engine, options: &[&str]) -> Value {
    let done = engine.run(options, &["cgrun", "doctor", "--json"]);
    serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{options:?}: {error}: {}", text(&done.stderr)))
}

/// The command's exit code is passed on, and what it left is found.
fn assert_leak_is_stopped(done: &Output, cell: Cell) {
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.contains("leaked 3 processes, found and stopped:"), "{said}");
    assert!(said.contains("clean now: layer 1 (normal exit)"), "{said}");
    let note = said.lines().find(|line| line.contains("contained only by"));
    assert_eq!(note.is_some(), cell.containment != "cgroup", "{said}");
    assert!(note.is_none_or(|note| note.len() < 100), "{note:?}");
}

/// Neither the supervisor nor the guardian is alive.
fn assert_sweep_ends_what_both_left(engine: &Engine, container: &engine::Container<'_>, script: &str) {
    let mut client = container.exec_in_background(&["cgrun", "sh", "-c", script]);
    engine.host.until_marked(2);
    let both = engine.host.cgruns();
    assert_eq!(both.len(), 2, "{both:?}");
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        both.iter().for_each(|pid| kill(Pid::from_raw(*pid), signal).unwrap());
    }
    crate::harness::until("both are dead", || engine.host.cgruns().is_empty());
    assert_eq!(engine.host.marked().len(), 2);
    let checked = container.exec(&["cgrun", "check"]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stderr));
    let swept = container.exec(&["cgrun", "sweep"]);
    assert_eq!(swept.status.code(), Some(0), "{}", text(&swept.stderr));
    assert!(text(&swept.stderr).contains("ended session"), "{}", text(&swept.stderr));
    engine.host.until_none_is_marked();
    // runc waits for the descendants of what it executes.
    client.wait().unwrap();
}

fn can_be_private_if_doctor_says_so(engine: &Engine, cell: Cell, found: &Value) {
    let script = "readlink /proc/self/ns/net; touch /tmp/mine /dev/shm/mine";
    let words = format!(
        "readlink /proc/self/ns/net; cd /; cgrun --private all sh -c '{script}'; code=$?; ls /tmp/mine 2>/dev/null; exit $code"
    );
    let done = engine.run(cell.options, &["sh", "-c", &words]);
    let (said, complaints) = (text(&done.stdout), text(&done.stderr));
    if found["private"]["available"] == true {
        assert_eq!(done.status.code(), Some(0), "{complaints}");
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.len() == 2 && lines[0] != lines[1], "{said}");
    } else {
        assert_eq!(done.status.code(), Some(125), "{complaints}");
        assert!(complaints.contains("the session cannot "), "{complaints}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// A container that is started with the options that `cgrun doctor` recommends has what was missing.
fn advice_is_true(engine: &Engine, cell: Cell, found: &Value) {
    for missing in found["unavailable"].as_array().unwrap() {
        let remedy = missing["remedy"].as_str().unwrap();
        // This engine is older than the first alternative.
        let remedy = remedy.rsplit("(Docker 28 or newer) or ").next().unwrap();
        let mut options: Vec<_> = cell.options.to_vec();
        let mut words = remedy.split([' ', ',']).peekable();
        let mut is_told = false;
        while let Some(word) = words.next() {
            let option = match word {
                "--security-opt" | "--cap-add" => format!("{word}={}", words.next().unwrap()),
                "SYS_ADMIN" => "--cap-add=SYS_ADMIN".to_string(),
                "CAP_SYS_ADMIN" => "--cap-add=SYS_ADMIN".to_string(),
                _ => continue,
            };
            is_told = true;
            options.push(option.leak());
        }
        if missing["remedy"].as_str().unwrap().contains("run as root") {
            options.push("--user=0");
            is_told = true;
        }
        assert!(is_told, "no option in {remedy:?}");
        let better = doctor(engine, &options);
        let still = better["unavailable"].as_array().unwrap();
        assert!(
            !still.iter().any(|it| it["containment"] == missing["containment"]),
            "{options:?} did not help: {better:#}"
        );
    }
}
