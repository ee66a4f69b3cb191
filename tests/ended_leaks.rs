//! What the plugin for pytest or a hook of another runner has ended is reported like everything else that leaked.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::containments::Host;
use crate::fixtures::{JSON, LONG};
use crate::harness::{Finished, OwnHost, Session, helpers, installed, python_program};
use crate::pytest_plugin::{leaked, problems, with_pytest};

/// Two tests that leak, one of them without an environment, and a fixture.
const SUITE: &str = "import pytest, subprocess\n\
    def leak(*command, **options): subprocess.Popen(command, stdout=-3, stderr=-3, **options)\n\
    @pytest.fixture(scope='module')\ndef server(): leak('sleep', '903'); yield\n\
    def test_one(): leak('sh', '-c', 'sleep 901; :')\n\
    def test_two(): leak('/bin/sleep', '902', env={})\n\
    def test_three(server): pass\n";

everywhere!(
    what_the_plugin_has_ended_is_reported,
    what_cgrun_ps_has_ended_is_reported,
    what_a_marked_test_leaves_running_is_allowed_by_cgrun_too,
);

fn suite(session: Session, tests: &str, options: &[&str]) -> Session {
    with_pytest(session.options(LONG).options(JSON).file("test_it.py", tests), options)
}

/// The report, if it is as its schema says.
fn report(run: &Finished) -> Value {
    let (schema, file) = (installed("src/report/schema.json"), run.path().join("report.json"));
    let valid = Command::new(python_program("python3"))
        .arg(helpers().join("readers.py"))
        .args([Path::new("json"), &schema, &file])
        .output()
        .unwrap();
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stderr));
    serde_json::from_str(&run.read("report.json")).unwrap()
}

/// For each root of leaked processes: the test, the phase, the program, what ended it, and how many there are.
fn leaks(report: &Value) -> Vec<(Value, Value, String, String, usize)> {
    let all = report["leaks"].as_array().unwrap().iter();
    let mut leaks: Vec<_> = all
        .map(|leak| {
            let text = |key: &str| leak[key].as_str().unwrap_or("cgrun").to_string();
            let (test, phase) =
                (leak["started_during"]["test"].clone(), leak["started_during"]["phase"].clone());
            (test, phase, text("program"), text("ended_by"), 1 + leak["children"].as_array().unwrap().len())
        })
        .collect();
    leaks.sort_by_key(|leak| leak.2.clone());
    leaks
}

fn what_the_plugin_has_ended_is_reported(host: Host) {
    let reports = ["--report", "junit=cgrun.xml", "--report", "html=report.html", "--on-leak", "fail"];
    let session = suite(Session::new().options(reports), SUITE, &["-q", "--cgrun-leaks=fail"]);
    let run = host.run(session);
    run.assert_code(1).assert_nothing_left();
    let report = report(&run);
    let plugin = || "pytest plugin".to_string();
    let wanted = [
        (json!("test_it.py::test_one"), json!("call"), "sh -c sleep 901; :".to_string(), plugin(), 2),
        (json!("test_it.py::test_two"), Value::Null, "sleep 902".to_string(), plugin(), 1),
        (json!("test_it.py::test_three"), json!("setup"), "sleep 903".to_string(), plugin(), 1),
    ];
    assert_eq!(leaks(&report), wanted);
    assert_eq!(
        (&report["leaked_process_count"], &report["undescribed_process_count"]),
        (&json!(4), &json!(0))
    );
    assert_eq!(report["outcome"]["clean"], false);
    assert_eq!(report["tests"].as_array().unwrap().len(), 3);
    run.assert_said("cgrun: 3 tests leaked 4 processes, already ended by the pytest plugin\n");
    assert!(!run.stderr().contains("hint"), "the plugin has given advice: {}", run.stderr());
    for (file, text) in [("cgrun.xml", "leaked 4 processes"), ("report.html", "ended by the pytest plugin")] {
        assert!(run.read(file).contains(text), "{file}: {}", run.read(file));
    }
    let merged = run.cgrun(&["merge", "report.json"]);
    assert!(merged.stdout.contains("3 tests leaked 4 processes"), "{}", merged.stdout);
}

fn what_cgrun_ps_has_ended_is_reported(host: Host) {
    let script = "token=$($CGRUN ps --token)
        CGRUN_TEST='cart empties' sh -c 'trap \"\" TERM; echo >ready; while :; do sleep 1000; done' & sleep 902 & until [ -e ready ]; do :; done
        until [ $($CGRUN ps | grep -c '  sleep 902$') = 1 ]; do :; done
        $CGRUN ps --new-since $token --end --grace 50ms >/dev/null; echo $?";
    let run = host.run(Session::new().options(LONG).options(JSON).options(["--on-leak", "fail"]).sh(script));
    assert_eq!(run.stdout(), "1\n");
    run.assert_code(121).assert_nothing_left();
    let report = report(&run);
    let leaks = leaks(&report);
    assert_eq!(leaks.len(), 2, "{report:#}");
    assert!(leaks.iter().all(|leak| leak.3 == "cgrun ps"), "{report:#}");
    assert_eq!((&leaks[0].0, &leaks[1].0), (&json!("cart empties"), &Value::Null));
    let of_test =
        report["leaks"].as_array().unwrap().iter().find(|it| !it["started_during"].is_null()).unwrap();
    assert_eq!((&of_test["needed_sigkill"], &of_test["kind"]), (&true.into(), &"ended_before".into()));
    run.assert_said("of them during 1 test, already ended by cgrun ps");
}

fn what_a_marked_test_leaves_running_is_allowed_by_cgrun_too(host: Host) {
    // The shell starts another process only when its test is over, and the daemon has no mark of its test.
    let marked = "import pytest, subprocess\ndef leak(*command, **options): subprocess.Popen(command, stdout=-3, stderr=-3, **options)\n\
        @pytest.mark.leaks('by design')\ndef test_one():\n    leak('sh', '-c', 'until [ -e over ]; do :; done; sleep 901 & echo >ready; wait')\n\
        \x20   leak('sleep', '902', env={}, start_new_session=True)\n\
        def test_over():\n    import os\n    open('over', 'w').close()\n    while not os.path.exists('ready'): pass\n";
    Session::new();
    for mode in ["--cgrun-leaks=fail", "--cgrun-leaks=warn"] {
        let session = Session::again().options(["--on-leak", "fail"]);
        let run = host.run(suite(session, marked, &["-q", mode]));
        run.assert_code(0).assert_nothing_left();
        let report = report(&run);
        assert_eq!(leaks(&report), [], "{mode}");
        assert_eq!(report["allowed_leaks"].as_array().unwrap().len(), 2, "{mode}: {report:#}");
    }
    let other = format!("{marked}def test_other(): leak('sleep', '903')\n");
    let session = Session::again().options(["--on-leak", "fail"]);
    let run = host.run(suite(session, &other, &["-q", "--cgrun-leaks=warn"]));
    run.assert_code(121).assert_nothing_left();
    assert_eq!(leaks(&report(&run)).len(), 1);
}

#[test]
fn what_parallel_workers_have_ended_is_reported_once() {
    let tests = "import pytest, subprocess\n@pytest.mark.parametrize('n', range(40))\n\
        def test_it(n): subprocess.Popen(['sleep', str(9000 + n)], env={}, stdout=-3, stderr=-3)\n";
    let run = suite(Session::new(), tests, &["-q", "-n", "4", "--cgrun-leaks=fail"]).run();
    run.assert_code(1).assert_nothing_left();
    let report = report(&run);
    let found: Vec<_> = leaks(&report).into_iter().map(|leak| (leak.0, leak.2)).collect();
    let wanted: Vec<_> = (0..40)
        .map(|n| (json!(format!("test_it.py::test_it[{n}]")), format!("sleep {}", 9000 + n)))
        .collect();
    assert_eq!(found, wanted);
    let workers: Vec<_> =
        report["leaks"].as_array().unwrap().iter().map(|it| &it["started_during"]["worker"]).collect();
    assert!(workers.iter().all(|it| it.as_str().is_some_and(|it| it.starts_with("gw"))), "{workers:?}");
}

#[test]
fn a_passed_run_fails_if_the_plugin_has_ended_something_and_leaks_fail() {
    let tests = "import os, subprocess\ndef test_leaks_once():\n    if not os.path.exists('ran'):\n        open('ran', 'w').close()\n\
        \x20       subprocess.Popen(['sleep', '900'])\n";
    let session = Session::new().options(["--on-leak", "fail"]);
    let run = suite(session, tests, &["--reruns", "1", "--cgrun-leaks=fail"]).run();
    run.assert_code(121).assert_nothing_left();
}

#[test]
fn a_baseline_that_is_written_while_the_plugin_ends_leaks_lists_them() {
    let session = Session::new().options(["--write-baseline"]);
    let run = suite(session, SUITE, &["-q", "--cgrun-leaks=fail"]).run();
    run.assert_code(1).assert_nothing_left();
    run.assert_said(
        "added 3 lines to cgrun-leaks.toml: 4 processes of 3 tests leaked, and all are known from now on",
    );
    let text = run.read("cgrun-leaks.toml");
    for line in [
        "  { test = \"test_it.py::test_one\", program = \"sh -c sleep 901; :\" },",
        "  { test = \"test_it.py::test_two\", program = \"sleep 902\" },",
        "  { test = \"test_it.py::test_three\", program = \"sleep 903\" },",
    ] {
        assert!(text.contains(line), "{text}");
    }
    // The same lines as without the plugin, as far as that knows the test.
    let without = suite(Session::again().options(["--write-baseline"]), SUITE, &["-q"]).run();
    let of_two = text.replace("test = \"test_it.py::test_two\", ", "");
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(String::from).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&without.read("cgrun-leaks.toml")), sorted(&of_two));
}

#[test]
fn with_a_baseline_only_new_leaks_fail_their_test() {
    let old = [
        "{ test = \"test_it.py::test_one\", program = \"sh -c sleep 901; :\" }",
        "{ test = \"*::test_three\", program = \"sleep 903\" }",
        "{ test = \"test_it.py::test_two\", program = \"sleep 902\" }",
    ];
    let mut first = Some(Session::new());
    for (known, code, failed) in [
        (&old[..2], 1, &["test_two"][..]),
        (&old[..], 0, &[]),
        (&[], 1, &["test_one", "test_two", "test_three"]),
    ] {
        for parallel in [&[][..], &["-n", "2"]] {
            let session = first.take().unwrap_or_else(Session::again).options(["--on-leak", "fail"]);
            let file = format!("version = 1\nleaks = [{}]\n", known.join(", "));
            let session = session.file("cgrun-leaks.toml", file);
            let run = suite(session, SUITE, &[&["-q", "--cgrun-leaks=fail"], parallel].concat()).run();
            run.assert_code(code).assert_nothing_left();
            let mut problems: Vec<_> = problems(&run).into_iter().map(|(test, _)| test).collect();
            let mut failed: Vec<_> = failed.iter().map(ToString::to_string).collect();
            problems.sort();
            failed.sort();
            assert_eq!(problems, failed);
            assert_eq!(leaked(&run), Vec::<String>::new(), "known leaks are ended with their test too");
            let known_processes = [0, 0, 3, 4][known.len()];
            assert_eq!(report(&run)["baseline"]["known_process_count"], known_processes);
        }
    }
}

#[test]
fn further_leaks_than_the_baseline_allows_fail_their_test() {
    let tests = "import subprocess\ndef test_it():\n    for _ in range(3): subprocess.Popen(['sleep', '900'], stdout=-3, stderr=-3)\n";
    let file =
        "version = 1\nleaks = [{ test = \"test_it.py::test_it\", program = \"sleep 900\", at_most = 2 }]\n";
    let session = Session::new().file("cgrun-leaks.toml", file);
    let run = suite(session, tests, &["-q", "--cgrun-leaks=fail"]).run();
    run.assert_code(1).assert_nothing_left();
    let problems = problems(&run);
    assert!(problems.len() == 1 && problems[0].1.contains("left 1 process running"), "{problems:#?}");
    run.assert_said("1 test leaked 1 new process, already ended by the pytest plugin");
}

#[test]
fn with_warn_a_known_leak_is_no_warning() {
    let file = "version = 1\nleaks = [{ test = \"test_it.py::test_one\", program = \"sleep 901\" }]\n";
    let tests = "import subprocess\ndef test_one(): subprocess.Popen(['sleep', '901'], stdout=-3, stderr=-3)\n\
        def test_two(): subprocess.Popen(['sleep', '902'], stdout=-3, stderr=-3)\n";
    let session = Session::new().file("cgrun-leaks.toml", file);
    let run = suite(session, tests, &["-q", "--cgrun-leaks=warn"]).run();
    run.assert_code(0).assert_nothing_left();
    let warned =
        |test: &str| run.stdout().contains(&format!("PytestWarning: test_it.py::{test}: left 1 process"));
    assert!(warned("test_two") && !warned("test_one"), "{}", run.stdout());
}

#[test]
fn hostile_tests_cannot_make_cgrun_fail_through_the_leak_log() {
    let mut first = Some(Session::new());
    for (script, leaked) in [
        ("echo garbage >>$CGRUN_LEAK_LOG; printf '\\0{' >>$CGRUN_LEAK_LOG", 2),
        ("head -c 20000000 /dev/zero >$CGRUN_LEAK_LOG", 2),
        ("truncate -s 100G $CGRUN_LEAK_LOG", 2),
        ("rm $CGRUN_LEAK_LOG; mkfifo $CGRUN_LEAK_LOG", 0),
        ("rm $CGRUN_LEAK_LOG; ln -s /dev/zero $CGRUN_LEAK_LOG", 0),
        ("chmod 0 $CGRUN_LEAK_LOG; :", 0),
    ] {
        let session = first.take().unwrap_or_else(Session::again).options(LONG).options(JSON);
        let run = session.sh(script).run();
        run.assert_code(0).assert_nothing_left();
        let report = report(&run);
        assert_eq!(report["leaked_process_count"], leaked, "{script}: {report:#}");
        assert_eq!(report["undescribed_process_count"], leaked, "{script}");
        assert_eq!(report["outcome"]["clean"], leaked == 0, "{script}");
        assert_eq!(run.stderr().contains("cannot be read"), leaked > 0, "{script}: {}", run.stderr());
    }
}

#[test]
fn a_hook_that_cannot_write_to_the_leak_log_says_so() {
    let script = "token=$($CGRUN ps --token); sleep 901 & export CGRUN_LEAK_LOG=/none/log
        until [ $($CGRUN ps | grep -c '  sleep 901$') = 1 ]; do :; done
        $CGRUN ps --new-since $token --end; echo $?";
    let run = Session::new().options(LONG).sh(script).run();
    assert!(run.stdout().ends_with("\n122\n"), "{}", run.stdout());
    run.assert_said(
        "what was ended will be missing in the session's report: cannot write to its leak log \"/none/log\"",
    );
    run.assert_code(0).assert_nothing_left();
    let pytest = python_program("pytest");
    let script =
        format!("CGRUN_LEAK_LOG=/none/log exec {pytest} -q -p cgrun.pytest_plugin --cgrun-leaks=fail");
    let session = Session::again().options(LONG).env("PYTHONPATH", installed("src/python"));
    let run = session.file("test_it.py", SUITE).sh(&script).run();
    run.assert_code(1).assert_nothing_left();
    let said =
        "cgrun: its report may lack what was ended here: [Errno 2] No such file or directory: '/none/log'";
    assert!(run.stdout().contains(said), "{}", run.stdout());
}

#[test]
fn the_leak_log_is_removed_even_if_cgrun_is_killed() {
    let _host = OwnHost::enter();
    let script = "echo $CGRUN_LEAK_LOG >path; mv path started; sleep 1000";
    let run = Session::new().options(LONG).sh(script).start();
    run.until_file("started");
    let path = std::fs::read_to_string(run.path().join("started")).unwrap();
    assert!(Path::new(path.trim()).exists());
    run.kill_cgrun(false).assert_nothing_left();
    assert!(!Path::new(path.trim()).exists());
    // A later run ends what a guardian could not.
    let run = Session::again().options(LONG).sh(script).start();
    run.until_file("started");
    let path = std::fs::read_to_string(run.path().join("started")).unwrap();
    let run = run.kill_with_guardian();
    assert!(Path::new(path.trim()).exists());
    run.cgrun(&["sweep"]).assert_code(0);
    assert!(!Path::new(path.trim()).exists());
    run.assert_nothing_left();
    let run = Session::again().sh("echo $CGRUN_LEAK_LOG").run();
    assert!(!Path::new(run.stdout().trim()).exists());
}
