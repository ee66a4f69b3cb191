//! With the plugin for pytest, the test that leaves a process running fails.

use std::path::Path;

use serde_json::Value;

use crate::fixtures::{JSON, LONG};
use crate::harness::{Finished, Session, helpers, installed, python_program};

/// The leaks of `scopes.py`: the test that is blamed, and what its error says.
const BLAMED: [(&str, &str); 20] = [
    ("TestFirst::test_leaky_function", "left 1 process running: pid N (sleep 918)"),
    (
        "TestFirst::test_last_of_class",
        "fixture 'leaky_class' (class scope), first used by TestFirst::test_leaky_class, left 1 process running: pid N (sleep 915)",
    ),
    ("test_call", "left 1 process running: pid N (sleep 901)"),
    ("test_no_environment", "left 1 process running: pid N (sleep 902)"),
    ("test_daemon", "left 1 process running: pid N (/bin/sleep 903)"),
    ("test_double_fork", "left 1 process running: pid N (sleep 904)"),
    ("test_chain", "left 2 processes running: pid N (sleep 906)"),
    ("test_deaf", "left 2 processes running: pid N (sh -c trap '' TERM;"),
    ("test_fails_and_leaks", "left 1 process running: pid N (sleep 908)"),
    ("test_teardown_breaks", "left 1 process running: pid N (sleep 909)"),
    ("test_hostile_name[a b]", "left 1 process running: pid N (sleep 930)"),
    ("test_hostile_name[x (call)]", "left 1 process running: pid N (sleep 930)"),
    ("test_hostile_name[\\xe9\\u2603]", "left 1 process running: pid N (sleep 930)"),
    ("test_hostile_name[\\x1b[31m\\n::error::]", "left 1 process running: pid N (sleep 930)"),
    ("test_hostile_name[%0A]]>]", "left 1 process running: pid N (sleep 930)"),
    ("test_subtests", "left 2 processes running: pid N (sleep 931)"),
    ("TestOfUnittest::test_one", "left 1 process running: pid N (sleep 941)"),
    // The last test of the module, the package and the session.
    (
        "TestOfUnittest::test_two",
        "fixture 'leaky_module' (module scope), first used by test_leaky_others, left 1 process running: pid N (sleep 916)",
    ),
    (
        "TestOfUnittest::test_two",
        "fixture 'leaky_package' (package scope), first used by test_leaky_others, left 1 process running: pid N (sleep 917)",
    ),
    (
        "TestOfUnittest::test_two",
        "fixture 'leaky_session' (session scope), first used by test_leaky_others, left 1 process running: pid N (sleep 917)",
    ),
];

/// Runs pytest with the plugin. The plugin is part of the wheel; here it comes from the source.
pub(crate) fn pytest(session: Session, arguments: &[&str]) -> Finished {
    with_pytest(session, arguments).run()
}

pub(crate) fn with_pytest(session: Session, arguments: &[&str]) -> Session {
    let pytest = python_program("pytest");
    let fixed =
        [pytest.as_str(), "-p", "cgrun.pytest_plugin", "-p", "no:cacheprovider", "--junit-xml=junit.xml"];
    let session = session.env("PYTHONPATH", installed("src/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    session.command([&fixed, arguments].concat())
}

fn session() -> Session {
    let suite = std::fs::read(helpers().join("leaky/scopes.py")).unwrap();
    Session::new().options(JSON).options(["--grace", "1s"]).file("test_it.py", suite)
}

/// Each error and failure in pytest's own report: its test, and its text with every pid replaced by N.
pub(crate) fn problems(run: &Finished) -> Vec<(String, String)> {
    let program = "import json, re, sys, xml.etree.ElementTree as tree\n\
        said = []\n\
        for case in tree.parse('junit.xml').iter('testcase'):\n\
        \x20   of = case.get('classname').partition('test_it')[2].strip('.')\n\
        \x20   name = f'{of}::' * bool(of) + case.get('name')\n\
        \x20   for it in case.findall('error') + case.findall('failure'):\n\
        \x20       said.append((name, re.sub(r'pid \\d+', 'pid N', f\"{it.get('message')}\\n{it.text}\")))\n\
        json.dump(said, sys.stdout)";
    let python = python_program("python3");
    let said =
        std::process::Command::new(python).args(["-c", program]).current_dir(run.path()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

#[track_caller]
fn assert_blamed(run: &Finished) {
    let problems = problems(run);
    for (test, text) in BLAMED {
        let is_it = |(name, said): &&(String, String)| name == test && said.contains(text);
        assert_eq!(problems.iter().filter(is_it).count(), 1, "{test}: {text}\n{problems:#?}");
    }
    for (test, said) in &problems {
        let is_known = BLAMED.iter().any(|(name, _)| name == test);
        assert!(is_known, "{test} is blamed, and has leaked nothing: {said}");
    }
}

/// What was still running at the end of the session.
pub(crate) fn leaked(run: &Finished) -> Vec<String> {
    still_running(run, "leaks")
}

fn still_running(run: &Finished, list: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
    let leaks = report[list].as_array().unwrap().iter().filter(|leak| leak["ended_by"].is_null());
    leaks.map(|leak| leak["command_line"][1].as_str().unwrap().to_string()).collect()
}

#[test]
fn each_test_and_fixture_that_leaks_is_blamed_and_no_other() {
    let run = pytest(session(), &["-q", "--cgrun-leaks=fail", "test_it.py"]);
    run.assert_code(1).assert_nothing_left();
    assert_blamed(&run);
    let problems = problems(&run);
    let of = |test: &str| {
        problems.iter().filter(|(name, _)| name == test).map(|it| it.1.as_str()).collect::<String>()
    };
    assert!(of("test_fails_and_leaks").contains("it failed itself"), "both are shown: {problems:#?}");
    assert!(of("test_teardown_breaks").contains("the teardown broke"), "both are shown: {problems:#?}");
    assert!(of("test_deaf").contains("it did not stop when asked to"), "{problems:#?}");
    assert_eq!(leaked(&run), Vec::<String>::new(), "what was leaked was ended");
    assert_eq!(still_running(&run, "allowed_leaks"), ["900"], "what is allowed was not");
}

#[test]
fn parallel_workers_blame_the_same_tests() {
    // The tests of one module stay together, since otherwise each worker has its own module fixtures.
    let run = pytest(session(), &["-q", "-n", "2", "--dist=loadfile", "--cgrun-leaks=fail", "test_it.py"]);
    run.assert_code(1).assert_nothing_left();
    assert_blamed(&run);
    let suite = "import subprocess, pytest\n@pytest.mark.parametrize('n', range(20))\n\
        def test_it(n):\n    if n % 3 == 0: subprocess.Popen(['sleep', str(1000 + n)], env={'PATH': '/bin'})\n";
    let run =
        pytest(Session::again().options(JSON).file("test_it.py", suite), &["-n", "3", "--cgrun-leaks=fail"]);
    run.assert_code(1).assert_nothing_left();
    let mut blamed: Vec<_> = problems(&run)
        .into_iter()
        .map(|(test, said)| {
            let number: usize = test["test_it[".len()..test.len() - 1].parse().unwrap();
            assert!(said.contains(&format!("(sleep {})", 1000 + number)), "{test}: {said}");
            number
        })
        .collect();
    blamed.sort_unstable();
    assert_eq!(blamed, (0..20).step_by(3).collect::<Vec<_>>());
}

#[test]
fn two_hundred_leaks_in_eight_ways_are_all_attributed_to_the_right_test() {
    let session = Session::new().options(JSON).options(["--grace", "1s"]);
    let truth = session.path().join("truth");
    std::fs::create_dir(&truth).unwrap();
    let suite = helpers().join("leaky/test_leaks.py");
    let session = session.env("TRUTH", &truth).env("LEAKS", "25");
    let run = pytest(session, &["-q", "-n", "4", "--cgrun-leaks=fail", suite.to_str().unwrap()]);
    run.assert_code(1).assert_nothing_left();
    assert!(!run.stdout().contains("it is not known"), "{}", run.stdout());
    assert_eq!(leaked(&run), Vec::<String>::new(), "{}", run.stdout());
    // The errors, each on one line with the test of its heading.
    let text =
        run.stdout().replace("\n  pid", ", pid").replace(" ERROR at teardown of", "\nERROR at teardown of");
    let mut attributed = 0;
    let mut heading = "";
    for line in text.lines() {
        if let Some(test) = line.strip_prefix("ERROR at teardown of ") {
            heading = test.split(' ').next().unwrap();
        }
        let Some((owner, list)) =
            line.split_once("left ").filter(|(_, list)| list.contains(" running: pid "))
        else {
            continue;
        };
        let test =
            owner.split_once(", first used by ").map_or(heading, |(_, test)| test.trim_end_matches(", "));
        let pids = list.split("pid ").skip(1).map(|it| it.split(' ').next().unwrap());
        let truths = pids.filter_map(|pid| std::fs::read_to_string(truth.join(pid)).ok());
        let truths: Vec<_> = truths.collect();
        assert!(
            !truths.is_empty() && truths.iter().all(|it| it.ends_with(&format!("::{test}"))),
            "{test}: {line}"
        );
        attributed += truths.len();
    }
    assert_eq!(attributed, 200);
}

/// Leaves a daemon behind that has cleared its environment.
const DAEMON: &str = "import subprocess\ndef test_leaks(): subprocess.run(['env', '-i', 'setsid', '-f', '/bin/sleep', '900'])\n\
    def test_clean(): pass\n";

#[track_caller]
fn assert_daemon_blamed(run: &Finished) {
    run.assert_code(1).assert_nothing_left();
    let problems = problems(run);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].0 == "test_leaks" && problems[0].1.contains("(/bin/sleep 900)"), "{problems:#?}");
}

#[test]
fn the_plugin_works_without_a_cgroup() {
    let mut first = Some(Session::new());
    for host in ["without-cgroups", "without-namespaces"] {
        let session = first.take().unwrap_or_else(Session::again).options(LONG).file("test_it.py", DAEMON);
        let session = with_pytest(session, &["--cgrun-leaks=fail"]);
        assert_daemon_blamed(&session.start_launched(&[host, env!("CARGO_BIN_EXE_cgrun")]).finish());
    }
}

#[test]
fn the_plugin_works_for_another_user() {
    let session = Session::new().options(["--user", "nobody"]).file("test_it.py", DAEMON);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(session.path(), open).unwrap();
    // That user may not be allowed to see where these are installed, nor that Python.
    let find = "import pytest, os; print(os.path.dirname(os.path.dirname(pytest.__file__)))";
    let found = std::process::Command::new(python_program("python3")).args(["-c", find]).output().unwrap();
    let packages = String::from_utf8(found.stdout).unwrap();
    let script = "cp -rL pytest _pytest pluggy* iniconfig* packaging* py.py pygments* \"$@\"";
    let mut copy = std::process::Command::new("sh");
    copy.args(["-c", script, "sh"]).arg(installed("src/python/cgrun")).arg(session.path());
    assert!(copy.current_dir(packages.trim_end()).status().unwrap().success());
    let here = session.path().to_path_buf();
    let session = session.env("PYTHONPATH", here).env("PYTHONDONTWRITEBYTECODE", "1");
    let options = ["-p", "cgrun.pytest_plugin", "-p", "no:cacheprovider", "--junit-xml=junit.xml"];
    let program = ["/usr/bin/python3", "-m", "pytest", "--cgrun-leaks=fail", "test_it.py"];
    assert_daemon_blamed(&session.command([&program[..], &options].concat()).run());
}

#[test]
fn with_warn_the_tests_pass_and_cgrun_ends_the_processes() {
    let suite =
        "import subprocess\ndef test_leaks(): subprocess.Popen(['sleep', '900'])\ndef test_clean(): pass\n";
    let session = Session::new().options(JSON).file("test_it.py", suite);
    let run = pytest(session.file("pytest.ini", "[pytest]\ncgrun_leaks = warn\n"), &[]);
    run.assert_code(0).assert_nothing_left();
    assert!(
        run.stdout().contains("PytestWarning: test_it.py::test_leaks: left 1 process running: pid "),
        "{}",
        run.stdout()
    );
    assert_eq!(leaked(&run), ["900"]);
}

#[test]
fn the_advice_is_to_the_test_or_to_the_fixture_that_has_started_the_processes() {
    let suite = "import pytest, subprocess\n@pytest.fixture(scope='module')\ndef server():\n    subprocess.Popen(['sleep', '900']); yield\n\
        def test_one(): subprocess.Popen(['sleep', '901'])\n\
        def test_two(server): subprocess.Popen(['sleep', '902']); subprocess.Popen(['sleep', '903'])\n";
    let session = Session::new().options(LONG).file("test_it.py", suite);
    let run = pytest(session, &["--cgrun-leaks=fail"]);
    run.assert_code(1).assert_nothing_left();
    let problems = problems(&run);
    let said = |test: &str| problems.iter().find(|(name, _)| name == test).unwrap().1.clone();
    let (one, two) = (said("test_one"), said("test_two"));
    let it = "Stop it and wait for it in the test, also if it fails; or start it in a fixture, and stop it after its yield.";
    assert!(one.contains(it) && !one.contains("them"), "{one}");
    let both = "and stop them after its yield. Stop it and wait for it in the fixture, after its yield.";
    assert!(two.contains(both), "{two}");
}

#[test]
fn the_plugin_does_nothing_unless_it_is_asked_to_in_a_session() {
    let suite = "import subprocess\ndef test_leaks(): subprocess.Popen(['sleep', '900'])\n";
    let run = pytest(Session::new().options(JSON).file("test_it.py", suite), &[]);
    run.assert_code(0).assert_nothing_left();
    assert_eq!(leaked(&run), ["900"]);
    let session = Session::again().options(JSON).file("test_it.py", suite);
    let run = pytest(session.file("pytest.ini", "[pytest]\ncgrun_leaks = fail\n"), &["--cgrun-leaks=off"]);
    run.assert_code(0).assert_nothing_left();
    assert_eq!(leaked(&run), ["900"], "the option overrides the key");
    // Outside a session, it says so.
    let suite = "def test_clean(): pass\n";
    let session = Session::again().file("test_it.py", suite);
    let session = session.env("PYTHONPATH", installed("src/python"));
    let pytest = python_program("pytest");
    let script = format!("exec env -u CGRUN_SESSION {pytest} -q -p cgrun.pytest_plugin --cgrun-leaks=fail");
    let run = session.sh(&script).run();
    run.assert_code(0).assert_nothing_left();
    let said = "cgrun: leaks were not looked for, because pytest does not run in a session (cgrun pytest)";
    assert!(run.stdout().contains(said), "{}", run.stdout());
}

#[test]
fn an_unknown_mode_is_refused() {
    let session = Session::new().file("test_it.py", "def test_clean(): pass\n");
    let run = pytest(session.file("pytest.ini", "[pytest]\ncgrun_leaks = always\n"), &[]);
    run.assert_code(4).assert_said("cgrun_leaks is 'always', and has to be one of off, warn, fail");
}

#[test]
fn a_run_that_is_cut_short_still_blames_its_tests() {
    let suite = "import subprocess\ndef test_leaks(): subprocess.Popen(['sleep', '900'])\n\
        def test_late(): open('late', 'w')\n";
    let run = pytest(Session::new().options(JSON).file("test_it.py", suite), &["-x", "--cgrun-leaks=fail"]);
    run.assert_code(1).assert_nothing_left();
    assert!(!Path::new(&run.path().join("late")).exists() && problems(&run).len() == 1);
    let suite = "import subprocess\ndef test_stops():\n    subprocess.Popen(['sleep', '901'])\n    raise KeyboardInterrupt\n";
    let run = pytest(Session::again().options(JSON).file("test_it.py", suite), &["--cgrun-leaks=fail"]);
    // pytest tears nothing down for the test, so cgrun ends its process.
    run.assert_code(2).assert_nothing_left();
    assert_eq!(leaked(&run), ["901"]);
}

#[test]
fn each_run_of_a_test_is_judged_by_itself() {
    let suite = "import os, subprocess\ndef test_leaks_once():\n    if not os.path.exists('ran'):\n        open('ran', 'w').close()\n\
        \x20       subprocess.Popen(['sleep', '900'])\n";
    let run = pytest(
        Session::new().options(JSON).file("test_it.py", suite),
        &["--reruns", "1", "--cgrun-leaks=fail"],
    );
    run.assert_code(0).assert_nothing_left();
    assert!(run.stdout().contains("1 rerun"), "{}", run.stdout());
    assert_eq!(leaked(&run), Vec::<String>::new());
}

/// `odd.py`: the errors that it must cause, and no others.
const ODD: [(&str, &str); 12] = [
    ("test_worker_of_fork_server_leaks", "left 1 process running: pid N ("),
    ("TestPools::test_pool_leaks", "left 2 processes running: pid N ("),
    ("TestPools::test_executor_leaks", "left 2 processes running: pid N ("),
    ("TestFrozen::test_time_stands_still", "left 1 process running: pid N (sleep 951)"),
    ("test_daemon_without_environment_after_that", "left 1 process running: pid N (/bin/sleep 952)"),
    ("test_teardown_times_out", "left 1 process running: pid N (sleep 953)"),
    ("test_teardown_raises_a_group", "left 1 process running: pid N (sleep 954)"),
    ("test_first_thread_exits", "left 1 process running: pid N ("),
    ("TestDescriptors::test_takes_all", "it is not known whether it left processes running: [Errno 24]"),
    (
        "TestDescriptors::test_gives_them_back",
        "it is not known whether it left processes running: [Errno 24]",
    ),
    (
        "test_parameters[957]",
        "fixture 'leaky_with_parameters' (module scope), first used by test_parameters[956], left 1 process running: pid N (sleep 956)",
    ),
    (
        "TestMark::test_allowed",
        "fixture 'leaky_of_class' (class scope), first used by TestMark::test_allowed, left 1 process running: pid N (sleep 958)",
    ),
];

#[test]
fn what_python_keeps_is_no_leak_and_no_trick_hides_one() {
    let suite = std::fs::read(helpers().join("leaky/odd.py")).unwrap();
    let mut first = Some(Session::new());
    for parallel in [&[][..], &["-n", "2", "--dist=loadfile"]] {
        let session = first.take().unwrap_or_else(Session::again).options(JSON).file("test_it.py", &suite);
        let run = pytest(session, &[&["-q", "--cgrun-leaks=fail"], parallel].concat());
        run.assert_code(1).assert_nothing_left();
        let problems = problems(&run);
        for (test, text) in ODD {
            let is_it = |(name, said): &&(String, String)| name == test && said.contains(text);
            assert_eq!(problems.iter().filter(is_it).count(), 1, "{test}: {text}\n{problems:#?}");
        }
        assert_eq!(problems.len(), ODD.len(), "no other test is blamed: {problems:#?}");
        // A teardown that failed shows its own error too.
        let shows = |text: &str| problems.iter().any(|(_, said)| said.contains(text));
        assert!(shows("TimeoutExpired") && shows("two things broke"), "{problems:#?}");
        assert_eq!(leaked(&run), ["960", "960"], "what cannot be attributed for certain");
        assert_eq!(still_running(&run, "allowed_leaks"), ["900"]);
    }
}

#[test]
fn wider_fixtures_that_are_torn_down_after_the_last_test_are_judged_too() {
    let suite = "import pytest, subprocess\n@pytest.fixture(scope='session')\ndef server():\n    subprocess.Popen(['sleep', '900']); yield\n\
        def test_fails(server): assert False\ndef test_late(server): pass\n";
    let session = Session::new().options(JSON).file("test_it.py", suite);
    let run = pytest(session, &["-x", "--cgrun-leaks=fail"]);
    run.assert_code(1).assert_nothing_left();
    let said = "fixture 'server' (session scope), first used by test_fails, left 1 process running: pid ";
    assert!(run.stdout().contains(said), "{}", run.stdout());
    assert_eq!(leaked(&run), Vec::<String>::new());
}

#[test]
fn what_the_session_allows_is_no_leak_of_a_test() {
    let suite = "import subprocess\ndef test_name(): subprocess.Popen(['sleep', '900'])\n\
        def test_line(): subprocess.Popen(['tail', '-f', '/dev/null'])\n\
        def test_other(): subprocess.Popen(['tail', '-f', '/dev/zero'])\n";
    let allow = ["--allow", "sleep", "--allow", "tail * /dev/nul?"];
    let session = Session::new().options(JSON).options(allow).file("test_it.py", suite);
    let run = pytest(session, &["--cgrun-leaks=fail"]);
    run.assert_code(1).assert_nothing_left();
    let problems = problems(&run);
    assert!(problems.len() == 1 && problems[0].0 == "test_other", "{problems:#?}");
}

#[test]
fn the_pause_process_of_podman_is_no_leak_of_a_test() {
    let suite = "import subprocess\n\
        def start(name):\n\
        \x20   it = subprocess.Popen(['bash', '-c', f'printf %s \"{name}\" >/proc/$$/comm; sleep 900; :'])\n\
        \x20   while open(f'/proc/{it.pid}/comm').read() != name + '\\n': pass\n\
        def test_pause(): start('podman pause')\n\
        def test_other(): start('podman')\n";
    let run = pytest(Session::new().options(JSON).file("test_it.py", suite), &["--cgrun-leaks=fail"]);
    run.assert_code(1).assert_nothing_left();
    let problems = problems(&run);
    assert!(problems.len() == 1 && problems[0].0 == "test_other", "{problems:#?}");
}

#[test]
fn the_plugin_works_with_an_older_or_a_newer_cgrun() {
    let suite = "import subprocess\ndef test_leaks(): subprocess.Popen(['/bin/sleep', '900'])\ndef test_clean(): pass\n";
    let mut first = Some(Session::new());
    // What a session allows may be missing, or be said in another way.
    for allowed in [
        "-u CGRUN_ALLOWED",
        "CGRUN_ALLOWED=sleep",
        "CGRUN_ALLOWED='{\"sleep\": 1}'",
        "CGRUN_ALLOWED='[1, []]'",
    ] {
        let session = first.take().unwrap_or_else(Session::again).options(JSON).file("test_it.py", suite);
        let session = session.env("PYTHONPATH", installed("src/python"));
        let pytest = python_program("pytest");
        let options =
            "-q -p cgrun.pytest_plugin -p no:cacheprovider --junit-xml=junit.xml --cgrun-leaks=fail";
        assert_daemon_blamed(&session.sh(&format!("exec env {allowed} {pytest} {options}")).run());
    }
}

#[test]
fn warnings_that_are_errors_fail_the_test_that_leaks() {
    // Python itself warns of a process that nobody refers to any more.
    let suite = "import subprocess\nkept = []\ndef test_leaks(): kept.append(subprocess.Popen(['sleep', '900']))\n\
        def test_clean(): pass\n";
    let session = Session::new().options(JSON).file("test_it.py", suite);
    let run = pytest(session, &["-Werror", "--cgrun-leaks=warn"]);
    run.assert_code(1).assert_nothing_left();
    let problems = problems(&run);
    assert!(problems.len() == 1 && problems[0].0 == "test_leaks", "{problems:#?}");
}

#[test]
fn a_test_that_starts_nothing_costs_less_than_a_millisecond() {
    let suite = "import pytest\n@pytest.mark.parametrize('n', range(2000))\ndef test_it(n): pass\n";
    let mut first = Some(Session::new());
    // Processor time, so that other tests do not count.
    let mut seconds = |mode: &str| {
        let session = first.take().unwrap_or_else(Session::again).options(JSON).file("test_it.py", suite);
        let run = pytest(session, &["-q", mode]);
        run.assert_code(0).assert_nothing_left();
        let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
        report["resources"]["cpu_seconds"].as_f64().unwrap()
    };
    let (without, with) = (seconds("--cgrun-leaks=off"), seconds("--cgrun-leaks=fail"));
    let added = (with - without) / 2.0;
    println!("{added:.3} ms for each test");
    assert!(added < 1.0, "{added} ms for each test");
}
