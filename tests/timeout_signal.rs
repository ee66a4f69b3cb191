//! `--timeout-signal` lets a command that hangs write where it is, and then it ends as usual.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::fixtures::SOON;
use crate::harness::{Finished, Session, python_program};

const HUNG: &str =
    "import time\ndef wait_for_ever():\n    time.sleep(1000)\ndef test_a():\n    wait_for_ever()\n";

fn assert_dumped(run: &Finished) {
    run.assert_code(124).assert_faster_than(SOON);
    let output = run.stderr() + &run.stdout();
    assert!(output.contains("in wait_for_ever") && output.contains("in test_a"), "{output}");
    run.assert_nothing_left();
}

fn pytest() -> Vec<String> {
    vec![python_program("pytest"), "-p".into(), "no:cacheprovider".into(), "test_hung.py".into()]
}

#[test]
fn pytest_writes_its_stack_before_a_timeout_ends_it() {
    let session = Session::new().file("test_hung.py", HUNG);
    assert_dumped(
        &session.options(["--idle-timeout", "3s", "--timeout-signal", "SIGABRT"]).command(pytest()).run(),
    );
}

#[test]
fn the_timeout_signal_reaches_pytest_below_a_wrapper() {
    let config = "[session]\nidle_timeout = '3s'\ntimeout_signal = 'ABRT'\n";
    let wrapper = ["sh", "-c", "\"$@\"; exit 7", "sh"].map(String::from).to_vec();
    let session = Session::new().file("test_hung.py", HUNG).config(config);
    assert_dumped(&session.command([wrapper, pytest()].concat()).run());
}

#[test]
fn a_command_that_writes_and_goes_on_is_asked_to_exit_afterwards() {
    let script = "trap 'echo dumped' USR1; trap 'echo asked; exit 0' TERM; sleep 1000 & \
        while :; do wait; done";
    let options = ["--timeout", "1s", "--timeout-signal", "USR1", "--grace", "1s"];
    let run = Session::new().options(options).sh(script).run();
    assert_eq!(run.stdout(), "dumped\nasked\n");
    run.assert_code(124).assert_slower_than(Duration::from_secs(2)).assert_nothing_left();
}

#[test]
fn without_a_handler_the_first_process_gets_the_timeout_signal() {
    let options = ["--timeout", "500ms", "--timeout-signal", "SIGQUIT", "--report", "json=r.json"];
    let run = Session::new().options(options).sh("ulimit -c 0; sleep 1000; :").run();
    let report: serde_json::Value = serde_json::from_str(&run.read("r.json")).unwrap();
    assert_eq!(report["command"]["signal"], "SIGQUIT", "{report:#}");
    assert_eq!(report["leaked_process_count"], 0, "{report:#}");
    run.assert_code(124).assert_nothing_left();
}

#[test]
fn no_other_end_sends_the_timeout_signal() {
    let script = "trap 'echo dumped' USR1; trap 'exit 3' TERM; touch on; while :; do sleep 0.01; done";
    let run = Session::new().options(["--timeout", "60s", "--timeout-signal", "USR1"]).sh(script).start();
    run.until_file("on").signal(Signal::SIGTERM);
    let run = run.finish();
    assert_eq!(run.stdout(), "");
    run.assert_code(3).assert_nothing_left();
}
