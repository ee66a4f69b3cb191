//! Test suites that leak: what they create through docker-py, Testcontainers and Compose has labels, and those of the right
//! test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::clients::{Client, assert_success};
use super::engine::{Engine, IMAGE};
use super::foreign::kill_with_its_guardian;
use super::host::{output, text};
use crate::harness::{cgrun_program, until};

const TESTS: [&str; 6] = [
    "test_a_container_of_docker_py",
    "test_a_network_of_docker_py",
    "test_a_volume_of_docker_py",
    "test_a_volume_of_a_container",
    "test_a_container_of_testcontainers",
    "test_a_network_of_testcontainers",
];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The labels of what these commands print.
fn labels(objects: &str) -> Vec<Value> {
    let objects = serde_json::Deserializer::from_str(objects).into_iter().map(Result::unwrap);
    let labels = |object: &Value| {
        let own = object.get("Labels").filter(|it| !it.is_null());
        own.unwrap_or(&object["Config"]["Labels"]).clone()
    };
    objects.flat_map(|it: Value| it.as_array().unwrap().iter().map(labels).collect::<Vec<_>>()).collect()
}

fn command(client: Client, engine: &Engine, script: &str) -> Command {
    let mut command = client.command(engine, script);
    // No image can be pulled here.
    command.env("TESTCONTAINERS_RYUK_DISABLED", "true").env("COMPOSE_PROJECT_NAME", "suite");
    command
}

fn session(client: Client, engine: &Engine, script: &str) -> String {
    let done = output(&mut command(client, engine, script));
    assert_success(&done);
    text(&done.stdout)
}

fn what_a_test_leaks_has_its_name(client: Client, options: &str) {
    let engine = client.engine();
    let script = format!(
        "{} -q -p no:cacheprovider {options} {} >pytest.log || {{ cat pytest.log; exit 1; }}
         {{ for it in {}; do $D inspect $it; done; }} >inspected
         $RM $(grep -o 'test_a_container[a-z_]*' inspected | sort -u) >/dev/null; cat inspected",
        repository("target/engines/venv/bin/pytest").display(),
        repository("tests/engines/leaking/test_leaks.py").display(),
        TESTS.join(" "),
    );
    let said = session(client, &engine, &script);
    let labels = labels(&said);
    assert_eq!(labels.len(), TESTS.len(), "{said}");
    for (labels, test) in labels.iter().zip(TESTS) {
        let found = labels["cgrun.test"].as_str().unwrap_or_default();
        assert!(found.ends_with(&format!("test_leaks.py::{test} (call)")), "{test}: {labels}");
        assert!(labels["cgrun.session"].is_string(), "{labels}");
    }
}

fn what_a_pytest_leaks_has_its_name(client: Client) {
    what_a_test_leaks_has_its_name(client, "");
}

fn what_a_pytest_under_xdist_leaks_has_its_name(client: Client) {
    what_a_test_leaks_has_its_name(client, "-n 2");
}

fn compose() -> String {
    format!("docker-compose --file {}", repository("tests/engines/leaking/docker-compose.yml").display())
}

/// What there is of the suite in the engine.
fn left(engine: &Engine) -> String {
    let list =
        ["ps --all", "network ls", "volume ls"].map(|it| engine.in_a_shell(&format!("{it} | grep suite")));
    text(&output(Command::new("sh").args(["-c", &list.join(";")])).stdout)
}

#[test]
fn all_that_compose_v1_leaves_running_is_removed() {
    let (client, engine) = (Client::Docker, Client::Docker.engine());
    let mut command = command(client, &engine, &format!("{} up --detach 2>up", compose()));
    let done = output(command.env("CGRUN_REPORT", "json=r.json"));
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("2 containers leaked") && said.contains("1 network, 1 volume"), "{said}");
    // Whatever the project is called, these are known by their services.
    let report = std::fs::read_to_string(engine.host.path().join("r.json")).unwrap();
    for program in ["container one of compose", "container two of compose"] {
        assert!(report.contains(&format!("\"program\": \"{program}\"")), "{program}: {report}");
    }
    assert_eq!(left(&engine), "");
}

/// A job of GitLab's with the socket of its Docker-in-Docker in another place.
#[test]
fn the_recipe_for_containers_on_gitlab_names_what_leaks() {
    let engine = Client::Docker.engine();
    let recipe = std::fs::read_to_string(repository("docs/examples/ci/gitlab-containers.yml")).unwrap();
    let job = recipe.lines().find_map(|line| line.trim().strip_prefix("- cgrun ")).unwrap();
    assert!(recipe.contains("DOCKER_HOST: unix:///"), "{recipe}");
    let leak = format!(
        "import subprocess\ndef test_cache():\n    subprocess.run('docker run -d --network none {IMAGE} tail -f /dev/null'.split())\n"
    );
    std::fs::write(engine.host.path().join("test_it.py"), leak).unwrap();
    let path = format!(
        "{}:{}:{}",
        repository("target/engines/venv/bin").display(),
        cgrun_program().parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut bash = Command::new("bash");
    bash.args(["-ec", &format!("cgrun --grace 200ms {job}")]).current_dir(engine.host.path());
    bash.env("PATH", path).env("XDG_STATE_HOME", engine.host.path()).env("HOME", engine.host.path());
    let done = output(bash.env("DOCKER_HOST", "unix:///run/docker.sock").env_remove("NEXTEST"));
    let said = text(&done.stderr);
    assert_eq!((done.status.code(), engine.list().as_str()), (Some(121), ""), "{said}");
    assert!(said.contains("cgrun:   test_it.py::test_cache (call): "), "{said}");
    let junit = std::fs::read_to_string(engine.host.path().join("cgrun.xml")).unwrap();
    assert!(junit.contains("leaked 1 container"), "{junit}");
}

#[test]
fn a_sweep_removes_all_of_compose_v1() {
    let (client, engine) = (Client::Docker, Client::Docker.engine());
    let script = format!("{} up --detach 2>up; touch running; exec sleep 900", compose());
    let mut cgrun = command(client, &engine, &script).stdin(Stdio::null()).spawn().unwrap();
    until("the containers run", || engine.host.path().join("running").exists());
    kill_with_its_guardian(&mut cgrun);
    assert_eq!(left(&engine).lines().count(), 4, "{}", left(&engine));
    let mut sweep = Command::new(cgrun_program());
    sweep.arg("sweep").current_dir(engine.host.path()).env("XDG_STATE_HOME", engine.host.path());
    assert_success(&output(sweep.env_remove("NEXTEST")));
    assert_eq!(left(&engine), "");
}

/// It compares the labels of networks and volumes with those in its file.
#[test]
fn compose_v1_creates_with_labels_and_finds_nothing_changed() {
    let (client, engine) = (Client::Docker, Client::Docker.engine());
    let compose = compose();
    let script = format!(
        "{compose} up --detach 2>first; {compose} up --detach 2>second
         $D inspect suite_one_1 suite_two_1 suite_net suite_data
         {compose} down --volumes --timeout 0 2>third; [ -z \"$($D ps --all --quiet)\" ]"
    );
    let labels = labels(&session(client, &engine, &script));
    let name = |it: &Value, name: &str| it[name].is_string();
    let own: Vec<_> = labels.iter().map(|it| name(it, "cgrun.session")).collect();
    let hidden: Vec<_> = labels.iter().map(|it| name(it, "com.docker.cgrun.session")).collect();
    assert_eq!((own, hidden), (vec![true, true, false, false], vec![false, false, true, true]), "{labels:?}");
    let said = std::fs::read_to_string(engine.host.path().join("second")).unwrap();
    assert!(said.contains("suite_one_1 is up-to-date") && !said.contains("changed"), "{said}");
}

macro_rules! with_both {
    ($($scenario:ident),* $(,)?) => {
        mod docker { $(#[test] fn $scenario() { super::$scenario(super::Client::Docker) })* }
        mod podman { $(#[test] fn $scenario() { super::$scenario(super::Client::DockerOfPodman) })* }
    };
}

with_both! {
    what_a_pytest_leaks_has_its_name,
    what_a_pytest_under_xdist_leaks_has_its_name,
}
