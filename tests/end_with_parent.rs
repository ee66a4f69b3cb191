//! `--end-with-parent`: the session ends if the process that started cgrun does.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal::SIGKILL;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;

use crate::containments::Host;
use crate::fixtures::{JSON, NEVER_READY};
use crate::harness::{Finished, Running, Session};

const OPTION: [&str; 1] = ["--end-with-parent"];
/// Starts cgrun, and waits for it.
const PARENT: [&str; 4] = ["sh", "-c", "echo $$ >parent.new; mv parent.new parent; \"$@\" & wait", "sh"];
/// The command ignores what it is asked, and has left a daemon that nothing but the environment shows.
const RUNS: &str = "setsid -f sleep 900; trap '' TERM; touch running-$CGRUN_SHARD; sleep 900 & wait; wait";

fn session() -> Session {
    Session::new().options(OPTION).options(JSON).options(["--grace", "300ms"])
}

/// Kills the parent, and waits until cgrun has exited.
fn kill_parent(run: Running) -> Finished {
    run.until_file("parent");
    let parent = std::fs::read_to_string(run.path().join("parent")).unwrap();
    kill(Pid::from_raw(parent.trim().parse().unwrap()), SIGKILL).unwrap();
    run.until("the session has ended", || run.members().is_empty());
    run.finish()
}

fn assert_reported(run: &Finished) {
    let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
    assert_eq!(report["outcome"]["cause"], "parent_exited", "{report}");
    assert_eq!(report["outcome"]["verified_empty"], true, "{report}");
    run.assert_said("the process that started cgrun has exited");
}

everywhere!(it_ends_if_the_process_that_started_cgrun_is_killed);

fn it_ends_if_the_process_that_started_cgrun_is_killed(host: Host) {
    let run = host.start_through(session().sh(RUNS), &PARENT);
    run.until_file("running-");
    let run = kill_parent(run);
    assert_reported(&run);
    run.assert_nothing_left();
}

#[test]
fn it_ends_with_its_parent_while_it_runs_as_another_user() {
    let session = session().options(["--user", "nobody"]).sh(RUNS);
    std::fs::set_permissions(session.path(), Permissions::from_mode(0o777)).unwrap();
    let run = session.start_through(&[&PARENT[..], &[env!("CARGO_BIN_EXE_cgrun")]].concat());
    run.until_file("running-");
    let run = kill_parent(run);
    assert_reported(&run);
    run.assert_nothing_left();
}

#[test]
fn it_ends_with_its_parent_while_a_service_starts() {
    let session = session().config(NEVER_READY).sh("touch too-far");
    let run = session.start_through(&[&PARENT[..], &[env!("CARGO_BIN_EXE_cgrun")]].concat());
    run.until("a service", || run.members().len() > 3);
    let run = kill_parent(run);
    assert_reported(&run);
    assert!(!run.path().join("too-far").exists());
    run.assert_nothing_left();
}

#[test]
fn all_shards_end_with_the_process_that_started_cgrun() {
    let session = session().options(["--shards", "2"]).sh(RUNS);
    let run = session.start_through(&[&PARENT[..], &[env!("CARGO_BIN_EXE_cgrun")]].concat());
    run.until_file("running-1").until_file("running-2");
    let run = kill_parent(run);
    let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
    assert_eq!(report["sessions"].as_array().unwrap().len(), 2, "{report}");
    run.assert_nothing_left();
}

#[test]
fn nothing_starts_if_the_parent_has_already_exited() {
    // It is still a zombie until this test has reaped it.
    let wait = "parent=$$; (while kill -0 $parent; do sleep 0.01; done; exec \"$@\") 2>>stderr & exit 0";
    let cgrun = env!("CARGO_BIN_EXE_cgrun");
    let run = session().sh("touch too-far").start_through(&["sh", "-c", wait, "sh", cgrun]).finish();
    crate::harness::until("cgrun has exited", || run.members().is_empty());
    run.assert_said(
        "cannot end with the process that started cgrun (--end-with-parent): it has already exited",
    );
    assert!(!run.path().join("too-far").exists());
    run.assert_nothing_left();
}

/// The kernel's own signal for a parent's death (PR_SET_PDEATHSIG) comes if the thread exits.
#[test]
fn it_outlives_the_thread_that_started_cgrun() {
    let script = "import pathlib, subprocess, sys, threading\n\
        started = []\n\
        thread = threading.Thread(target=lambda: started.append(subprocess.Popen(sys.argv[1:])))\n\
        thread.start(); thread.join()\n\
        pathlib.Path('go').touch()\n\
        sys.exit(started[0].wait())";
    let session = Session::new().options(OPTION).sh("until [ -e go ]; do sleep 0.02; done; exit 7");
    let run = session.start_through(&["python3", "-c", script, env!("CARGO_BIN_EXE_cgrun")]).finish();
    run.assert_code(7).assert_silent().assert_nothing_left();
}

/// As the workers of CI systems do: what led their POSIX session has exited.
#[test]
fn it_starts_from_a_daemon_that_has_forked_twice() {
    let daemon =
        "(while kill -0 $$ 2>/dev/null; do sleep 0.01; done; \"$@\"; echo $? >new; mv new code) & exit 0";
    let wait = format!(
        "setsid -f sh -c '{daemon}' sh \"$@\"; until [ -e code ]; do sleep 0.02; done; exit $(cat code)"
    );
    let first = ["unshare", "-pf", "--mount-proc", "sh", "-c", &wait, "sh", env!("CARGO_BIN_EXE_cgrun")];
    session().sh("exit 7").start_through(&first).finish().assert_code(7).assert_nothing_left();
}

#[test]
fn a_parent_that_may_have_inherited_cgrun_is_refused() {
    let as_child = ["unshare", "-pf", "--mount-proc", "sh", "-c", "\"$@\"; exit $?", "sh"];
    let cgrun = env!("CARGO_BIN_EXE_cgrun");
    let run = session().sh("touch too-far").start_through(&[&as_child[..], &[cgrun]].concat()).finish();
    run.assert_code(125).assert_said("our parent is process 1");
    assert!(!run.path().join("too-far").exists());
    run.assert_nothing_left();
}

#[test]
fn cgrun_as_the_first_process_of_a_container_needs_no_parent() {
    let first = ["unshare", "-pf", "--mount-proc", env!("CARGO_BIN_EXE_cgrun")];
    session().sh("exit 7").start_through(&first).finish().assert_code(7).assert_nothing_left();
}
