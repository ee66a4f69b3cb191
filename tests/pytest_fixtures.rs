//! With the plugin for pytest, what fixtures with a wider scope have started is neither blamed on a test nor ended while
//! they are in use, and no process is that another pytest or a service has started.

use crate::fixtures::JSON;
use crate::harness::{Session, helpers, installed, python_program};
use crate::pytest_plugin::{leaked, problems, pytest};

const BLAMED: [(&str, &str); 5] = [
    ("test_on_demand", "left 1 process running: pid N (sleep 970)"),
    (
        "TestTeardown::test_backup",
        "fixture 'backup' (class scope), first used by TestTeardown::test_backup, left 1 process running: pid N (sleep 971)",
    ),
    (
        "test_dump[973]",
        "fixture 'dump' (module scope), first used by test_dump[972], left 1 process running: pid N (sleep 972)",
    ),
    ("test_of_multiprocessing", "left 1 process running: pid N (a fork of pytest)"),
    (
        "test_no_child_is_active",
        "fixture 'dump' (module scope), first used by test_dump[973], left 1 process running: pid N (sleep 973)",
    ),
];

#[test]
fn what_fixtures_start_early_late_and_in_their_teardown_is_theirs() {
    let suite = std::fs::read(helpers().join("leaky/wide.py")).unwrap();
    let run = pytest(Session::new().options(JSON).file("test_it.py", suite), &["-q", "--cgrun-leaks=fail"]);
    run.assert_code(1).assert_nothing_left();
    let problems = problems(&run);
    for (test, text) in BLAMED {
        let is_it = |(name, said): &&(String, String)| name == test && said.contains(text);
        assert_eq!(problems.iter().filter(is_it).count(), 1, "{test}: {text}\n{problems:#?}");
    }
    assert_eq!(problems.len(), BLAMED.len(), "no other test is blamed: {problems:#?}");
    let advice =
        "fixture 'servers' (module scope) has started it for other tests too, name it in cgrun's allow.";
    assert!(problems.iter().any(|(_, said)| said.contains(advice)), "{problems:#?}");
    assert_eq!(leaked(&run), ["900", "900"], "what cannot be attributed for certain is left to cgrun");
}

#[test]
fn workers_leave_each_others_daemons_alone() {
    // A fixture of one worker is set up and judged while the other one's daemon is started and in use.
    let slow = "import os, pytest\n@pytest.fixture(scope='module')\ndef slow():\n    while not os.path.exists('started'): pass\n    yield\n\
        def test_slow(slow): pass\n";
    let daemon = "import os, pytest, signal, subprocess\n@pytest.fixture(scope='module')\ndef daemon():\n\
        \x20   out = subprocess.run(['sh', '-c', 'setsid sleep 900 >&2 & echo $!'], stdout=-1).stdout\n\
        \x20   open('started', 'w').close()\n    yield int(out)\n    os.kill(int(out), signal.SIGTERM)\n\
        def test_waits(daemon):\n    while not os.path.exists('judged'): pass\ndef test_is_there(daemon): os.kill(daemon, 0)\n";
    let hook =
        "def pytest_runtest_logfinish(nodeid):\n    if 'test_slow' in nodeid: open('judged', 'w').close()\n";
    let session = Session::new().options(JSON).file("test_a.py", slow).file("test_b.py", daemon);
    let run =
        pytest(session.file("conftest.py", hook), &["-n", "2", "--dist=loadfile", "--cgrun-leaks=fail"]);
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn two_pytests_leave_each_others_daemons_alone() {
    // The first one's daemon is started while the second one's test runs.
    let hook = "import os, subprocess\ndef pytest_sessionstart(session):\n    if os.environ['WHO'] == 'first':\n\
        \x20       while not os.path.exists('second'): pass\n\
        \x20       subprocess.run(['setsid', '-f', 'env', '-i', '/bin/sleep', '900'])\n";
    let suite = "import os\ndef test_it():\n    open(os.environ['WHO'], 'w').close()\n\
        \x20   while not os.path.exists('first'): pass\n";
    let session = Session::new().options(JSON).file("conftest.py", hook).file("test_it.py", suite);
    let pytest =
        format!("{} -p cgrun.pytest_plugin -p no:cacheprovider --cgrun-leaks=fail", python_program("pytest"));
    let session = session.env("PYTHONPATH", installed("src/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    let run = session.sh(&format!("WHO=first {pytest} & WHO=second {pytest} && wait $!")).run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(leaked(&run), ["900"]);
}

#[test]
fn a_fixture_that_is_torn_down_after_an_interrupt_is_judged_too() {
    let suite = "import pytest, subprocess\n@pytest.fixture(scope='session')\ndef server(): subprocess.Popen(['sleep', '900']); yield\n\
        def test_it(server): raise KeyboardInterrupt\n";
    let run = pytest(Session::new().options(JSON).file("test_it.py", suite), &["--cgrun-leaks=fail"]);
    run.assert_code(2).assert_nothing_left();
    let said = "fixture 'server' (session scope), first used by test_it, left 1 process running: pid ";
    assert!(run.stdout().contains(said), "{}", run.stdout());
    assert_eq!(leaked(&run), Vec::<String>::new());
}

#[test]
fn a_leak_that_outlasts_the_time_limit_of_its_test_is_named() {
    let suite = "import signal, subprocess\n\
        def test_deaf():\n    with subprocess.Popen(['sh', '-c', 'trap \"\" TERM; echo; while :; do sleep 900; done'], stdout=-1) as it:\n\
        \x20       it.stdout.readline(); it.returncode = 0\n\
        \x20   def fail(*_): raise TimeoutError\n    signal.signal(signal.SIGALRM, fail); signal.setitimer(signal.ITIMER_REAL, 0.6)\n";
    let run = pytest(Session::new().options(JSON).file("test_it.py", suite), &["--cgrun-leaks=fail"]);
    run.assert_code(1).assert_nothing_left();
    let problems = problems(&run);
    assert!(problems.iter().any(|(_, said)| said.contains("left 2 processes running")), "{problems:#?}");
    assert!(problems.iter().any(|(_, said)| said.contains("TimeoutError")), "{problems:#?}");
}
