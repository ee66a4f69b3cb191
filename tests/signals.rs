//! SIGINT, SIGTERM and SIGHUP at every stage, and a panic of cgrun itself.

use std::time::Duration;

use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::fixtures::{LONG, NEVER_READY, SOON, STUBBORN};
use crate::harness::{Running, Session, TestCgroup, until};

const ENDING: [Signal; 3] = [SIGINT, SIGTERM, SIGHUP];

fn assert_ends_during_startup(signal: Signal) {
    let run = Session::new().config(NEVER_READY).sh("touch ran").start();
    run.until_file("started").signal(signal);
    let run = run.finish();
    run.assert_signal(signal).assert_nothing_left().assert_faster_than(Duration::from_secs(4));
    assert!(!run.path().join("ran").exists());
}

fn assert_ends_during_the_tests(signal: Signal) {
    let run = Session::new().sh("sleep 1000 & touch running; exec sleep 1000").start();
    run.until_file("running").signal(signal);
    run.finish().assert_signal(signal).assert_nothing_left().assert_faster_than(Duration::from_secs(4));
}

fn assert_skips_the_grace_during_cleanup(signal: Signal) {
    let run = Session::new().config(STUBBORN).sh("exit 3").start();
    run.until_file("asked").signal(signal).until_said("while cleaning up");
    press_again(&run, signal);
    let run = run.finish();
    // The command has exited, so its exit code is kept. The second signal cuts the grace short.
    run.assert_code(3).assert_nothing_left().assert_faster_than(Duration::from_secs(20));
}

#[test]
fn sigint_during_startup_ends_the_session() {
    assert_ends_during_startup(SIGINT);
}

#[test]
fn sigterm_during_startup_ends_the_session() {
    assert_ends_during_startup(SIGTERM);
}

#[test]
fn sighup_during_startup_ends_the_session() {
    assert_ends_during_startup(SIGHUP);
}

#[test]
fn a_signal_pending_before_the_start_prevents_it() {
    let pending = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); \
                   os.kill(os.getpid(), 15); os.execv(os.environ['CGRUN'], ['cgrun', *sys.argv[1:]])";
    let run = Session::new().command(["touch", "ran"]).start_through(&["python3", "-c", pending]).finish();
    run.assert_signal(SIGTERM).assert_nothing_left();
    assert!(!run.path().join("ran").exists());
}

#[test]
fn sigint_during_the_tests_ends_the_session() {
    assert_ends_during_the_tests(SIGINT);
}

#[test]
fn sigterm_during_the_tests_ends_the_session() {
    assert_ends_during_the_tests(SIGTERM);
}

#[test]
fn sighup_during_the_tests_ends_the_session() {
    assert_ends_during_the_tests(SIGHUP);
}

#[test]
fn a_second_sigint_during_cleanup_skips_the_grace() {
    assert_skips_the_grace_during_cleanup(SIGINT);
}

#[test]
fn a_second_sigterm_during_cleanup_skips_the_grace() {
    assert_skips_the_grace_during_cleanup(SIGTERM);
}

#[test]
fn a_second_sighup_during_cleanup_skips_the_grace() {
    assert_skips_the_grace_during_cleanup(SIGHUP);
}

#[test]
fn a_command_that_handles_the_signal_keeps_its_exit_code() {
    Session::new();
    for signal in ENDING {
        let name = &signal.as_str()[3..];
        let script = format!("trap 'exit 42' {name}; touch running; while :; do sleep 1000 & wait $!; done");
        let run = Session::again().sh(&script).start();
        run.until_file("running").signal(signal);
        run.finish().assert_code(42).assert_nothing_left();
    }
}

/// Sends the signal again after a pause: two that arrive within 20 ms count as one signal sent to a group.
fn press_again(run: &Running, signal: Signal) {
    std::thread::sleep(Duration::from_millis(50));
    run.signal(signal);
}

#[test]
fn a_second_sigint_skips_the_grace() {
    let run = Session::new().config(STUBBORN).sh("touch running; exec sleep 1000").start();
    run.until_file("running").signal(SIGINT);
    run.until_file("asked");
    press_again(&run, SIGINT);
    let run = run.finish();
    run.assert_signal(SIGINT).assert_nothing_left().assert_faster_than(Duration::from_secs(20));
}

#[test]
fn a_second_signal_ends_a_command_that_ignores_the_first() {
    let run = Session::new().options(["--grace", "60s"]).helper("ignore.py", &["INT", "TERM"]).start();
    run.until_file("ignoring").signal(SIGINT);
    run.until_file("got-SIGINT");
    press_again(&run, SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGINT).assert_nothing_left().assert_faster_than(Duration::from_secs(20));
}

/// No process can be seen to exit within zero seconds, but every one is killed.
#[test]
fn everything_is_killed_even_with_a_kill_wait_of_zero() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = Session::new()
        .options(["--grace", "60s", "--kill-wait", "0s"])
        .config(STUBBORN)
        .helper("leak.py", &["elsewhere", elsewhere.path().to_str().unwrap(), "deaf"]);
    let run = run.start();
    run.until_file("asked").signal(SIGTERM).until_said("while cleaning up");
    press_again(&run, SIGTERM);
    let run = run.finish();
    assert!(matches!(run.status.code(), Some(0 | 122)), "{}\n{}", run.status, run.stderr());
    run.assert_faster_than(Duration::from_secs(20));
    until("all have exited", || elsewhere.members().is_empty() && run.members().is_empty());
    assert!(run.survivors().is_empty());
}

#[test]
fn a_command_that_ignores_the_signal_is_killed_after_the_grace() {
    let run = Session::new().options(["--grace", "300ms"]).helper("ignore.py", &["TERM"]).start();
    run.until_file("ignoring").signal(SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_said("did not stop when asked").assert_nothing_left();
}

#[test]
fn a_request_sent_to_process_and_group_counts_once() {
    // timeout(1) does this: it signals the process first, then its group.
    let config = "[session]\ngrace = '20s'\n[services.saver]\nready = { log = 'ready' }\n\
        command = ['sh', '-c', 'trap \"sleep 1; touch saved; exit\" TERM; echo ready; while :; do sleep 1000 & wait; done']";
    let run = Session::new().config(config).sh("touch running; exec sleep 1000").start();
    run.until_file("running").signal(SIGTERM);
    nix::sys::signal::killpg(run.pid(), SIGTERM).unwrap();
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_nothing_left();
    assert!(run.path().join("saved").exists(), "the service was not given its grace");
}

#[test]
fn sigusr1_is_passed_on() {
    let run = Session::new()
        .sh("trap 'exit 7' USR1; touch running; while :; do sleep 1000 & wait $!; done")
        .start();
    run.until_file("running").signal(SIGUSR1);
    run.finish().assert_code(7).assert_nothing_left();
}

#[test]
fn an_ignored_sigint_is_not_inherited() {
    // A script's background jobs start with SIGINT ignored, and tests that rely on it would hang.
    let script = "trap '' INT QUIT; exec \"$CGRUN\" sh -c 'kill -INT $$; exit 1'";
    Session::new().start_through(&["sh", "-c", script]).finish().assert_code(130).assert_nothing_left();
}

#[test]
fn a_signal_that_cannot_be_passed_on_does_not_end_the_session() {
    let script = "touch running; until [ -e go ]; do sleep 0.01; done; exit 4";
    let run = Session::new().command(["./as-root", "sh", "-c", script]).start_launched(&["unprivileged"]);
    run.until_file("running").signal(SIGUSR1).until_said("cannot pass SIGUSR1 on to the command");
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(4).assert_nothing_left();
}

#[test]
fn sighup_is_ignored_under_nohup() {
    let script =
        "trap '' HUP; exec \"$CGRUN\" sh -c 'touch running; until [ -e go ]; do sleep 0.01; done; exit 4'";
    let run = Session::new().start_through(&["sh", "-c", script]);
    run.until_file("running").signal(SIGHUP);
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(4).assert_nothing_left();
}

#[test]
fn a_panic_tears_the_session_down() {
    Session::new();
    for place in ["service started", "command started", "teardown"] {
        let config = "[services.one]\ncommand = ['sleep', '1000']\n";
        let run = Session::again()
            .config(config)
            .env("CGRUN_FAILPOINT", format!("panic:{place}"))
            .sh("sleep 1000 &")
            .run();
        run.assert_code(125).assert_said("panicked").assert_nothing_left();
    }
}

/// A mount prevents the removal of the command's cgroup, so that it cannot be proven empty.
#[test]
fn a_panic_does_not_hide_that_the_session_is_not_proven_clean() {
    let script = "mount=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/mounts); \
                  mount -t tmpfs none $mount$(sed -n s/^0:://p /proc/self/cgroup)";
    let run = Session::new()
        .env("CGRUN_FAILPOINT", "panic:teardown")
        .options(["--kill-wait", "300ms"])
        .sh(script)
        .start_through(&["unshare", "-m", "sh", "-c", "exec \"$CGRUN\" \"$@\"", "sh"])
        .finish();
    run.assert_code(122).assert_said("panicked").assert_said("not verified: cannot remove");
    until("the guardian is gone too", || run.members().is_empty());
}

#[test]
fn a_sigsegv_from_outside_ends_cgrun_and_the_session() {
    let run = Session::new().sh("sleep 1000 & touch running; exec sleep 1000").start();
    run.until_file("running").signal(Signal::SIGSEGV);
    run.finish().assert_signal(Signal::SIGSEGV).assert_nothing_left();
}

#[test]
fn sigint_reaches_the_child_that_a_shell_waits_for() {
    // An interrupted shell waits for its child; at a terminal, the child is interrupted too.
    let script = "touch running; sleep 1000; true";
    let run = Session::new().options(["--grace", "60s"]).command(["bash", "-c", script]).start();
    run.until_file("running").until("a child", || run.members().len() >= 4).signal(SIGINT);
    let run = run.finish();
    run.assert_signal(SIGINT).assert_nothing_left().assert_faster_than(Duration::from_secs(20));
}

#[test]
fn a_cgrun_that_is_stopped_and_continued_at_once_keeps_running() {
    let run = Session::new().helper("ignore.py", &["TSTP", "TERM"]).start();
    run.until_file("ignoring").signal(Signal::SIGTSTP);
    run.until_file("got-SIGTSTP").signal(Signal::SIGCONT);
    // cgrun waits for the command to stop, which this one never does.
    std::thread::sleep(Duration::from_millis(800));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", run.pid())).unwrap();
    assert!(!stat.contains(") T "), "{stat}");
    run.signal(Signal::SIGKILL);
    run.finish().assert_nothing_left();
}

#[test]
fn a_signal_that_comes_while_cgrun_looks_at_a_hung_session_is_served() {
    let script = "trap 'echo asked; exit 3' TERM; touch on; while :; do sleep 0.01; done";
    let run = Session::new().options(LONG).options(["--warn-after", "300ms"]).sh(script).start();
    // Said before it looks.
    run.until_said("the command still runs after 300ms:\n").signal(Signal::SIGTERM);
    let run = run.finish();
    assert_eq!(run.stdout(), "asked\n");
    run.assert_code(3).assert_said("look at pid ").assert_faster_than(SOON).assert_nothing_left();
}
