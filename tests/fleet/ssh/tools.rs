//! What starts suites on many hosts: GNU parallel, pytest-xdist and Ansible, as `docs/examples/fleet/ssh` does it.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::hosts::Hosts;
use super::job::cause_of;
use crate::fleet::suite::Suites;
use crate::fleet::{program, root};
use crate::harness::until;

fn example(name: &str) -> String {
    root().join("docs/examples/fleet/ssh").join(name).to_str().unwrap().to_string()
}

fn words(them: &[&str]) -> Vec<String> {
    them.iter().map(ToString::to_string).collect()
}

/// What a run of one of them leaves near: the reports of the hosts or shards, and one of them all.
fn merged(hosts: &Hosts) -> Value {
    let found = std::fs::read_dir(hosts.near_directory()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = found.filter(|it| it.extension().is_some_and(|it| it == "json")).collect();
    assert_eq!(found.len(), 1, "{found:?} {}", hosts.near_said());
    serde_json::from_slice(&std::fs::read(&found[0]).unwrap()).unwrap()
}

/// The hosts on which the sessions of a merged report ran.
fn hosts_of(merged: &Value) -> Vec<&str> {
    let sessions = merged["sessions"].as_array().unwrap();
    let mut hosts: Vec<_> = sessions.iter().map(|it| it["host"].as_str().unwrap()).collect();
    hosts.sort_unstable();
    hosts
}

/// Where the reports of the hosts or shards are.
fn night(hosts: &Hosts) -> PathBuf {
    let mut found = std::fs::read_dir(hosts.near_directory()).unwrap().map(|entry| entry.unwrap().path());
    found.find(|it| it.is_dir() && it.file_name().unwrap().to_str().unwrap().starts_with("night-")).unwrap()
}

/// Why the sessions have ended of which there are reports in a directory.
fn causes_in(directory: &Path) -> Vec<String> {
    let found = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    found.filter(|it| it.extension().is_some_and(|it| it == "json")).map(|it| cause_of(&it)).collect()
}

fn finish(mut child: Child, hosts: &Hosts) -> std::process::ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begin.elapsed() < Duration::from_secs(80), "never exits: {}", hosts.near_said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything is gone, near and far.
fn assert_clean(hosts: &Hosts) {
    hosts.host(1).until_clean();
    hosts.host(2).until_clean();
    until("nothing is left near", || hosts.near_members().is_empty());
}

/// Two suites run, one on each host; then `signal` is sent to the program that cgrun runs near.
fn struck(hosts: &Hosts, start: &[String], suites: &Suites, seeds: [u32; 2], signal: Signal) {
    let child = hosts.near(start).spawn().unwrap();
    seeds.iter().for_each(|&seed| suites.until_started(seed));
    kill(hosts.near_command(), signal).unwrap();
    finish(child, hosts);
    assert_clean(hosts);
    suites.until_all_are_gone();
}

fn parallel(script: &str, suites: &Suites, seconds: f64) -> Vec<String> {
    // The number of the shard is the seed.
    let suite = suites.command(7, seconds).into_iter().map(|it| if it == "7" { "{}".into() } else { it });
    words(&["sh", script, "far1,far2", "2"]).into_iter().chain(suite).collect()
}

#[test]
fn parallel_runs_shards_on_two_hosts_and_their_reports_become_one() {
    let hosts = Hosts::enter(2);
    let suites = Suites::within(&hosts.path().join("suites"));
    finish(hosts.near(&parallel(&example("parallel.sh"), &suites, 0.1)).spawn().unwrap(), &hosts);
    assert_eq!(hosts_of(&merged(&hosts)), ["far1", "far2"], "{}", hosts.near_said());
    assert!(suites.has_ended(1) && suites.has_ended(2));
    assert_clean(&hosts);
}

/// The script with less time for a session: what is deaf takes all of it.
fn impatient(hosts: &Hosts) -> String {
    let script = std::fs::read_to_string(example("parallel.sh")).unwrap();
    let (long, short) = ("--stop-within 8s", "--stop-within 1500ms");
    assert!(script.contains(long));
    let path = hosts.path().join("impatient.sh");
    std::fs::write(&path, script.replace(long, short)).unwrap();
    path.to_str().unwrap().to_string()
}

macro_rules! parallel_ends {
    ($($test:ident: $signal:ident;)*) => { $(#[test] fn $test() {
        let hosts = Hosts::enter(2);
        let suites = Suites::within(&hosts.path().join("suites"));
        struck(&hosts, &parallel(&impatient(&hosts), &suites, 600.0), &suites, [1, 2], Signal::$signal);
        assert_eq!(hosts_of(&merged(&hosts)), ["far1", "far2"]);
        // Each had time for its own report.
        assert_eq!(causes_in(&night(&hosts)), ["signal"; 2], "{}", hosts.near_said());
    })* };
}

parallel_ends! {
    parallel_that_is_interrupted_ends_its_far_sessions: SIGINT;
    parallel_that_is_killed_ends_its_far_sessions: SIGKILL;
}

#[test]
fn parallel_that_halts_ends_the_far_sessions_of_the_others() {
    let hosts = Hosts::enter(2);
    let suites = Suites::within(&hosts.path().join("suites"));
    let wait =
        format!("until [ -e {}/suites/started-2 ]; do sleep 0.05; done; exit 3", hosts.path().display());
    let far = format!(
        "cgrun sh -c 'if [ {{}} = 1 ]; then {wait}; fi; exec {}'",
        suites.command(2, 600.0).join(" ")
    );
    let start =
        ["parallel", "--jobs", "1", "--halt", "now,fail=1", "--sshlogin", "far1,far2", &far, ":::", "1", "2"];
    let status = finish(hosts.near(&words(&start)).spawn().unwrap(), &hosts);
    assert_eq!(status.code(), Some(3), "{}", hosts.near_said());
    assert_clean(&hosts);
    suites.until_all_are_gone();
}

/// A test on each host, which leaves a daemon, and hangs if it is told to.
const TESTS: &str = r#"
import os, pathlib, subprocess, time, pytest

@pytest.mark.parametrize("it", range(2))
def test_leaks(it):
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    here = pathlib.Path(__file__).resolve().parents[3]
    (here / f"started-{os.environ['PYTEST_XDIST_WORKER']}").touch()
    if (here / "hang").exists():
        time.sleep(600)
"#;

fn xdist(hosts: &Hosts) -> Vec<String> {
    let tests = hosts.near_directory().join("tests");
    std::fs::create_dir(&tests).unwrap();
    std::fs::write(tests.join("test_it.py"), TESTS).unwrap();
    words(&[&example("xdist.sh"), "far1,far2", "tests", "-p", "no:cacheprovider"])
}

#[test]
fn xdist_names_the_test_that_leaked_on_a_far_host() {
    let hosts = Hosts::enter(2);
    let status = finish(hosts.near(&xdist(&hosts)).spawn().unwrap(), &hosts);
    assert_eq!(status.code(), Some(0), "{}", hosts.near_said());
    let merged = merged(&hosts);
    assert_eq!(hosts_of(&merged), ["far1", "far2"]);
    for test in ["tests/test_it.py::test_leaks[0]", "tests/test_it.py::test_leaks[1]"] {
        assert!(merged["leaks"].to_string().contains(test), "{merged}");
    }
    assert_clean(&hosts);
}

#[test]
fn xdist_that_is_killed_ends_its_far_sessions() {
    let hosts = Hosts::enter(2);
    let start = xdist(&hosts);
    std::fs::write(hosts.path().join("hang"), "").unwrap();
    let child = hosts.near(&start).spawn().unwrap();
    for worker in ["gw0", "gw1"] {
        until("the tests hang", || hosts.path().join(format!("started-{worker}")).exists());
    }
    kill(hosts.near_command(), Signal::SIGKILL).unwrap();
    finish(child, &hosts);
    assert_clean(&hosts);
    let merged = merged(&hosts);
    assert_eq!(hosts_of(&merged), ["far1", "far2"]);
    let sessions = merged["sessions"].as_array().unwrap();
    assert!(sessions.iter().all(|it| it["verified_empty"] == true), "{merged}");
    assert_eq!(causes_in(&night(&hosts)), ["parent_exited", "parent_exited"], "{merged}");
}

fn ansible(hosts: &Hosts, suites: &Suites, seconds: f64, more: &[&str]) -> Vec<String> {
    let mut suite = suites.command(7, seconds);
    for word in &mut suite {
        if word == "7" {
            *word = "\"$SHARD\"".into();
        }
    }
    let variables = serde_json::json!({
        "suite": ["sh", "-c", format!("exec {}", suite.join(" "))],
        "directory": hosts.path().to_str().unwrap(),
        "ansible_python_interpreter": "/usr/bin/python3",
    });
    let inventory = hosts.near_directory().join("hosts");
    std::fs::write(&inventory, "far1\nfar2\n").unwrap();
    let start =
        ["cgrun", "--allow", "ssh: *", program("ansible-playbook").to_str().unwrap()].map(String::from);
    let rest =
        ["-i", inventory.to_str().unwrap(), &example("suite.yml"), "--extra-vars", &variables.to_string()];
    start.into_iter().chain(words(&rest)).chain(words(more)).collect()
}

#[test]
fn ansible_runs_a_shard_on_each_host_and_merges_their_reports() {
    let hosts = Hosts::enter(2);
    let suites = Suites::within(&hosts.path().join("suites"));
    let status = finish(hosts.near(&ansible(&hosts, &suites, 0.1, &[])).spawn().unwrap(), &hosts);
    // Shard 1 exits with 3.
    assert_eq!(status.code(), Some(2), "{}", hosts.near_said());
    assert_eq!(hosts_of(&merged(&hosts)), ["far1", "far2"], "{}", hosts.near_said());
    assert!(suites.has_ended(1) && suites.has_ended(2));
    assert_clean(&hosts);
}

macro_rules! ansible_ends {
    ($($test:ident: $signal:ident, $options:expr => $causes:expr;)*) => { $(#[test] fn $test() {
        let hosts = Hosts::enter(2);
        let suites = Suites::within(&hosts.path().join("suites"));
        let start = ansible(&hosts, &suites, 600.0, &$options);
        struck(&hosts, &start, &suites, [1, 2], Signal::$signal);
        let causes = causes_in(hosts.path());
        let is_expected = |it: &String| $causes.contains(&it.as_str());
        assert!(causes.len() == 2 && causes.iter().all(is_expected), "{causes:?} {}", hosts.near_said());
    })* };
}

ansible_ends! {
    // Whichever comes first: the terminal hangs up, and the module exits.
    ansible_that_is_interrupted_ends_its_far_sessions: SIGINT, [] => &["signal", "parent_exited"];
    ansible_that_is_killed_ends_its_far_sessions: SIGKILL, [] => &["signal", "parent_exited"];
    // With pipelining, the far side has no terminal.
    ansible_with_pipelining_that_is_killed_ends_its_far_sessions: SIGKILL, ["-e", "ansible_pipelining=true"] => &["parent_exited"];
}
