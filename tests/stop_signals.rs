//! A process that is asked to exit is asked only once, so that it can exit in peace: servers take a second
//! signal as "exit at once".

use std::time::Duration;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};

use crate::fixtures::LONG;
use crate::harness::terminal::CTRL_C;
use crate::harness::{Finished, Running, Session, TestCgroup};

/// How often each case is repeated: it is a race.
const REPEATED: u32 = 4;
/// The child of a shell, which waits for it.
const SLOW: &str = "python3 $HELPERS/takes_time.py 0.5 journal; true";

fn until_started(run: &Running) {
    let journal = run.path().join("journal");
    run.until("the server has started", || {
        std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("started"))
    });
}

/// What the server noted.
fn noted(run: &Finished) -> String {
    run.read("journal").replace('\n', " ")
}

#[track_caller]
fn assert_asked_once(run: &Finished, signal: &str) {
    run.assert_nothing_left();
    assert_eq!(noted(run), format!("started {signal} ended "), "{}", run.stderr());
}

fn repeat(session: impl Fn() -> Session, end: impl Fn(Running) -> Finished) {
    Session::new();
    for _ in 0..REPEATED {
        let run = session().options(LONG).start();
        until_started(&run);
        assert_asked_once(&end(run), "SIGTERM");
    }
}

fn terminate(run: Running) -> Finished {
    run.signal(SIGTERM);
    run.finish()
}

#[test]
fn the_child_of_a_shell_is_asked_once() {
    repeat(|| Session::again().file("one.sh", SLOW).command(["sh", "one.sh"]), terminate);
}

#[test]
fn the_child_of_make_is_asked_once() {
    let makefile = "all:\n\tpython3 $(HELPERS)/takes_time.py 0.5 journal; true\n";
    repeat(|| Session::again().file("Makefile", makefile).command(["make", "-s"]), terminate);
}

#[test]
fn the_child_of_a_command_that_timed_out_is_asked_once() {
    let session = || Session::again().options(["--timeout", "2s"]).file("one.sh", SLOW);
    repeat(|| session().command(["sh", "one.sh"]), Running::finish);
}

#[test]
fn the_child_of_a_service_that_is_a_shell_is_asked_once() {
    let config = format!("[services.web]\ncommand = ['sh', '-c', '{SLOW}']\n");
    let until = "until grep -q started journal; do sleep 0.01; done";
    repeat(|| Session::again().config(&config).sh(until), Running::finish);
}

#[test]
fn a_process_whose_parent_has_asked_it_is_not_asked_again() {
    let words = "python3 $HELPERS/passes_on.py python3 $HELPERS/takes_time.py 0.5 journal";
    let config = format!("[services.web]\ncommand = ['sh', '-c', 'exec {words}']\n");
    let until = "until grep -q started journal; do sleep 0.01; done";
    repeat(|| Session::again().config(&config).sh(until), Running::finish);
    repeat(|| Session::again().sh(&format!("exec {words}")), terminate);
}

/// A parent that has no handler for the signal cannot have passed it on.
#[test]
fn a_process_that_cannot_have_been_asked_by_its_parent_is_asked_at_once() {
    let config =
        "[services.web]\ncommand = ['sh', '-c', 'python3 $HELPERS/takes_time.py 0.01 journal; true']\n";
    let until = "until grep -q started journal; do sleep 0.01; done; date +%s%N >ended";
    let run = Session::new().options(LONG).config(config).sh(until).run();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_asked_once(&run, "SIGTERM");
    let ended = Duration::from_nanos(run.read("ended").trim().parse().unwrap());
    assert!(now - ended < Duration::from_millis(700), "{:?}", now - ended);
}

/// The terminal has asked it already.
#[test]
fn a_process_that_ctrl_c_has_reached_is_not_asked_again() {
    let parent = "import subprocess, signal, time\n\
        signal.signal(signal.SIGINT, signal.SIG_DFL)\n\
        subprocess.Popen(['python3', 'slow.py', '0.5', 'journal'])\n\
        time.sleep(900)\n";
    let slow = std::fs::read_to_string(crate::harness::helpers().join("takes_time.py")).unwrap();
    let terminal = Session::new().file("parent.py", parent).file("slow.py", slow).on_terminal();
    terminal.enter("cgrun --grace 60s python3 parent.py");
    until_started(&terminal);
    terminal.press(CTRL_C);
    terminal.prompt(130);
    let run = terminal.leave();
    assert_asked_once(&run, "SIGINT");
}

#[test]
fn a_process_that_sigint_to_the_group_has_reached_is_not_asked_again() {
    let parent = "import subprocess, signal, time\n\
        signal.signal(signal.SIGINT, signal.SIG_DFL)\n\
        subprocess.Popen(['python3', '-c', open('slow.py').read(), '0.5', 'journal'])\n\
        time.sleep(900)\n";
    let slow = std::fs::read_to_string(crate::harness::helpers().join("takes_time.py")).unwrap();
    let run = Session::new().options(LONG).file("parent.py", parent).file("slow.py", slow);
    let run = run.command(["python3", "parent.py"]).start();
    until_started(&run);
    run.signal(SIGINT);
    assert_asked_once(&run.finish(), "SIGINT");
}

/// It is found by another phase, in another cgroup, after it was asked.
#[test]
fn a_process_that_leaves_its_cgroup_after_it_was_asked_is_not_asked_again() {
    let elsewhere = TestCgroup::create("elsewhere");
    let leaver = "import os, signal, sys, time\n\
        def note(text): open('journal', 'a').write(text + '\\n')\n\
        def asked(*_):\n\
        \x20   note('SIGTERM')\n\
        \x20   open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n\
        signal.signal(signal.SIGTERM, asked)\n\
        note('started')\n\
        end = None\n\
        while True:\n\
        \x20   time.sleep(0.5)\n\
        \x20   if 'SIGTERM' in open('journal').read():\n\
        \x20       note('ended'); os._exit(0)\n";
    let until = "python3 -c \"$0\" \"$1\" & until grep -q started journal; do sleep 0.01; done";
    let command = ["sh", "-c", until, leaver, elsewhere.path().to_str().unwrap()];
    let run = Session::new().options(LONG).command(command).run();
    assert_asked_once(&run, "SIGTERM");
}
