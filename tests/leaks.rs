//! A leak is attributed to the test during which it was started, if any evidence of that is left.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::fixtures::{JSON, LONG};
use crate::harness::{Finished, Session, helpers, installed, python_program};

/// Runs a pytest suite that leaks in eight ways, `times` each.
fn pytest(times: u32, arguments: &[&str]) -> Finished {
    let session = Session::new().options(JSON).options(["--grace", "1s"]);
    let suite = helpers().join("leaky/test_leaks.py");
    let truth = session.path().join("truth");
    std::fs::create_dir(&truth).unwrap();
    let pytest = python_program("pytest");
    let fixed = [pytest.as_str(), "-q", "-p", "no:cacheprovider", suite.to_str().unwrap()];
    let session = session.command([&fixed, arguments].concat());
    session.env("TRUTH", truth).env("LEAKS", times.to_string()).env("PYTHONDONTWRITEBYTECODE", "1").run()
}

/// All leaked processes in the JSON report, at any depth of the tree.
fn leaks(run: &Finished) -> Vec<Value> {
    fn collect(leak: &Value, found: &mut Vec<Value>) {
        found.push(leak.clone());
        leak["children"].as_array().unwrap().iter().for_each(|child| collect(child, found));
    }
    let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
    let mut found = Vec::new();
    report["leaks"].as_array().unwrap().iter().for_each(|leak| collect(leak, &mut found));
    assert_eq!(report["leaked_process_count"], found.len(), "all are described");
    found
}

/// How many leaks of a suite are attributed to the right test, and how many to none. Fails if any is
/// attributed to a wrong one.
fn right_and_unknown(run: &Finished) -> (usize, usize, Vec<Value>) {
    let leaks = leaks(run);
    let (mut right, mut unknown) = (0, 0);
    for entry in std::fs::read_dir(run.path().join("truth")).unwrap().map(Result::unwrap) {
        let pid: i64 = entry.file_name().to_str().unwrap().parse().unwrap();
        let truth = std::fs::read_to_string(entry.path()).unwrap();
        let leak = leaks.iter().find(|leak| leak["pid"] == pid);
        let leak = leak.unwrap_or_else(|| panic!("pid {pid} of {truth} is not in the report"));
        match leak["started_during"]["test"].as_str() {
            // pytest names files relative to its root directory, and so does the truth.
            Some(test) if test == truth => right += 1,
            Some(test) => panic!("pid {pid} of {truth} is attributed to {test}: {leak:#}"),
            None => {
                assert!(truth.contains("test_cleared"), "{truth} is attributed to no test: {leak:#}");
                unknown += 1;
            }
        }
    }
    (right, unknown, leaks)
}

fn evidence(leaks: &[Value], kind: &str) -> usize {
    leaks.iter().filter(|leak| leak["started_during"]["evidence"] == kind).count()
}

#[test]
fn two_hundred_leaks_of_pytest_are_attributed_to_the_right_test_or_to_none() {
    let run = pytest(25, &[]);
    run.assert_code(0).assert_nothing_left();
    let (right, unknown, leaks) = right_and_unknown(&run);
    // Five had no environment, no surviving parent and no neighbour from the same test.
    assert_eq!((right, unknown), (195, 5));
    for kind in ["environment", "memory", "parent"] {
        assert!(evidence(&leaks, kind) >= 12, "{kind}");
    }
    let listening = leaks.iter().filter(|leak| !leak["listening_on"].as_array().unwrap().is_empty());
    assert_eq!(listening.count(), 25, "one server a test");
    assert_eq!(leaks.iter().filter(|leak| leak["kind"] == "daemon").count(), 50);
}

#[test]
fn two_hundred_leaks_of_four_xdist_workers_are_attributed_to_the_right_test_or_to_none() {
    let run = pytest(25, &["-n", "4"]);
    run.assert_code(0).assert_nothing_left();
    let (right, unknown, leaks) = right_and_unknown(&run);
    assert_eq!((right, unknown), (195, 5));
    for worker in ["gw0", "gw1", "gw2", "gw3"] {
        assert!(leaks.iter().any(|leak| leak["started_during"]["worker"] == worker), "{worker}");
    }
}

/// The lines of cgrun.
fn said(shown: &str) -> Vec<String> {
    shown.lines().filter(|line| line.starts_with("cgrun: ")).map(|line| line.trim_end().to_string()).collect()
}

/// 34 processes of 12 tests and a shell.
fn many_leaks() -> Session {
    let suite = "import pytest, subprocess\n\
        def leak(*command): return subprocess.Popen(command, stdout=-3, stderr=-3)\n\
        @pytest.fixture(scope='module')\n\
        def server(): return leak('python3', '-m', 'http.server', '0')\n\
        @pytest.mark.parametrize('n', range(10))\n\
        def test_an_order_is_sent_by_mail(n, server):\n    for _ in range(n % 4 + 1): leak('/bin/sleep', '900')\n\
        def test_chain(): leak('sh', '-c', 'for n in 1 2 3 4 5; do sleep 901 & done; wait')\n\
        def test_deaf():\n\
        \x20   deaf = subprocess.Popen(['sh', '-c', 'trap \"\" TERM; echo; while :; do sleep 903; done'], stdout=-1)\n\
        \x20   deaf.stdout.readline()\n\
        def test_clean(): subprocess.run(['sleep', '0'])\n";
    let pytest = format!("{} -q test_it.py", python_program("pytest"));
    let script = format!("{pytest}; sleep 904 & sleep 904 &");
    let session = Session::new().options(JSON).options(["--grace", "1s"]).file("test_it.py", suite);
    session.file("leak.sh", script).command(["sh", "leak.sh"])
}

#[test]
fn many_leaks_are_listed_by_test_with_the_worst_first() {
    let run = many_leaks().options(["--report", "html=report.html"]).run();
    run.assert_code(0).assert_nothing_left();
    let lines = said(&run.stderr());
    assert_eq!(lines[0], "cgrun: leaked 34 processes, 32 of them during 12 tests, found and stopped:");
    let name = "test_it.py::test_an_order_is_sent_by_mail";
    // What does not fit into one line has a line for each program.
    assert_eq!(lines[1], format!("cgrun:   {name}[0] (setup, call):"), "{lines:#?}");
    assert!(lines[2].starts_with("cgrun:     pid "), "{lines:#?}");
    assert!(lines[2].contains("(python3 -m http.server 0), listening on 0.0.0.0:"), "{lines:#?}");
    assert_eq!(lines[4], "cgrun:   test_it.py::test_deaf (call):", "{lines:#?}");
    assert!(lines[5].ends_with(" and 1 below it; it did not stop when asked to"), "{lines:#?}");
    assert!(lines[6].starts_with("cgrun:   test_it.py::test_chain (call): pid "), "{lines:#?}");
    assert!(lines[6].ends_with(" and 5 below it"), "{lines:#?}");
    assert_eq!(lines[7], format!("cgrun:   {name}[3] (call): 4 x sleep 900"));
    assert_eq!(lines[lines.len() - 2], "cgrun:   an unknown test: 2 x sleep 904");
    assert!(lines.len() <= 18, "{lines:#?}");
    assert!(!run.stderr().contains("test_clean"), "{}", run.stderr());
    let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
    let tests = report["tests"].as_array().unwrap();
    assert_eq!(tests.len(), 12);
    assert_eq!(tests.iter().map(|test| test["leaked_process_count"].as_u64().unwrap()).sum::<u64>(), 32);
    let worst = &tests[0];
    assert_eq!((&worst["test"], &worst["line"]), (&format!("{name}[0]").into(), &6.into()), "{worst:#}");
    assert_eq!(worst["phases"], serde_json::json!(["setup", "call"]));
    assert_eq!(worst["programs"][1]["command"], "sleep 900");
    let page = run.read("report.html");
    assert!(page.contains("Leaks by test") && page.contains("<code>4 x sleep 900</code>"), "{page}");
}

#[test]
fn each_line_about_a_leak_fits_the_terminal() {
    for columns in [80, 110, 200] {
        let terminal = many_leaks().on_terminal();
        terminal.resize(24, columns).enter("NO_COLOR=1 cgrun --grace 1s sh leak.sh");
        let mut lines = said(&terminal.prompt(0));
        lines.retain(|line| !line.contains("hint: "));
        terminal.leave().assert_nothing_left();
        let fits = |line: &String| line.chars().count() <= usize::from(columns);
        assert!(lines.len() >= 14 && lines.iter().all(fits), "{lines:#?}");
    }
}

#[test]
fn a_test_that_leaks_many_programs_is_cut_like_a_long_list() {
    let suite = "import subprocess\ndef test_many():\n    for n in range(90): subprocess.Popen(['/bin/sleep', str(900 + n)])\n\
        def test_more():\n    for n in range(30): subprocess.Popen(['/bin/sleep', str(900 + n)])\n";
    let session = Session::new().options(LONG).file("test_it.py", suite);
    let run = session.command([python_program("pytest").as_str(), "-q", "test_it.py"]).run();
    run.assert_code(0).assert_nothing_left();
    let lines = said(&run.stderr());
    assert!(lines.len() <= 25, "{lines:#?}");
    // Only 100 are described, so nothing is known about the tests of the others.
    assert_eq!(lines[0], "cgrun: leaked 120 processes, found and stopped:");
    assert!(
        lines.iter().any(|line| line.starts_with("cgrun:     and ") && line.ends_with(" more")),
        "{lines:#?}"
    );
}

#[test]
fn with_verbose_each_leak_has_a_line_of_its_own() {
    let run = many_leaks().options(["-v"]).run();
    run.assert_code(0).assert_said("old, started during test_it.py::test_deaf (call)").assert_nothing_left();
}

#[test]
fn a_leak_between_two_of_the_same_test_is_attributed_to_that_test() {
    let suite = "import subprocess\n\
        def test_one():\n    for env in (None, {}, None): subprocess.Popen(['/bin/sleep', '900'], env=env)\n\
        def test_two():\n    for env in ({}, None): subprocess.Popen(['/bin/sleep', '900'], env=env)\n";
    let session = Session::new().options(JSON).options(LONG).file("test_it.py", suite);
    let run = session.command([python_program("pytest").as_str(), "-q", "test_it.py"]).run();
    run.assert_code(0).assert_nothing_left();
    let mut said: Vec<_> =
        leaks(&run).iter().map(|leak| (leak["pid"].as_i64(), leak["started_during"].clone())).collect();
    said.sort_by_key(|(pid, _)| *pid);
    let tests: Vec<_> = said.iter().map(|(_, during)| during["test"].as_str()).collect();
    let (one, two) = (Some("test_it.py::test_one"), Some("test_it.py::test_two"));
    assert_eq!(tests, [one, one, one, None, two], "a process started between two tests belongs to neither");
    assert_eq!(said[1].1["evidence"], "start_time");
}

#[test]
fn a_leak_that_no_test_started_is_attributed_to_none() {
    // The shell starts it between two runs of the same test.
    let suite = "import subprocess\ndef test_one(): subprocess.Popen(['/bin/sleep', '900'])\n";
    let session = Session::new().options(JSON).options(LONG).file("test_it.py", suite);
    let pytest = format!("{} -q test_it.py", python_program("pytest"));
    let run = session.sh(&format!("{pytest}; sleep 901 & {pytest}")).run();
    run.assert_code(0).assert_said("an unknown test: pid ").assert_said("(sleep 901)");
    let said = leaks(&run);
    let of_shell = said.iter().find(|leak| leak["command_line"][1] == "901").unwrap();
    assert_eq!(of_shell["started_during"], Value::Null, "{of_shell:#}");
    run.assert_nothing_left();
}

#[test]
fn a_process_started_by_a_leak_is_attributed_by_its_parent() {
    let suite = "import os, subprocess, time\n\
        def test_one(): subprocess.Popen(['sh', '-c', 'until [ -e two ]; do sleep 0.01; done; sleep 900 & touch three; wait'])\n\
        def test_two():\n  open('two', 'w')\n  while not os.path.exists('three'): time.sleep(0.01)\n";
    let session = Session::new().options(JSON).options(LONG).file("test_it.py", suite);
    let run = session.command([python_program("pytest").as_str(), "-q", "test_it.py"]).run();
    run.assert_code(0).assert_nothing_left();
    let said = leaks(&run);
    let late = said.iter().find(|leak| leak["command_line"][1] == "900").unwrap();
    assert_eq!(late["started_during"]["evidence"], "parent", "{late:#}");
}

#[test]
fn a_leak_of_a_service_is_attributed_to_no_test() {
    let config = "[services.web]\ngrace = '200ms'\n\
        command = ['sh', '-c', \"trap '' TERM; JEST_WORKER_ID=1 sleep 900 & touch up; wait; wait\"]\n";
    let run = Session::new().options(JSON).config(config).sh("until [ -e up ]; do sleep 0.01; done").run();
    run.assert_nothing_left();
    let said = leaks(&run);
    assert!(!said.is_empty() && said.iter().all(|leak| leak["started_during"].is_null()), "{said:#?}");
}

#[test]
fn the_test_is_reported_with_phase_and_line() {
    let run = pytest(1, &["-k", "fixture"]);
    run.assert_code(0).assert_said("test_leaks.py::test_fixture[0] (setup)").assert_nothing_left();
    run.assert_said("hint: a fixture started it and did not stop it");
    let leaks = leaks(&run);
    let during = &leaks[0]["started_during"];
    let suite = std::fs::read_to_string(helpers().join("leaky/test_leaks.py")).unwrap();
    let line = suite.lines().position(|line| line.starts_with("def test_fixture")).unwrap() + 1;
    assert_eq!((&during["line"], &during["runner"]), (&line.into(), &"pytest".into()));
    assert!(during["file"].as_str().unwrap().ends_with("tests/helpers/leaky/test_leaks.py"), "{during}");
}

#[test]
fn a_leak_of_bats_is_attributed_to_its_test() {
    let suite = "@test \"a server is left: 100%\" {\n  sleep 900 >/dev/null 2>&1 3>&- &\n}\n\
                 @test \"and_another\" {\n  setsid -f sleep 900 >/dev/null 2>&1 3>&-\n}\n";
    let run =
        Session::new().options(JSON).options(LONG).file("it.bats", suite).command(["bats", "it.bats"]).run();
    run.assert_code(0).assert_nothing_left().assert_said("it.bats: a server is left: 100%");
    let leaks = leaks(&run);
    let mut lines: Vec<_> = leaks.iter().map(|leak| leak["started_during"]["line"].as_i64()).collect();
    lines.sort();
    assert_eq!(lines, [Some(1), Some(4)], "{leaks:#?}");
}

#[test]
fn a_leak_of_nextest_is_attributed_to_its_test() {
    let manifest = "[package]\nname = 'leaky'\nversion = '0.0.0'\nedition = '2021'\n[workspace]\n";
    let test = "#[test] fn leaves_a_process() { std::process::Command::new(\"sleep\").arg(\"900\")\
        .stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null())\
        .stderr(std::process::Stdio::null()).spawn().unwrap(); }\n";
    let session = Session::new().options(JSON).options(LONG).file("Cargo.toml", manifest);
    let session = session.file("src/lib.rs", test).env("CARGO_TARGET_DIR", "target");
    let run = session.command(["cargo", "nextest", "run", "--offline"]).run();
    run.assert_code(0).assert_nothing_left();
    let leaks = leaks(&run);
    let during = &leaks[0]["started_during"];
    assert_eq!((&during["test"], &during["runner"]), (&"leaky leaves_a_process".into(), &"nextest".into()));
}

#[test]
fn a_leak_of_vitest_is_attributed_to_its_worker() {
    let suite = "import { test } from 'vitest'; import { spawn } from 'node:child_process';\n\
        test('leaves a process', () => { spawn('sleep', ['900'], { detached: true, stdio: 'ignore' }).unref(); });\n";
    let session = Session::new().options(JSON).options(LONG).file("it.test.js", suite);
    let modules = session.path().join("node_modules");
    std::os::unix::fs::symlink(installed("tests/demo/frontend/node_modules"), modules).unwrap();
    let run = session.command(["node_modules/.bin/vitest", "run"]).env("CI", "1").run();
    run.assert_code(0).assert_nothing_left().assert_said("cgrun:   vitest worker 1: pid ");
    let leaks = leaks(&run);
    let leak = leaks.iter().find(|leak| leak["name"] == "sleep").unwrap();
    let during = &leak["started_during"];
    assert_eq!((&during["runner"], &during["worker"]), (&"vitest".into(), &"1".into()));
    assert_eq!(during["test"], Value::Null, "vitest names no test");
}

#[test]
fn a_leak_is_attributed_to_the_test_that_a_hook_names() {
    let script = "JEST_WORKER_ID=3 CGRUN_TEST='a.test.js: cart > empties' sleep 900 &";
    let run = Session::new().options(JSON).options(LONG).sh(script).run();
    run.assert_code(0).assert_nothing_left().assert_said("cgrun:   a.test.js: cart > empties: pid ");
    let leaks = leaks(&run);
    let during = &leaks[0]["started_during"];
    assert_eq!((&during["runner"], &during["worker"]), (&"jest".into(), &"3".into()));
}

#[test]
fn an_unknown_test_is_not_mentioned_without_a_test_runner() {
    let run = Session::new().options(JSON).options(LONG).sh("sleep 900 &").run();
    run.assert_code(0).assert_nothing_left();
    assert!(!run.stderr().contains("started during"), "{}", run.stderr());
    assert_eq!(leaks(&run)[0]["started_during"], Value::Null);
}

#[test]
fn each_leak_is_reported_with_how_it_leaked() {
    let script =
        "sleep 901 & setsid -f sleep 902; (trap '' TERM; exec sleep 903) & exec 1>&- 2>&-; wait $$ || true";
    let options = ["--grace", "300ms"];
    let run = Session::new().options(JSON).options(options).sh(script).run();
    run.assert_nothing_left();
    let leaks = leaks(&run);
    let of = |seconds: &str| leaks.iter().find(|leak| leak["command_line"][1] == seconds).unwrap();
    let said = |leak: &Value| (leak["kind"].clone(), leak["ignores_sigterm"].clone());
    assert_eq!(said(of("901")), ("background".into(), false.into()));
    assert_eq!(said(of("902")), ("daemon".into(), false.into()));
    assert_eq!(said(of("903")), ("background".into(), true.into()));
    for leak in &leaks {
        assert_eq!(leak["open_streams"], serde_json::json!(["stdout", "stderr"]), "{leak:#}");
        assert_eq!(
            leak["working_directory"].as_str().map(Path::new),
            Some(run.path().canonicalize().unwrap().as_path())
        );
        assert_eq!(leak["executable"].as_str(), Some(&*sleep()));
        assert!(leak["cgroup"].as_str().unwrap().ends_with("/command"), "{leak:#}");
    }
}

fn sleep() -> String {
    let output = Command::new("sh").args(["-c", "realpath \"$(command -v sleep)\""]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}
