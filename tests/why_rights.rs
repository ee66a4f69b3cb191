//! What `cgrun why` can still say if it is not allowed to trace the processes.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::containments::Host;
use crate::harness::{Running, cgrun_program};
use crate::why::{end, id, script};

everywhere!(
    why_without_the_right_to_trace_follows_the_children_and_says_what_is_missing,
    why_without_the_right_to_trace_finds_a_stopped_process,
    why_of_the_session_of_another_user_says_that_root_sees_more,
);

/// As in a container without that capability.
const WITHOUT_TRACING: [&str; 3] = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"];
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Runs `cgrun why` of this session through another program, which takes rights away.
fn why_through(run: &Running, launcher: &[&str]) -> Output {
    let program = run.path().join("cgrun");
    if !program.exists() {
        std::fs::copy(cgrun_program(), &program).unwrap();
    }
    std::fs::set_permissions(run.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (first, others) = launcher.split_first().unwrap();
    Command::new(first).args(others).arg(&program).args(["why", &id(run)]).output().unwrap()
}

/// Waits until the last line contains this, and returns the lines before it.
fn until_verdict(run: &Running, launcher: &[&str], verdict: &str) -> Vec<String> {
    run.until_file("id");
    let before = RefCell::new(Vec::new());
    run.until("a verdict", || {
        let output = why_through(run, launcher);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        let mut lines: Vec<String> = said.lines().map(String::from).collect();
        let last = lines.pop().unwrap_or_default();
        *before.borrow_mut() = lines;
        last.contains(verdict)
    });
    before.into_inner()
}

fn why_without_the_right_to_trace_follows_the_children_and_says_what_is_missing(host: Host) {
    let session = script("setpriv --reuid=65534 --clear-groups sleep 921 & wait");
    let run = host.start_through(session, &WITHOUT_TRACING);
    let lines = until_verdict(&run, &WITHOUT_TRACING, "(sleep 921): it waits for something unknown");
    let hint = "the system calls of 1 process are hidden: this root lacks CAP_SYS_PTRACE";
    assert_eq!(lines.last().unwrap(), hint, "{lines:#?}");
    end(run);
}

/// The state of a process is hidden from nobody.
fn why_without_the_right_to_trace_finds_a_stopped_process(host: Host) {
    let text = "setpriv --reuid=65534 --clear-groups sleep 923 & \
        until grep -q sleep /proc/$!/comm; do :; done; kill -STOP $!; wait";
    let run = host.start_through(script(text), &WITHOUT_TRACING);
    let lines = until_verdict(&run, &WITHOUT_TRACING, "(sleep 923): it is stopped");
    assert!(lines.iter().all(|line| !line.contains("hidden")), "{lines:#?}");
    end(run);
}

/// Without a cgroup a session is found by the environment of its processes, which other users cannot read.
fn why_of_the_session_of_another_user_says_that_root_sees_more(host: Host) {
    let run = host.start(script("sleep 922 & wait"));
    if host.has_cgroups() {
        let lines = until_verdict(&run, &NOBODY, "(sleep 922): it waits for something unknown");
        let hint = "the system calls of 2 processes are hidden: run as root";
        assert_eq!(lines.last().unwrap(), hint, "{lines:#?}");
    } else {
        let output = why_through(&run, &NOBODY);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("that this user can see; list sessions with: cgrun sessions, or run as root"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(125));
    }
    end(run);
}
