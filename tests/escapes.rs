//! Whatever a command leaves behind ends with the session, however it tries to get away, and is said.

use std::time::{Duration, Instant};

use crate::harness::{Finished, Session, TestCgroup};

/// Much for a busy machine, and far less than [`LONG`].
const SOON: Duration = Duration::from_secs(20);
/// A grace that must not be needed.
const LONG: [&str; 2] = ["--grace", "60s"];

/// For what ends when asked to.
fn leave(arguments: &[&str]) -> Finished {
    Session::new().options(LONG).helper("leak.py", arguments).run()
}

/// For what does not.
fn leave_deaf(arguments: &[&str]) -> Finished {
    Session::new().options(["--grace", "300ms"]).helper("leak.py", arguments).run()
}

/// The command passed, its leak was named, and is gone.
#[track_caller]
fn assert_ended(run: &Finished) {
    run.assert_code(0).assert_said("found and ended:").assert_said(&format!("pid {} (", run.read("leak")));
    run.assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_background_child() {
    let run = leave(&["background"]);
    assert_ended(&run);
    run.assert_said("leaked 1 process, found");
}

#[test]
fn a_leak_fails_a_run_that_wants_it_so() {
    let run = Session::new().options(["--on-leak", "fail"]).helper("leak.py", &["background"]).run();
    run.assert_code(121).assert_said(&format!("pid {} (", run.read("leak"))).assert_nothing_left();
}

#[test]
fn a_child_that_ignores_sigterm_sigint_and_sighup() {
    let run = leave_deaf(&["deaf"]);
    assert_ended(&run);
    run.assert_slower_than(Duration::from_millis(300));
}

#[test]
fn a_double_fork_with_a_session_of_its_own() {
    assert_ended(&leave(&["daemon"]));
}

#[test]
fn a_daemon_without_descriptors_environment_or_directory() {
    let run = leave(&["blank-daemon"]);
    assert_ended(&run);
    run.assert_said("(sleep 900)");
}

#[test]
fn a_listener_that_appears_after_the_command_has_ended() {
    let run = leave(&["late-listener"]);
    assert!(run.path().join("bound").exists(), "it was to have the port");
    assert_ended(&run);
}

#[test]
fn a_listener_outside_the_cgroup() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = leave_deaf(&["escaped-listener", elsewhere.path().to_str().unwrap()]);
    assert_ended(&run);
    assert!(elsewhere.members().is_empty());
}

#[test]
fn a_fork_storm() {
    ends_a_fork_storm(Session::new().helper("leak.py", &["fork-storm", "300", "polite"]));
}

#[test]
fn a_fork_storm_that_ignores_signals() {
    let session = Session::new().options(["--grace", "300ms"]);
    ends_a_fork_storm(session.helper("leak.py", &["fork-storm", "300", "deaf"]));
}

fn ends_a_fork_storm(session: Session) {
    let run = session.start();
    run.until_file("storm");
    let begin = Instant::now();
    let run = run.finish();
    let took = begin.elapsed();
    run.assert_code(0).assert_said("found and ended:").assert_nothing_left();

    assert!(took < SOON, "took {took:?}");
}

#[test]
fn a_stopped_child() {
    assert_ended(&leave(&["stopped"]));
}

#[test]
fn a_child_in_new_pid_and_mount_namespaces() {
    let run = leave_deaf(&["namespaces"]);
    run.assert_code(0).assert_said("leaked 2 processes").assert_said("(sleep 900)").assert_nothing_left();
    run.assert_faster_than(SOON);
}

#[test]
fn a_root_process_that_moved_itself_to_another_cgroup() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = leave(&["elsewhere", elsewhere.path().to_str().unwrap(), "polite"]);
    assert_ended(&run);
    run.assert_said("it had left the session's cgroup");
    assert!(elsewhere.members().is_empty());
}

#[test]
fn a_deaf_root_process_in_another_cgroup_without_an_environment() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = leave_deaf(&["elsewhere", elsewhere.path().to_str().unwrap(), "deaf"]);
    assert_ended(&run);
    run.assert_said("it had left the session's cgroup").assert_slower_than(Duration::from_millis(300));
    assert!(elsewhere.members().is_empty());
}

#[test]
fn cgroups_of_its_own_one_of_them_frozen() {
    let run = leave(&["cgroups"]);
    assert_ended(&run);
    run.assert_said("leaked 2 processes");
}

#[test]
fn a_threaded_cgroup() {
    let run = leave(&["threaded"]);
    assert_ended(&run);
    run.assert_said("leaked 1 process, found");
}

#[test]
fn a_process_right_in_the_sessions_cgroup() {
    assert_ended(&leave(&["beside", ""]));
}

#[test]
fn a_process_in_a_cgroup_beside_the_commands() {
    assert_ended(&leave(&["beside", "own/deeper"]));
}

#[test]
fn two_thousand_sleepers() {
    let run = Session::new().options(LONG).helper("leak.py", &["sleepers", "2000"]).start();
    run.until_file("all");
    let begin = Instant::now();
    let run = run.finish();
    let took = begin.elapsed();
    run.assert_code(0).assert_said("leaked 2000 processes, found and ended:").assert_nothing_left();

    assert!(took < SOON, "took {took:?}");
}

/// As long as they end one after the other, the kernel is busy, not stuck.
#[test]
fn two_thousand_that_take_longer_to_die_than_one_may() {
    let options = ["--grace", "1ms", "--kill-wait", "100ms"];
    let run = Session::new().options(options).helper("leak.py", &["sleepers", "2000"]).run();
    run.assert_code(0).assert_said("leaked 2000 processes, found and ended:").assert_nothing_left();
}

#[test]
fn a_held_stdout_is_let_go_of() {
    let script = "{ $CGRUN --grace 60s sh -c 'sleep 900 & echo hi'; echo $? >code; } | cat >out";
    let run = Session::new().start_through(&["sh", "-c", script]).finish();
    run.assert_code(0).assert_said("(sleep 900)").assert_nothing_left().assert_faster_than(SOON);
    assert_eq!((run.read("code").as_str(), run.read("out").as_str()), ("0\n", "hi\n"));
}

#[test]
fn a_held_stdout_is_let_go_of_outside_the_cgroup_too() {
    let elsewhere = TestCgroup::create("elsewhere");
    let script =
        "{ $CGRUN --grace 60s python3 $HELPERS/leak.py elsewhere \"$0\" polite; echo $? >code; } | cat >out";
    let run =
        Session::new().start_through(&["sh", "-c", script, elsewhere.path().to_str().unwrap()]).finish();
    assert_ended(&run);
    assert_eq!(run.read("code"), "0\n");
}

/// It cannot be asked by us, but `cgroup.kill` ends it, and there is proof.
#[test]
fn a_root_process_that_an_unprivileged_cgrun_may_not_signal() {
    let script = "./as-root sleep 900 & until grep -q sleep /proc/$!/cmdline; do sleep 0.01; done";
    let run = Session::new().options(["--grace", "300ms"]).sh(script);
    let run = run.start_launched(&["unprivileged"]).finish();
    run.assert_code(0).assert_said("leaked 1 process, found and ended:").assert_said("(sleep 900)");
    run.assert_nothing_left().assert_faster_than(SOON);
}
