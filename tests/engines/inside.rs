//! Situations that only arise with containers.

use super::engine::{Engine, EngineKind};
use super::host::text;
use crate::harness::until;

const ENGINES: [EngineKind; 2] = [EngineKind::Docker, EngineKind::Podman];

/// The first process of the container reaps nothing.
fn leaves_no_zombies(kind: EngineKind) {
    let engine = Engine::start(kind);
    let container = engine.idle(&[]);
    let script = "i=0; while [ $i -lt 40 ]; do cgrun true || exit 9; i=$((i + 1)); done";
    let done = container.exec(&["sh", "-c", script]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!((engine.host.cgruns().len(), engine.host.zombies().len()), (0, 0));
}

/// cgrun is the first process, and another process is started in the container meanwhile.
fn spares_what_is_executed_beside_the_session(kind: EngineKind) {
    let engine = Engine::start(kind);
    let marker = engine.host.marker().to_string();
    let script = "until [ -e /tmp/go ]; do sleep 0.05; done";
    let container = engine.start_container(&[], &["cgrun", "--on-leak", "fail", "-v", "sh", "-c", script]);
    until("the container runs", || container.exec(&["true"]).status.success());
    let mut beside = container.exec_in_background(&["sleep", &marker]);
    engine.host.until_marked(1);
    // Not by executing `touch` in the container: the session may end, and the container with it, before that is done.
    let supervisor = engine.host.cgruns()[0];
    std::fs::write(format!("/proc/{supervisor}/root/tmp/go"), "").unwrap();
    let (code, said) = container.finish();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("leaked"), "{said}");
    beside.wait().unwrap();
}

macro_rules! with_both {
    ($($scenario:ident),*) => {
        mod docker { $(#[test] fn $scenario() { super::$scenario(super::ENGINES[0]) })* }
        mod podman { $(#[test] fn $scenario() { super::$scenario(super::ENGINES[1]) })* }
    };
}

with_both! { leaves_no_zombies, spares_what_is_executed_beside_the_session }
