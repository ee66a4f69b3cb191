//! The first process of an inner PID namespace, as in a container, is stopped before its parent, which has to clean up
//! after it.

use std::time::Duration;

use crate::fixtures::{LONG, SOON};
use crate::harness::{Finished, Session, TestCgroup};

fn run(options: &[&str], arguments: &[&str]) -> Finished {
    Session::new().options(options).helper("monitor.py", arguments).run()
}

#[track_caller]
fn assert_cleaned(run: &Finished) {
    run.assert_code(0).assert_said("leaked").assert_nothing_left();
    assert!(run.path().join("cleaned").exists(), "{}", run.stderr());
}

#[test]
fn a_first_process_without_a_handler_is_not_waited_for() {
    let run = run(&LONG, &["deaf"]);
    assert_cleaned(&run);
    run.assert_faster_than(SOON);
}

#[test]
fn a_first_process_without_a_handler_in_another_cgroup_is_not_waited_for() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = run(&LONG, &["deaf", elsewhere.path().to_str().unwrap()]);
    assert_cleaned(&run);
    run.assert_faster_than(SOON);
    assert!(elsewhere.members().is_empty());
}

#[test]
fn a_first_process_with_a_handler_is_asked_once_and_waited_for() {
    let run = run(&LONG, &["saves"]);
    assert_cleaned(&run);
    assert_eq!(run.read("journal"), "asked\nsaved\n");
}

#[test]
fn a_first_process_that_does_not_exit_is_killed_while_its_parent_has_time_left() {
    let run = run(&["--grace", "4s"], &["stubborn"]);
    assert_cleaned(&run);
    run.assert_faster_than(Duration::from_secs(10));
}

#[test]
fn a_first_process_in_another_cgroup_that_does_not_exit_is_killed_while_its_parent_has_time_left() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = run(&["--grace", "2s"], &["stubborn", elsewhere.path().to_str().unwrap()]);
    assert_cleaned(&run);
    assert!(elsewhere.members().is_empty());
}
