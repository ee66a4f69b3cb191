//! A session's own way to a container engine (`--containers`).

use std::io::{Read, Write};
use std::process::{Command, Output};

use serde_json::Value;

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{EngineHost, output, shell, text};
use super::started::{client, engine};
use crate::harness::cgrun_program;

/// As in a container. On newer kernels, the second or the third is enough to read the environment of others.
const WITHOUT_TRACING: [&str; 3] = [
    "setpriv",
    "--bounding-set=-sys_ptrace,-perfmon,-sys_admin",
    "--inh-caps=-sys_ptrace,-perfmon,-sys_admin",
];

/// Runs a shell in a session that ends its containers.
pub(super) fn session(engine: &Engine, options: &[&str], script: &str) -> Output {
    output(&mut session_command(engine, options, script))
}

pub(super) fn session_command(engine: &Engine, options: &[&str], script: &str) -> Command {
    let mut command = Command::new(cgrun_program());
    let grace = if options.contains(&"--grace") { &[][..] } else { &["--grace", "1s"] };
    command.arg("--containers").args(grace).args(options).args(["sh", "-c", script]);
    command.current_dir(engine.host.path()).env("XDG_STATE_HOME", engine.host.path());
    if engine.kind() == EngineKind::Podman {
        command.env("CONTAINER_HOST", "unix:///run/podman/podman.sock");
    }
    command.env_remove("NEXTEST").env("HOME", engine.host.path());
    command
}

/// What the engine itself says.
fn direct(engine: &Engine, arguments: &str) -> String {
    let done = output(Command::new("sh").args(["-c", &client(engine, arguments)]).env_remove("NEXTEST"));
    assert!(done.status.success(), "{arguments}: {}", text(&done.stderr));
    text(&done.stdout)
}

/// The program of the engine, for a session's shell.
pub(super) fn program(engine: &Engine) -> &'static str {
    if engine.kind() == EngineKind::Podman { "podman --remote" } else { "docker" }
}

fn what_is_created_has_the_labels_of_the_session(kind: EngineKind) {
    let engine = engine(kind);
    let program = program(&engine);
    let script = format!(
        "export PYTEST_CURRENT_TEST='tests/test_a.py::test_b (call)'
         {program} volume create vol && {program} network create net &&
         {program} run --detach --network none --name box --volume vol:/a --volume new:/b {IMAGE} tail -f /dev/null &&
         for it in volume:vol volume:new network:net container:box; do
             {program} ${{it%:*}} inspect ${{it#*:}}; done >inspected"
    );
    let done = session(&engine, &[], &script);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let said = std::fs::read_to_string(engine.host.path().join("inspected")).unwrap();
    let objects: Vec<Value> =
        serde_json::Deserializer::from_str(&said).into_iter().map(Result::unwrap).collect();
    assert_eq!(objects.len(), 4, "{said}");
    for object in objects {
        let object = &object[0];
        let labels = ["Labels", "labels"].into_iter().find_map(|name| object.get(name));
        let labels = labels.unwrap_or(&object["Config"]["Labels"]);
        assert_eq!(labels["cgrun.test"], "tests/test_a.py::test_b (call)", "{object:#}");
        assert!(labels["cgrun.session"].as_str().is_some_and(|it| it.len() == 8), "{object:#}");
    }
    direct(&engine, "rm --force box");
    assert!(!engine.host.path().join("run").exists());
}

/// The way to the engine is a path, and who asks is known by a pid outside.
#[test]
fn a_session_of_ones_own_reaches_the_engine_and_its_tests_are_known() {
    let engine = Engine::start(EngineKind::Docker);
    let script = format!(
        "export PYTEST_CURRENT_TEST='tests/test_a.py::test_b (call)'
         docker run --detach --network none {IMAGE} tail -f /dev/null >/dev/null"
    );
    for options in [&["--private", "all"][..], &["--require", "cgroup+pidns"], &["--user", "nobody"]] {
        shell(&format!("chmod 666 /run/docker.sock; chmod 777 {}", engine.host.path().display()));
        let done = session(&engine, options, &script);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "{options:?}: {said}");
        assert!(said.contains("  tests/test_a.py::test_b (call): cgrun-test"), "{options:?}: {said}");
        assert_eq!(engine.list(), "", "{options:?}");
    }
}

/// A directory that only some can enter can protect the engine's own socket, whatever its mode.
#[test]
fn the_sockets_of_a_session_are_for_its_user_alone() {
    let engine = Engine::start(EngineKind::Docker);
    shell("chmod 666 /run/docker.sock");
    let script =
        "path=${DOCKER_HOST#unix://}; stat -c '%a %U' $path ${path%/*} >modes; docker version >/dev/null";
    for (user, expected) in [(None, "root"), (Some("nobody"), "nobody")] {
        shell(&format!(
            "cd {}; rm -f modes; touch modes; chmod 666 modes; chmod 755 .",
            engine.host.path().display()
        ));
        let options: Vec<_> = user.iter().flat_map(|user| ["--user", user]).collect();
        let done = session(&engine, &options, script);
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        let modes = std::fs::read_to_string(engine.host.path().join("modes")).unwrap();
        let modes: Vec<_> = modes.split_whitespace().collect();
        assert_eq!(modes.len(), 4, "{modes:?}");
        assert!(modes[0].ends_with("00") && modes[2] == "700", "{modes:?}");
        assert_eq!([modes[1], modes[3]], [expected; 2]);
    }
}

/// An engine can look at who has connected, and not only at who could. Whose a request is, is known without the right to trace.
#[test]
fn an_engine_sees_the_user_of_the_session_and_whose_a_request_is() {
    let host = EngineHost::enter();
    let (socket, seen) = (host.path().join("engine.sock"), std::sync::mpsc::channel());
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    shell(&format!("chmod 755 {}; chmod 666 {}", host.path().display(), socket.display()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let who =
                nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}");
            seen.0.send((text(&request[..length]), who.uid(), who.gid())).unwrap();
        }
    });
    let script = "export PYTEST_CURRENT_TEST='tests/test_a.py::test_b (call)'; for path in volumes/create info; do \
         curl -sS --unix-socket ${DOCKER_HOST#unix://} -d '{}' http://x/$path; done";
    for launcher in [&["env"][..], &WITHOUT_TRACING] {
        let mut command = Command::new(launcher[0]);
        command.args(&launcher[1..]).arg(cgrun_program()).current_dir(host.path());
        command.args(["--containers", "--user", "nobody", "sh", "-c", script]).env("HOME", host.path());
        command.env("DOCKER_HOST", format!("unix://{}", socket.display())).env("XDG_STATE_HOME", host.path());
        let done = output(command.env_remove("NEXTEST"));
        let all: Vec<_> = seen.1.try_iter().collect();
        for path in ["POST /volumes/create", "POST /info"] {
            let found = all.iter().find(|it| it.0.starts_with(path));
            let (request, uid, gid) = found.unwrap_or_else(|| panic!("{all:?}: {}", text(&done.stderr)));
            assert_eq!((*uid, *gid), (65534, 65534), "{path}");
            let has_test = request.contains("\"cgrun.test\":\"tests/test_a.py::test_b (call)\"");
            assert_eq!(has_test, path.ends_with("create"), "{launcher:?}: {request}");
        }
    }
}

/// docker's own proxy listens on the port, in no cgroup of the session.
#[test]
fn a_service_is_ready_when_the_port_that_its_container_publishes_answers() {
    let engine = Engine::with_network();
    let config = format!(
        "[services.web]\ncommand = ['docker', 'run', '--rm', '--publish', '8000:80', '{IMAGE}', 'sh', '-c', 'trap \"kill $!\" TERM; busybox httpd -f -p 80 -h /etc & wait']\n\
         port = 8000\nready.http = 'http://127.0.0.1:8000/passwd'\n"
    );
    std::fs::write(engine.host.path().join("cgrun.toml"), config).unwrap();
    let done = session(&engine, &[], "docker ps --format '{{.Label \"cgrun.service\"}}' >service");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(std::fs::read_to_string(engine.host.path().join("service")).unwrap(), "web\n");
    assert_eq!(engine.list(), "", "{}", text(&done.stderr));
}

with_both! {
    what_is_created_has_the_labels_of_the_session,
}
