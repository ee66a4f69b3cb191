//! The processes that a cancelled command was running are not leaks. Those that had lost their parents before are.

use nix::sys::signal::Signal::{SIGINT, SIGTERM};

use crate::fixtures::LONG;
use crate::harness::terminal::CTRL_C;
use crate::harness::{Finished, Running, Session};

/// Takes longer to exit than the command that started it.
const TEST: &str = "python3 $HELPERS/takes_time.py 0.5 journal";

fn until_started(run: &Running) {
    let journal = run.path().join("journal");
    run.until("the test has started", || {
        std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("started"))
    });
}

#[track_caller]
fn assert_no_leak(run: &Finished) {
    run.assert_nothing_left();
    assert!(!run.stderr().contains("leaked"), "{}", run.stderr());
}

/// A command that runs the test, and does not wait for it when it is cancelled itself.
fn commands() -> [Session; 3] {
    let package = format!("{{\"scripts\": {{\"test\": \"{TEST}; true\"}}}}");
    let makefile = "all:\n\tpython3 $(HELPERS)/takes_time.py 0.5 journal; true\n";
    [
        Session::again().sh(&format!("{TEST}; true")),
        Session::again().file("Makefile", makefile).command(["make", "-s"]),
        Session::again().file("package.json", package).command(["npm", "test", "--silent"]),
    ]
}

#[test]
fn a_test_that_is_cancelled_by_a_signal_is_not_a_leak() {
    Session::new();
    for signal in [SIGTERM, SIGINT] {
        for session in commands() {
            let run = session.options(LONG).start();
            until_started(&run);
            run.signal(signal);
            assert_no_leak(&run.finish());
        }
    }
}

#[test]
fn a_test_that_is_cancelled_by_the_timeout_is_not_a_leak() {
    Session::new();
    for session in commands() {
        let run = session.options(LONG).options(["--timeout", "3s", "--on-leak", "fail"]).run();
        assert_no_leak(run.assert_code(124));
    }
}

#[test]
fn a_test_that_has_to_be_killed_after_it_was_cancelled_is_not_a_leak() {
    let deaf = "python3 $HELPERS/ignore.py TERM; true";
    let run = Session::new().options(["--grace", "300ms"]).sh(deaf).start();
    run.until_file("ignoring").signal(SIGTERM);
    assert_no_leak(run.finish().assert_signal(SIGTERM));
}

#[test]
fn a_test_that_is_cancelled_by_ctrl_c_is_not_a_leak() {
    Session::new();
    for script in [format!("{TEST}; true"), format!("trap 'exit 7' INT; {TEST} & wait")] {
        let terminal = Session::again().file("script", script).on_terminal();
        terminal.enter("cgrun --grace 60s sh script");
        until_started(&terminal);
        terminal.press(CTRL_C);
        terminal.shows("]> ");
        let run = terminal.leave();
        assert_no_leak(&run);
    }
}

#[test]
fn a_daemon_from_before_the_request_is_a_leak() {
    let script = format!("setsid -f sleep 901; (sleep 902 &); touch running; {TEST}; true");
    Session::new();
    for signal in [SIGTERM, SIGINT] {
        // The test takes them along, and they are asked last.
        let deaf = script.replace("sleep 901", "sh -c 'trap \"\" TERM; exec sleep 901'");
        let run = Session::again().options(["--grace", "2s"]).sh(&deaf).start();
        until_started(&run);
        run.signal(signal);
        let run = run.finish();
        run.assert_said("(sleep 901)").assert_nothing_left();
        assert!(!run.stderr().contains("takes_time"), "{}", run.stderr());
    }
}
