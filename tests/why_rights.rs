//! What `cgrun why` can still say if it is not allowed to trace the processes.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::harness::{Running, cgrun_program};
use crate::why::{end, id, script};

const HIDDEN: &str = "it waits for something unknown (its system call is hidden: ";

/// Runs `cgrun why` of this session through another program, which takes rights away.
fn why_through(run: &Running, launcher: &[&str]) -> Output {
    let program = run.path().join("cgrun");
    std::fs::copy(cgrun_program(), &program).unwrap();
    std::fs::set_permissions(run.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (first, others) = launcher.split_first().unwrap();
    let output = Command::new(first).args(others).arg(&program).args(["why", &id(run)]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    output
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().into()
}

/// As in a container without that capability whose session has other users.
#[test]
fn why_without_the_right_to_trace_follows_the_children_and_says_what_is_missing() {
    let run = script("setpriv --reuid=65534 --clear-groups sleep 921 & wait").start();
    run.until_file("id");
    let drop = ["setpriv", "--bounding-set=-sys_ptrace,-sys_admin", "--inh-caps=-sys_ptrace,-sys_admin"];
    run.until("a verdict", || {
        let last = last_line(&why_through(&run, &drop));
        last.contains("(sleep 921)") && last.contains(HIDDEN) && last.contains("lacks CAP_SYS_PTRACE")
    });
    end(run);
}

#[test]
fn why_of_the_session_of_another_user_says_that_root_sees_more() {
    let run = script("sleep 922 & wait").start();
    run.until_file("id");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    run.until("a verdict", || {
        let last = last_line(&why_through(&run, &nobody));
        last.contains("(sleep 922)") && last.contains(HIDDEN) && last.contains("run as root")
    });
    end(run);
}
