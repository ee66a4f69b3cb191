//! A process that a command leaves behind is killed and named, however it tries to escape.

use std::time::{Duration, Instant};

use crate::fixtures::{LONG, SOON};
use crate::harness::{Finished, Session, TestCgroup};

/// Runs a mode of `leak.py` whose process exits when asked.
fn leave(arguments: &[&str]) -> Finished {
    Session::new().options(LONG).helper("leak.py", arguments).run()
}

/// Runs a mode of `leak.py` whose process does not exit when asked.
fn leave_deaf(arguments: &[&str]) -> Finished {
    Session::new().options(["--grace", "300ms"]).helper("leak.py", arguments).run()
}

/// Asserts that the command passed, and that its leak was named and is gone.
#[track_caller]
fn assert_cleaned_up(run: &Finished) {
    run.assert_code(0).assert_said("found and stopped:").assert_said(&format!("pid {} (", run.read("leak")));
    run.assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_background_child_is_cleaned_up() {
    let run = leave(&["background"]);
    assert_cleaned_up(&run);
    run.assert_said("leaked 1 process, found");
}

#[test]
fn a_leak_fails_the_run_if_asked_to() {
    let run = Session::new().options(["--on-leak", "fail"]).helper("leak.py", &["background"]).run();
    run.assert_code(121).assert_said(&format!("pid {} (", run.read("leak"))).assert_nothing_left();
}

#[test]
fn a_child_that_ignores_sigterm_sigint_and_sighup_is_cleaned_up() {
    let run = leave_deaf(&["deaf"]);
    assert_cleaned_up(&run);
    run.assert_slower_than(Duration::from_millis(300));
}

#[test]
fn a_double_forked_daemon_is_cleaned_up() {
    assert_cleaned_up(&leave(&["daemon"]));
}

#[test]
fn a_daemon_without_descriptors_environment_or_directory_is_cleaned_up() {
    let run = leave(&["blank-daemon"]);
    assert_cleaned_up(&run);
    run.assert_said("(sleep 900)");
}

#[test]
fn a_listener_that_appears_after_the_command_has_exited_is_cleaned_up() {
    let run = leave(&["late-listener"]);
    assert!(run.path().join("bound").exists(), "it should have had the port");
    assert_cleaned_up(&run);
}

#[test]
fn a_listener_outside_the_cgroup_is_cleaned_up() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = leave_deaf(&["escaped-listener", elsewhere.path().to_str().unwrap()]);
    assert_cleaned_up(&run);
    assert!(elsewhere.members().is_empty());
}

#[test]
fn a_fork_storm_is_cleaned_up() {
    assert_ends_fork_storm(Session::new().helper("leak.py", &["fork-storm", "300", "polite"]));
}

#[test]
fn a_fork_storm_that_ignores_signals_is_cleaned_up() {
    let session = Session::new().options(["--grace", "300ms"]);
    assert_ends_fork_storm(session.helper("leak.py", &["fork-storm", "300", "deaf"]));
}

fn assert_ends_fork_storm(session: Session) {
    let run = session.start();
    run.until_file("storm");
    let begin = Instant::now();
    let run = run.finish();
    let took = begin.elapsed();
    run.assert_code(0).assert_said("found and stopped:").assert_nothing_left();

    assert!(took < SOON, "took {took:?}");
}

#[test]
fn a_stopped_child_is_cleaned_up() {
    assert_cleaned_up(&leave(&["stopped"]));
}

#[test]
fn a_child_in_new_pid_and_mount_namespaces_is_cleaned_up() {
    let run = leave_deaf(&["namespaces"]);
    run.assert_code(0).assert_said("leaked 2 processes").assert_said("(sleep 900)").assert_nothing_left();
    run.assert_faster_than(SOON);
}

#[test]
fn a_root_process_that_moved_itself_to_another_cgroup_is_cleaned_up() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = leave(&["elsewhere", elsewhere.path().to_str().unwrap(), "polite"]);
    assert_cleaned_up(&run);
    run.assert_said("it had left the session's cgroup");
    assert!(elsewhere.members().is_empty());
}

#[test]
fn a_root_process_in_another_cgroup_that_ignores_signals_and_cleared_its_environment_is_cleaned_up() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = leave_deaf(&["elsewhere", elsewhere.path().to_str().unwrap(), "deaf"]);
    assert_cleaned_up(&run);
    run.assert_said("it had left the session's cgroup").assert_slower_than(Duration::from_millis(300));
    assert!(elsewhere.members().is_empty());
}

#[test]
fn cgroups_made_inside_are_removed_even_if_frozen() {
    let run = leave(&["cgroups"]);
    assert_cleaned_up(&run);
    run.assert_said("leaked 2 processes");
}

#[test]
fn a_process_in_a_threaded_cgroup_is_cleaned_up() {
    let run = leave(&["threaded"]);
    assert_cleaned_up(&run);
    run.assert_said("leaked 1 process, found");
}

#[test]
fn a_process_in_the_cgroup_of_the_session_itself_is_cleaned_up() {
    assert_cleaned_up(&leave(&["beside", ""]));
}

#[test]
fn a_process_in_a_cgroup_next_to_the_command_is_cleaned_up() {
    assert_cleaned_up(&leave(&["beside", "own/deeper"]));
}

#[test]
fn two_thousand_sleepers_are_cleaned_up() {
    let run = Session::new().options(LONG).helper("leak.py", &["sleepers", "2000"]).start();
    run.until_file("all");
    let begin = Instant::now();
    let run = run.finish();
    let took = begin.elapsed();
    run.assert_code(0).assert_said("leaked 2000 processes, found and stopped:").assert_nothing_left();

    assert!(took < SOON, "took {took:?}");
}

/// It is found twice: among many in the command's cgroup, of which only some are described, and as a child of cgrun.
#[test]
fn one_of_many_that_moves_to_another_cgroup_when_asked_to_exit_is_counted_once() {
    let elsewhere = TestCgroup::create("elsewhere");
    let leaver = "import signal, sys, time\n\
        def leave(*_): open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n\
        signal.signal(signal.SIGTERM, leave)\n\
        open('started', 'w').close()\n\
        while True: time.sleep(900)";
    let script = "for _ in $(seq 150); do sleep 900 & done; python3 -c \"$0\" \"$1\" & until [ -e started ]; do sleep 0.01; done";
    let command = ["sh", "-c", script, leaver, elsewhere.path().to_str().unwrap()];
    let run = Session::new().options(["--grace", "1s"]).command(command).run();
    run.assert_code(0).assert_said("leaked 151 processes, found and stopped:").assert_nothing_left();
}

#[test]
fn a_leaked_server_that_is_started_after_many_others_is_listed() {
    let server = "import socket, time\n\
        server = socket.create_server(('127.0.0.1', 0))\n\
        open('started', 'w').close()\n\
        time.sleep(900)";
    let script = "for _ in $(seq 150); do sleep 900 & done; python3 -c \"$0\" & until [ -e started ]; do sleep 0.01; done";
    let run = Session::new().options(LONG).command(["sh", "-c", script, server]).run();
    run.assert_code(0)
        .assert_said("leaked 151 processes")
        .assert_said("listening on 127.0.0.1:")
        .assert_nothing_left();
}

/// While processes keep exiting one after another, the kernel is busy, not stuck.
#[test]
fn two_thousand_processes_get_more_time_to_exit_than_one() {
    let options = ["--grace", "1ms", "--kill-wait", "100ms"];
    let run = Session::new().options(options).helper("leak.py", &["sleepers", "2000"]).run();
    run.assert_code(0).assert_said("leaked 2000 processes, found and stopped:").assert_nothing_left();
}

#[test]
fn a_leak_that_holds_stdout_is_cleaned_up() {
    let script = "{ $CGRUN --grace 60s sh -c 'sleep 900 & echo hi'; echo $? >code; } | cat >out";
    let run = Session::new().start_through(&["sh", "-c", script]).finish();
    run.assert_code(0).assert_said("(sleep 900)").assert_nothing_left().assert_faster_than(SOON);
    assert_eq!((run.read("code").as_str(), run.read("out").as_str()), ("0\n", "hi\n"));
}

#[test]
fn a_leak_that_holds_stdout_outside_the_cgroup_is_cleaned_up() {
    let elsewhere = TestCgroup::create("elsewhere");
    let script =
        "{ $CGRUN --grace 60s python3 $HELPERS/leak.py elsewhere \"$0\" polite; echo $? >code; } | cat >out";
    let run =
        Session::new().start_through(&["sh", "-c", script, elsewhere.path().to_str().unwrap()]).finish();
    assert_cleaned_up(&run);
    assert_eq!(run.read("code"), "0\n");
}

/// cgrun is not allowed to signal it, but `cgroup.kill` kills it, and the removal of the cgroup proves that.
#[test]
fn a_root_process_is_killed_by_an_unprivileged_cgrun() {
    let script = "./as-root sleep 900 & until grep -q sleep /proc/$!/cmdline; do sleep 0.01; done";
    let run = Session::new().options(["--grace", "300ms"]).sh(script);
    let run = run.start_launched(&["unprivileged"]).finish();
    run.assert_code(0).assert_said("leaked 1 process, found and stopped:").assert_said("(sleep 900)");
    run.assert_nothing_left().assert_faster_than(SOON);
}
