//! Engines that refuse, fail, or know only a part: what `cgrun check` and `cgrun sweep` make of their answers.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};

use super::ended::{Labels, fake_engine};
use super::host::{EngineHost, output, text};
use crate::harness::cgrun_program;

fn labels() -> Value {
    let Labels { session, boot, pid_namespace, owner } = Labels::of_a_dead_owner();
    json!({
        "cgrun.session": session, "cgrun.boot": boot,
        "cgrun.pid-namespace": pid_namespace, "cgrun.owner": owner,
    })
}

/// An engine that has these, and answers nothing else.
fn lists(line: &str, containers: &Value, networks: &Value, pods: &Value) -> Option<(u16, String)> {
    Some(match line {
        // Otherwise it has them twice.
        _ if line.contains("com.docker.cgrun") => (200, "null".into()),
        _ if line.starts_with("GET /containers/json") => (200, containers.to_string()),
        _ if line.starts_with("GET /networks") => (200, networks.to_string()),
        _ if line.starts_with("GET /volumes") => (200, "{\"Volumes\":null}".into()),
        _ if line.starts_with("GET /v4.0.0/libpod/pods/json") => (200, pods.to_string()),
        _ => return None,
    })
}

fn container() -> Value {
    json!([{
        "Id": "1234", "Names": ["/web"], "Image": "redis:7", "ImageID": "sha256:5678", "State": "exited",
        "Created": 1, "Labels": labels(),
    }])
}

fn cgrun(host: &EngineHost, arguments: &[&str], sockets: &[String]) -> Output {
    let mut command = Command::new(cgrun_program());
    command.args(arguments).current_dir(host.path()).env("XDG_STATE_HOME", host.path());
    for (variable, socket) in ["DOCKER_HOST", "CONTAINER_HOST"].iter().zip(sockets) {
        command.env(variable, format!("unix://{socket}"));
    }
    output(command.env_remove("NEXTEST"))
}

/// What it says of an engine that answers so, and with which code it exits.
fn says(
    host: &EngineHost,
    arguments: &[&str],
    answer: impl Fn(&str) -> (u16, String) + Send + 'static,
) -> (Option<i32>, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("fake-{}.sock", COUNT.fetch_add(1, Ordering::Relaxed));
    let socket = fake_engine(host, &name, answer).display().to_string();
    let done = cgrun(host, arguments, &[socket]);
    (done.status.code(), text(&done.stderr))
}

/// An engine with one container, and these answers to what is asked of its image. Whether it was removed is noted.
fn sweep_of_image(host: &EngineHost, code: u16, body: &'static str) -> (Option<i32>, String, bool) {
    let removed = Arc::new(AtomicBool::new(false));
    let noted = removed.clone();
    let (exit, said) = says(host, &["sweep"], move |line| {
        if line.starts_with("GET /images/sha256%3A5678/json") {
            return (code, body.into());
        }
        if line.starts_with("DELETE") {
            noted.store(true, Ordering::Relaxed);
            return (204, String::new());
        }
        let all = if noted.load(Ordering::Relaxed) { json!([]) } else { container() };
        lists(line, &all, &Value::Null, &Value::Null).unwrap()
    });
    (exit, said, removed.load(Ordering::Relaxed))
}

#[test]
fn a_container_whose_image_cannot_be_looked_at_is_left_alone_and_said() {
    let host = EngineHost::enter();
    for (code, body) in [(500, "{}"), (403, ""), (200, "nonsense")] {
        let (exit, said, removed) = sweep_of_image(&host, code, body);
        assert!(
            said.contains("cannot determine which session has created podman's container web (redis:7)"),
            "{code}: {said}"
        );
        assert!(said.lines().count() == 1 && exit == Some(122) && !removed, "{code}: {exit:?} {said}");
    }
    for (code, body) in [(404, "{}"), (200, r#"{"Config":{"Labels":{"cgrun.session":"another"}}}"#)] {
        let (exit, said, removed) = sweep_of_image(&host, code, body);
        assert!(
            exit == Some(0) && said.contains("ended podman's container web") && removed,
            "{code}: {exit:?} {said}"
        );
    }
    let (exit, said, removed) =
        sweep_of_image(&host, 200, r#"{"Config":{"Labels":{"cgrun.session":"bcdfghjk"}}}"#);
    assert!((exit, said.as_str(), removed) == (Some(0), "", false), "{exit:?} {said}");
}

/// Docker can list what it has removed, until it is started again.
#[test]
fn a_container_that_the_engine_only_lists_is_gone() {
    let host = EngineHost::enter();
    let mut listed = container();
    listed[0]["State"] = "removing".into();
    for command in ["check", "sweep"] {
        for (code, exit) in [(404, 0), (200, if command == "check" { 1 } else { 122 })] {
            let listed = listed.clone();
            let (done, said) = says(&host, &[command], move |line| {
                let lists = lists(line, &listed, &Value::Null, &Value::Null);
                let is_about_it = line.starts_with("GET /containers/1234/json");
                lists.unwrap_or((if is_about_it { code } else { 404 }, "{}".into()))
            });
            assert_eq!((done, said.is_empty()), (Some(exit), code == 404), "{command} {code}: {said}");
        }
    }
}

/// An engine can need a moment until it knows that the containers are gone.
#[test]
fn a_network_that_is_in_use_for_a_moment_is_no_survivor() {
    let host = EngineHost::enter();
    let tries = AtomicU32::new(0);
    let (exit, said) = says(&host, &["sweep"], move |line| {
        let gone = tries.load(Ordering::Relaxed) >= 5;
        let networks = json!([{ "Id": "12", "Name": "net", "Labels": labels() }]);
        let networks = if gone { Value::Null } else { networks };
        lists(line, &Value::Null, &networks, &Value::Null).unwrap_or_else(|| {
            tries.fetch_add(1, Ordering::Relaxed);
            (403, "{\"message\":\"network net has active endpoints\"}".into())
        })
    });
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("network net, left behind"), "{said}");
}

#[test]
fn a_pod_with_a_container_of_somebody_else_is_a_survivor() {
    let host = EngineHost::enter();
    let removed = Arc::new(AtomicBool::new(false));
    let noted = removed.clone();
    let (exit, said) = says(&host, &["sweep"], move |line| {
        let pods = json!([{ "Id": "12", "Name": "shop", "Labels": labels() }]);
        if line.starts_with("GET /v4.0.0/libpod/pods/12/json") {
            let all = json!([{ "Id": "1", "Name": "infra" }, { "Id": "2", "Name": "web" }]);
            return (200, json!({ "InfraContainerID": "1", "Containers": all }).to_string());
        }
        noted.fetch_or(line.starts_with("DELETE"), Ordering::Relaxed);
        lists(line, &Value::Null, &Value::Null, &pods).unwrap_or((200, "{}".into()))
    });
    assert_eq!(exit, Some(122), "{said}");
    assert!(
        said.contains("cannot end podman's pod shop: it has containers that are not the session's: web"),
        "{said}"
    );
    assert!(!removed.load(Ordering::Relaxed));
}

/// A proxy before the engine's socket, which does not allow it (docker-socket-proxy).
#[test]
fn an_engine_that_does_not_allow_to_list_is_as_one_that_is_not_there() {
    let host = EngineHost::enter();
    for command in ["sweep", "check"] {
        let (exit, said) = says(&host, &[command], |_| (403, "<html>Forbidden</html>".into()));
        assert_eq!((exit, said.as_str()), (Some(0), ""), "{command}");
    }
}

/// Who has never used `--containers` is not bothered with it.
#[test]
fn an_engine_that_fails_is_a_remark_of_a_check_unless_something_of_a_session_is_seen() {
    let host = EngineHost::enter();
    let failed = || (500, "{\"message\":\"the disk is full\"}".into());
    let (exit, said) = says(&host, &["check"], move |_| failed());
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("the disk is full"), "{said}");
    let (exit, said) = says(&host, &["sweep"], move |_| failed());
    assert_eq!(exit, Some(122), "{said}");

    let bad = fake_engine(&host, "bad.sock", move |_| failed()).display().to_string();
    let lists_one =
        |line: &str| lists(line, &container(), &Value::Null, &Value::Null).unwrap_or((404, "{}".into()));
    let good = fake_engine(&host, "good.sock", lists_one).display().to_string();
    let done = cgrun(&host, &["check"], &[bad, good]);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("the disk is full") && said.contains("podman's container web"), "{said}");
}

#[test]
fn an_engine_with_two_sockets_is_counted_once() {
    let host = EngineHost::enter();
    let removed = Arc::new(AtomicU32::new(0));
    let answer = |may_remove: bool| {
        let removed = removed.clone();
        move |line: &str| {
            let gone = removed.load(Ordering::Relaxed) > 0;
            let all = if gone { json!([]) } else { container() };
            lists(line, &all, &Value::Null, &Value::Null).unwrap_or_else(|| match line {
                _ if line.starts_with("GET /images") => (404, "{}".into()),
                _ if may_remove => {
                    removed.fetch_add(1, Ordering::Relaxed);
                    (204, String::new())
                }
                _ => (403, "{}".into()),
            })
        }
    };
    let sockets = [("one.sock", false), ("two.sock", true)];
    let sockets = sockets.map(|(name, may)| fake_engine(&host, name, answer(may)).display().to_string());
    let checked = cgrun(&host, &["check", "--json"], &sockets);
    let found: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(found["stale_containers"].as_array().unwrap().len(), 1, "{found:#}");
    // The first socket can only be read.
    let done = cgrun(&host, &["sweep"], &sockets);
    let said = text(&done.stderr);
    assert_eq!((done.status.code(), said.lines().count()), (Some(0), 1), "{said}");
    assert_eq!(removed.load(Ordering::Relaxed), 1);
}
