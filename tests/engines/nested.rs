//! A session that starts containers itself.

use std::process::Command;

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{output, text};
use crate::harness::cgrun_program;

/// Starts a container in a session whose command then ends, and expects podman to know that it has exited.
///
/// Its first process ignores SIGTERM, like any first process without a handler.
fn leaves_podman_consistent(how: &str) {
    let engine = Engine::start(EngineKind::Podman);
    let run =
        engine.in_a_shell(&format!("run --rm --network none --name inner {how} {IMAGE} tail -f /dev/null"));
    let list = engine.in_a_shell("ps --format {{.Status}}");
    let script = format!("{run} & until {list} | grep -q Up; do sleep 0.05; done");
    let session = || {
        let mut command = Command::new(cgrun_program());
        command.args(["-v", "sh", "-c", &script]).current_dir(engine.host.path());
        let done = output(command.env("XDG_STATE_HOME", engine.host.path()));
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        assert_eq!(engine.list(), "", "{}", text(&done.stderr));
    };
    session();
    // The name is free.
    session();
}

#[test]
fn podman_run_leaves_podman_consistent() {
    leaves_podman_consistent("");
}

#[test]
fn a_detached_podman_run_leaves_podman_consistent() {
    leaves_podman_consistent("--detach");
}
