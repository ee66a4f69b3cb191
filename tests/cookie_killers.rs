//! A CI runner that cancels a job kills all processes whose environment has a variable of the job, cgrun included.

use std::process::Command;

use nix::sys::signal::Signal::SIGKILL;

use crate::harness::{Session, helpers};

/// Leaves a daemon that the runner does not find.
const DAEMON: &str = "setsid -f env -i sleep 900; touch running; exec sleep 900";

/// A value that no other job has.
fn cookie() -> String {
    format!("job-{}", std::process::id())
}

#[test]
fn nothing_survives_a_runner_that_kills_by_a_variable() {
    Session::new();
    for _ in 0..9 {
        let run = Session::again().env("JENKINS_NODE_COOKIE", cookie()).sh(DAEMON).start();
        run.until_file("running");
        let killer = helpers().join("cookie_killer.py");
        let variable = format!("JENKINS_NODE_COOKIE={}", cookie());
        let status =
            Command::new("python3").arg(killer).arg(variable).env_clear().env("PATH", "/usr/bin").status();
        assert!(status.unwrap().success());
        run.finish().assert_signal(SIGKILL).assert_nothing_left();
    }
}

#[test]
fn the_guardian_keeps_only_markers_of_its_environment() {
    let run = Session::new().env("JENKINS_NODE_COOKIE", cookie()).sh(DAEMON).start();
    let guardian = run.until_file("running").guardian().unwrap();
    let environ = std::fs::read(format!("/proc/{guardian}/environ")).unwrap();
    let entries = environ.split(|&byte| byte == 0).filter(|it| !it.is_empty());
    // The marks of the test that runs this cgrun.
    let left: Vec<_> = entries.filter(|it| !it.starts_with(b"NEXTEST_")).collect();
    assert!(left.is_empty(), "{}", String::from_utf8_lossy(&left.concat()));
    run.signal(SIGKILL);
    run.finish().assert_nothing_left();
}
