//! Without /proc nothing is known about a process but its pid. It is still stopped, and a session is called clean
//! only if it is known to be.

use crate::harness::{Finished, Session};

/// Leaves a process behind that notes that it was asked to exit.
const LEAVE: &str =
    "python3 $HELPERS/takes_time.py 0.1 journal & until grep -qs started journal; do sleep 0.01; done";
const WITHOUT: &str = "mount --make-rprivate /; umount -l /proc";
const RUN: &str = "exec \"$CGRUN\" \"$@\"";

/// Runs it with /proc until the command unmounts it.
fn lose_proc(session: Session, script: &str, launcher: &[&str]) -> Finished {
    let session = session.options(["--on-leak", "fail"]).sh(&format!("{script}; umount -l /proc"));
    let private = format!(
        "mount --make-rprivate /; {}",
        launcher.join(" ") + if launcher.is_empty() { RUN } else { " \"$CGRUN\" \"$@\"" }
    );
    session.start_through(&["unshare", "-m", "sh", "-c", &private, "sh"]).finish()
}

#[test]
fn a_leak_in_a_cgroup_is_asked_to_exit_and_counted() {
    let run = lose_proc(Session::new(), LEAVE, &[]);
    run.assert_code(121).assert_said("leaked 1 process, found and stopped").assert_nothing_left();
    assert_eq!(run.read("journal"), "started\nSIGTERM\nended\n");
}

#[test]
fn a_service_in_a_cgroup_is_asked_to_exit() {
    let config = "[services.web]\ncommand = ['python3', '{helpers}/takes_time.py', '0.1', 'journal']\n";
    let until = "until grep -qs started journal; do sleep 0.01; done";
    let run = lose_proc(Session::new().config(config), until, &[]);
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.read("journal"), "started\nSIGTERM\nended\n");
}

#[test]
fn a_session_in_a_process_tree_is_stopped_and_not_called_clean() {
    let config = "[services.web]\ncommand = ['python3', '{helpers}/takes_time.py', '0.1', 'journal']\n";
    let script = "setsid -f sleep 900; (sleep 900 &); until grep -qs started journal; do sleep 0.01; done";
    let launcher = ["python3 $HELPERS/launch.py without-namespaces"];
    let run = lose_proc(Session::new().options(["--grace", "2s"]).config(config), script, &launcher);
    run.assert_code(122).assert_said("/proc is not mounted").assert_nothing_left();
    assert_eq!(run.read("journal"), "started\nSIGTERM\nended\n");
}

#[test]
fn a_session_without_proc_from_the_start_is_not_called_clean() {
    let run = Session::new().sh("setsid -f sleep 900; (sleep 900 &); touch ran");
    let without = format!("{WITHOUT}; {RUN}");
    let run = run.start_through(&["unshare", "-m", "sh", "-c", &without, "sh"]).finish();
    run.assert_code(122).assert_said("/proc is not mounted").assert_nothing_left();
    assert!(run.path().join("ran").exists());
}

#[test]
fn a_cancelled_session_is_not_called_clean() {
    let script = "sleep 900 & umount -l /proc; touch running; wait";
    let private = format!("mount --make-rprivate /; {RUN}");
    let run = Session::new().sh(script).start_through(&["unshare", "-m", "sh", "-c", &private, "sh"]);
    run.until_file("running").signal(nix::sys::signal::Signal::SIGTERM);
    run.finish().assert_code(122).assert_said("/proc is not mounted").assert_nothing_left();
}
