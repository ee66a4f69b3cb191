//! Which session `cgrun why` means, and what it says if there is none.

use std::fs;

use nix::sys::signal::Signal::SIGKILL;

use crate::fixtures::LONG;
use crate::harness::{Session, python_program};
use crate::why::{id, script};

#[test]
fn why_refuses_an_id_that_names_no_session() {
    let run = Session::new().command(["true"]).run();
    run.cgrun(&["why", "zzzzzzzz"]).assert_code(125).assert_said("there is no session zzzzzzzz");
    run.cgrun(&["why", "zz"]).assert_code(125).assert_said("invalid session ID \"zz\"");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn why_says_that_a_session_has_ended() {
    let run = script("sleep 927").start();
    let id = id(&run);
    run.until("a guardian", || run.guardian().is_some()).signal(SIGKILL);
    let run = run.finish();
    let record = run.path().join(format!("state/cgrun/ended/{id}.json"));
    crate::harness::until("the guardian's record", || record.exists());
    let ended = format!("session {id} has ended: the guardian tore it down ");
    run.cgrun(&["why", &id]).assert_code(125).assert_said(&ended);
    run.cgrun(&["ps", &id]).assert_code(125).assert_said(&ended);
    run.assert_nothing_left();
}

/// It needs no id there, and pytest, which waits for it, is not to blame.
#[test]
fn why_in_a_hook_of_the_test_runner_names_what_the_test_has_left() {
    let hook = "import os, subprocess\n\
        def pytest_runtest_teardown(item):\n    \
            why = [os.environ['CGRUN'], 'why']\n    \
            said = subprocess.run(why, capture_output=True, text=True, check=True).stdout\n    \
            open('said', 'w').write(said)\n";
    // On a busy machine, it would still be starting.
    let test = "import subprocess\ndef test_b():\n    \
            left = subprocess.Popen(['sleep', '928'])\n    \
            while ') S ' not in open(f'/proc/{left.pid}/stat').read(): pass\n";
    let pytest = python_program("pytest");
    let session = Session::new().options(LONG).file("conftest.py", hook).file("test_a.py", test);
    let run = session.command([&pytest, "-q", "-p", "no:cacheprovider", "test_a.py"]).run();
    let said = fs::read_to_string(run.path().join("said")).unwrap_or_default();
    let last = said.lines().last().unwrap_or_default();
    assert!(
        last.contains("(sleep 928), started during test_a.py::test_b (call): it sleeps for 15 min"),
        "{said}{}",
        run.stderr()
    );
    run.assert_code(0).assert_nothing_left();
}
