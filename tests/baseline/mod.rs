//! A suite with old leaks can start today: what is listed in cgrun-leaks.toml is known, and only what is new fails.

mod wording;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fixtures::LONG;
use crate::harness::{Finished, Session, helpers, installed, python_program};

const FILE: &str = "cgrun-leaks.toml";
const LEAK: &str = "import subprocess, pytest\n\
    def leak(*command): subprocess.Popen(command, stdout=-3, stderr=-3)\n";

/// A suite, and pytest to run it.
fn suite(session: Session, tests: &str) -> Session {
    let pytest = [&python_program("pytest"), "-q", "-p", "no:cacheprovider", "test_it.py"];
    session.options(LONG).file("test_it.py", format!("{LEAK}{tests}")).command(pytest)
}

/// The same, with this baseline; only what is new fails.
fn with_baseline(baseline: &str, tests: &str) -> Session {
    suite(Session::again(), tests).file(FILE, baseline).options(["--on-leak", "fail"])
}

/// The lines of a baseline that list leaks.
fn listed(run: &Finished) -> Vec<String> {
    let text = run.read(FILE);
    let lines = text.lines().filter(|line| line.trim_start().starts_with('{'));
    lines.map(|line| line.trim().trim_end_matches(',').to_string()).collect()
}

fn list(lines: &[&str]) -> String {
    format!(
        "version = 1\nleaks = [\n{}]\n",
        lines.iter().map(|line| format!("  {{ {line} }},\n")).collect::<String>()
    )
}

fn json_report(run: &Finished) -> Value {
    let (schema, file) = (installed("src/report/schema.json"), run.path().join("r.json"));
    let output = Command::new(python_program("python3"))
        .arg(helpers().join("readers.py"))
        .args([Path::new("json"), &schema, &file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&run.read("r.json")).unwrap()
}

const OLD: &str = "def test_old(): leak('sleep', '901')\n\
    def test_both():\n    leak('sleep', '902')\n    leak('sleep', '902')\n";
const NEW: &str = "def test_new(): leak('sleep', '903')\n";

#[test]
fn with_a_baseline_only_a_new_leak_fails() {
    let options = ["--write-baseline", "--on-leak", "fail"];
    let written = suite(Session::new(), OLD).options(options).run();
    written.assert_code(0).assert_nothing_left();
    written.assert_said(
        "added 2 lines to cgrun-leaks.toml: 3 processes of 2 tests leaked, and all are known from now on",
    );
    let lines = [
        r#"{ test = "test_it.py::test_both", program = "sleep 902" }"#,
        r#"{ test = "test_it.py::test_old", program = "sleep 901" }"#,
    ];
    assert_eq!(listed(&written), lines);

    let baseline = written.read(FILE);
    let known = with_baseline(&baseline, OLD).run();
    known
        .assert_code(0)
        .assert_said("3 known leaks of 2 tests are in cgrun-leaks.toml")
        .assert_nothing_left();
    assert!(!known.stderr().contains("sleep"), "{}", known.stderr());
    let new = with_baseline(&baseline, &format!("{OLD}{NEW}")).run();
    new.assert_code(121).assert_nothing_left();
    new.assert_said(
        "1 test leaked 1 new process, found and stopped:\ncgrun:   test_it.py::test_new (call): ",
    );
    let verbose = with_baseline(&baseline, OLD).options(["-v"]).run();
    verbose.assert_matches("using the baseline /.*/cgrun-leaks.toml\n");
    verbose.assert_code(0).assert_said("3 known leaks, stopped:\ncgrun:   pid ").assert_nothing_left();

    let again = suite(Session::again(), OLD).file(FILE, &baseline).options(["--write-baseline"]).run();
    again.assert_code(0).assert_said("nothing leaked that is not in cgrun-leaks.toml").assert_nothing_left();
    assert_eq!(again.read(FILE), baseline);
}

#[test]
fn a_baseline_that_was_written_on_one_machine_is_used_on_another() {
    let tests = "import os\n\
        def test_server(tmp_path):\n\
        \x20   here = os.path.dirname(__file__)\n\
        \x20   server = [os.environ['SERVER_PYTHON'], os.path.join(here, 'server.py'), '--port', os.environ['PORT']]\n\
        \x20   server = subprocess.Popen(server + ['--data', str(tmp_path)], stdout=-1)\n\
        \x20   server.stdout.readline()\n";
    let server = "import socket, sys, time\nsocket.create_server(('127.0.0.1', int(sys.argv[2])))\n\
                  print(flush=True)\ntime.sleep(1000)\n";
    let on_machine = |session: Session, python: &str, port: &str| {
        let session = suite(session, tests).file("server.py", server).file(&format!("{python}.txt"), "");
        let python = session.path().join(python);
        symlink("/usr/bin/python3", &python).unwrap();
        session.env("SERVER_PYTHON", python).env("PORT", port)
    };
    let one = on_machine(Session::new(), ".venv/bin/python3.11", "8123").options(["--write-baseline"]).run();
    one.assert_code(0).assert_nothing_left();
    let line =
        r#"{ test = "test_it.py::test_server", program = "python server.py --port * --data test_server*" }"#;
    assert_eq!(listed(&one), [line]);
    let other = on_machine(Session::again(), "opt/env/bin/python3", "45000").options(["--on-leak", "fail"]);
    let other = other.file(FILE, one.read(FILE)).run();
    other.assert_code(0).assert_said("1 known leak of 1 test is in cgrun-leaks.toml").assert_nothing_left();
}

#[test]
fn two_people_can_add_to_a_baseline_at_once() {
    fn git(at: &Path, arguments: &[&str]) -> bool {
        let output = Command::new("git")
            .args(["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .current_dir(at)
            .output()
            .unwrap();
        output.status.success()
    }
    let repository = tempfile::tempdir().unwrap();
    let at = repository.path();
    let save = |text: &str| std::fs::write(at.join(FILE), text).unwrap();
    let ours = "def test_a(): leak('sleep', '901')\ndef test_m(): leak('sleep', '901')\n\
                def test_z(): leak('sleep', '901')\n";
    let add = |session: Session, baseline: Option<&str>, tests: &str| {
        let session = suite(session, tests).options(["--write-baseline"]);
        let run = baseline.iter().fold(session, |session, text| session.file(FILE, text)).run();
        run.assert_code(0).assert_nothing_left();
        run.read(FILE)
    };
    let base = add(Session::new(), None, ours);
    save(&base);
    assert!(git(at, &["init", "-q"]) && git(at, &["add", "."]) && git(at, &["commit", "-qm", "base"]));
    let add_on_branch = |branch: &str, test: &str| {
        assert!(git(at, &["checkout", "-qb", branch, "main"]));
        save(&add(Session::again(), Some(&base), &format!("def {test}(): leak('sleep', '902')\n")));
        assert!(git(at, &["commit", "-qam", branch]));
    };
    add_on_branch("first", "test_b");
    add_on_branch("second", "test_n");
    add_on_branch("third", "test_c");
    assert!(git(at, &["checkout", "-q", "first"]));
    // What is not next to each other merges.
    assert!(git(at, &["merge", "-q", "-m", "merge", "second"]));
    // What is next to each other conflicts, and both lines are kept, as here by git itself.
    assert!(!git(at, &["merge", "-q", "-m", "merge", "third"]));
    assert!(git(at, &["merge", "--abort"]));
    std::fs::write(at.join(".gitattributes"), "cgrun-leaks.toml merge=union\n").unwrap();
    assert!(git(at, &["merge", "-q", "-m", "merge", "third"]));

    let all = format!(
        "{ours}{}",
        ["test_b", "test_n", "test_c"].map(|test| format!("def {test}(): leak('sleep', '902')\n")).concat()
    );
    let merged = std::fs::read_to_string(at.join(FILE)).unwrap();
    let run = with_baseline(&merged, &all).run();
    run.assert_code(0).assert_said("6 known leaks of 6 tests are").assert_nothing_left();
    // A line that both have added is no fault.
    let line = r#"test = "test_it.py::test_new", program = "sleep 903""#;
    let run = with_baseline(&list(&[line, line]), NEW).run();
    run.assert_code(0).assert_said("1 known leak of 1 test is").assert_nothing_left();
}

#[test]
fn a_pattern_folds_parametrised_tests() {
    let tests = "@pytest.mark.parametrize('n', ['a', 'b c', '*'])\ndef test_p(n): leak('sleep', '901')\n\
                 def test_q(): leak('sleep', '901')\n";
    let folded = list(&[r#"test = "test_it.py::test_p[*]", program = "sleep 901""#]);
    let run = suite(Session::new(), tests).file(FILE, &folded).options(["--on-leak", "fail"]).run();
    run.assert_code(121).assert_said("3 known leaks of 3 tests are in").assert_nothing_left();
    run.assert_said("1 test leaked 1 new process").assert_said("test_it.py::test_q (call)");
    // What the pattern knows is not added once more.
    let run = with_baseline(&folded, tests).options(["--write-baseline"]).run();
    run.assert_code(0).assert_said("added 1 line to").assert_nothing_left();
    assert_eq!(run.read(FILE).matches("test_p").count(), 1);
}

#[test]
fn a_bound_lets_only_so_many_leaks_of_a_test_be_known() {
    let tests = "def test_n():\n    for _ in range(3): leak('sleep', '901')\n";
    let bounded = |bound: u32| {
        list(&[&format!("test = \"test_it.py::test_n\", program = \"sleep 901\", at_most = {bound}")])
    };
    let run = suite(Session::new(), tests).file(FILE, bounded(2)).options(["--on-leak", "fail"]).run();
    run.assert_code(121)
        .assert_said("leaked 1 new process")
        .assert_said("2 known leaks of 1 test")
        .assert_nothing_left();
    with_baseline(&bounded(3), tests).run().assert_code(0).assert_nothing_left();
    let raised = with_baseline(&bounded(2), tests).options(["--write-baseline"]).run();
    raised.assert_code(0).assert_said("raised 1 bound").assert_nothing_left();
    assert_eq!(raised.read(FILE), bounded(3));
    let lowered = with_baseline(&bounded(9), tests).options(["--update-baseline"]).run();
    lowered.assert_code(0).assert_said("lowered 1 bound").assert_nothing_left();
    assert_eq!(lowered.read(FILE), bounded(3));
}

#[test]
fn an_update_removes_what_no_longer_leaks_and_keeps_what_people_wrote() {
    let old = "# ours\nversion = 1\nleaks = [\n  # mail, issue 7\n  { test = \"test_it.py::test_old\", program = \"sleep 901\" },\n  \
               { test = \"test_it.py::test_fixed\", program = \"sleep 901\" },\n]\n";
    let tests = "def test_old(): leak('sleep', '901')\ndef test_fixed(): pass\n";
    let run = suite(Session::new(), tests).file(FILE, old).options(["--update-baseline"]).run();
    run.assert_code(0)
        .assert_said("removed 1 line from cgrun-leaks.toml:\ncgrun:   test_it.py::test_fixed: sleep 901\n")
        .assert_nothing_left();
    let kept: String =
        old.lines().filter(|line| !line.contains("fixed")).map(|line| format!("{line}\n")).collect();
    assert_eq!(run.read(FILE), kept);
    let run = with_baseline(&kept, tests).options(["--update-baseline"]).run();
    run.assert_code(0).assert_said("all that is in cgrun-leaks.toml still leaks").assert_nothing_left();
    assert_eq!(run.read(FILE), kept);
    // New leaks are not made known, and a test that failed can have stopped others from running.
    let run = with_baseline(old, &format!("{tests}{NEW}")).options(["--update-baseline"]).run();
    run.assert_code(121).assert_said("1 new process").assert_nothing_left();
    assert_eq!(run.read(FILE), kept);
    let run = with_baseline(old, &format!("{tests}def test_bad(): assert 0\n"))
        .options(["--update-baseline"])
        .run();
    run.assert_code(1).assert_said("was not changed, because the command failed").assert_nothing_left();
    assert_eq!(run.read(FILE), old);
}

#[test]
fn a_baseline_is_not_written_unless_the_command_ended_by_itself() {
    let old = list(&[r#"test = "x", program = "y""#]);
    let first = |session: Session| session.file(FILE, &old).options(LONG);
    for (option, code, command) in [
        ("--write-baseline", 124, "sleep 901 & sleep 902"),
        ("--update-baseline", 124, "sleep 901 & sleep 902"),
        ("--write-baseline", 137, "sleep 901 & kill -KILL $$"),
    ] {
        let session =
            if option == "--write-baseline" && code == 124 { Session::new() } else { Session::again() };
        let session = first(session).options([option]);
        let session = if code == 124 { session.options(["--timeout", "1s"]) } else { session };
        let run = session.sh(command).run();
        run.assert_code(code).assert_said("was not changed, because the command did not end by itself");
        run.assert_nothing_left();
        assert_eq!(run.read(FILE), old);
    }
    for (signal, option) in [(Signal::SIGINT, "--update-baseline"), (Signal::SIGTERM, "--write-baseline")] {
        let session = first(Session::again()).options([option]).sh("sleep 901 & touch here; sleep 902");
        let running = session.start();
        running.until_file("here").signal(signal);
        let run = running.finish();
        run.assert_signal(signal).assert_said("was not changed").assert_nothing_left();
        assert_eq!(run.read(FILE), old);
    }
}

#[test]
fn the_guardian_writes_no_baseline() {
    let session = Session::new().options(["--write-baseline"]).sh("sleep 901 & touch here; sleep 902");
    let running = session.start();
    running.until_file("here");
    let run = running.kill_cgrun(false);
    run.assert_nothing_left();
    let names: Vec<_> = std::fs::read_dir(run.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("cgrun-leaks")), "{names:?}");
}

#[test]
fn hostile_test_names_come_back_from_a_baseline() {
    let tests = "NAMES = ['\"]},#', '*', '**', 'a\\\\*', '\\x1b[2J', 'é\\u202e', 'x' * 300, '=', '${x}', \"'''\", 'a::b (call)', '[', '\\n']\n\
        @pytest.mark.parametrize('n', NAMES, ids=NAMES)\ndef test_n(n): leak('sleep', '901')\n\
        @pytest.mark.parametrize('n', ['other'])\ndef test_m(n): leak('sleep', '902', *['\"\\\\*'] * 0)\n";
    let written = suite(Session::new(), tests).options(["--write-baseline"]).run();
    written.assert_code(0).assert_said("added 14 lines to").assert_nothing_left();
    let run = with_baseline(&written.read(FILE), tests).run();
    run.assert_code(0).assert_said("14 known leaks of 14 tests are in").assert_nothing_left();
    // The star of a name stands only for itself.
    let run = with_baseline(
        &written.read(FILE),
        "@pytest.mark.parametrize('n', ['b'])\ndef test_n(n): leak('sleep', '901')\n",
    )
    .run();
    run.assert_code(121).assert_nothing_left();
}

#[test]
fn leaks_of_services_and_of_no_test_can_be_known() {
    let config = "[session]\ngrace = '100ms'\n[services.web]\n\
        command = ['sh', '-c', 'trap \"\" TERM; echo ready; while :; do sleep 901; done']\nready = { log = 'ready' }\n";
    let session = || Session::again().config(config).sh("sleep 902 &");
    let written = Session::new().config(config).sh("sleep 902 &").options(["--write-baseline"]).run();
    written.assert_code(0).assert_nothing_left();
    let lines = listed(&written);
    assert_eq!(
        lines[0],
        r#"{ service = "web", program = "sh -c trap \"\" TERM; echo ready; while :; do sleep 901; done" }"#
    );
    assert_eq!(lines[1..], [r#"{ program = "sleep 902" }"#]);
    let run = session().file(FILE, written.read(FILE)).options(["--on-leak", "fail"]).run();
    run.assert_code(0).assert_said(" known leaks are in cgrun-leaks.toml").assert_nothing_left();
}

#[test]
fn what_leaks_no_more_is_said_in_ci_and_if_cgrun_is_verbose() {
    let lines = [
        r#"test = "gone/test_x.py::test_y", program = "sleep 1""#,
        r#"test = "test_it.py::test_old", program = "sleep 901""#,
        r#"test = "test_it.py::test_then", program = "sleep 2""#,
    ];
    let said = "2 of 3 lines in cgrun-leaks.toml matched no leak; if all tests ran, remove them with --update-baseline:\n\
        cgrun:   gone/test_x.py::test_y: sleep 1 (gone/test_x.py does not exist)\ncgrun:   test_it.py::test_then: sleep 2\n";
    let tests = "def test_old(): leak('sleep', '901')\n";
    let quiet = suite(Session::new(), tests).file(FILE, list(&lines)).run();
    quiet.assert_code(0).assert_nothing_left();
    assert!(!quiet.stderr().contains("matched no leak"), "{}", quiet.stderr());
    with_baseline(&list(&lines), tests)
        .env("CI", "1")
        .run()
        .assert_code(0)
        .assert_said(said)
        .assert_nothing_left();
    with_baseline(&list(&lines), tests)
        .options(["-v"])
        .run()
        .assert_code(0)
        .assert_said(said)
        .assert_nothing_left();
    let failed = format!("{tests}def test_bad(): assert 0\n");
    let run = with_baseline(&list(&lines), &failed).env("CI", "1").run();
    run.assert_code(1).assert_nothing_left();
    assert!(!run.stderr().contains("matched no leak"), "{}", run.stderr());
}

#[test]
fn reports_tell_known_leaks_from_new_ones() {
    let baseline = list(&[
        r#"test = "test_it.py::test_*o*", program = "sleep 902""#,
        r#"test = "test_it.py::test_old", program = "sleep 901""#,
        r#"worker = "jest worker *", program = "x""#,
    ]);
    let session = suite(Session::new(), &format!("{OLD}{NEW}")).file(FILE, &baseline);
    let reports = ["--report", "json=r.json", "--report", "junit=r.xml", "--report", "html=r.html"];
    let session = session.options(reports).options(["--on-leak", "fail"]);
    let summary = session.path().join("summary.md");
    let run = session.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).run();
    run.assert_code(121).assert_nothing_left();

    let report = json_report(&run);
    assert_eq!(report["leaked_process_count"], 4);
    let known = |leak: &Value| (leak["program"].clone(), leak["known"].clone());
    let leaks: Vec<_> = report["leaks"].as_array().unwrap().iter().map(known).collect();
    assert_eq!(leaks[0], (json!("sleep 903"), json!(false)));
    assert_eq!(leaks.iter().filter(|(_, known)| known == true).count(), 3);
    let tests: Vec<_> = report["tests"].as_array().unwrap().iter().map(|it| &it["test"]).collect();
    assert_eq!(tests[0], "test_it.py::test_new");
    assert_eq!(report["tests"][1]["programs"][0]["known"], true);
    let summarized = &report["baseline"];
    assert_eq!((&summarized["entry_count"], &summarized["known_process_count"]), (&json!(3), &json!(3)));
    assert_eq!(summarized["not_seen"][0]["worker"], "jest worker *");

    let junit = run.read("r.xml");
    assert!(junit.contains("leaked 1 process") && !junit.contains("sleep 902"), "{junit}");
    assert!(junit.contains("3 known leaks of 2 tests are in cgrun-leaks.toml"), "{junit}");
    let page = run.read("r.html");
    for text in ["<h2>Known leaks</h2>", "1 process leaked, 3 are known"] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let annotations: Vec<_> =
        run.stderr().lines().filter(|it| it.starts_with("::")).map(str::to_string).collect();
    assert!(annotations.len() == 1 && annotations[0].contains("test_new"), "{annotations:?}");
    let summary = run.read("summary.md");
    assert!(summary.contains("leaked 1 process") && !summary.contains("902"), "{summary}");
    assert!(summary.contains("3 known leaks of 2 tests are in cgrun-leaks.toml"), "{summary}");

    // Known leaks alone are no news.
    let run = with_baseline(&baseline, OLD).options(reports).env("GITHUB_ACTIONS", "true").run();
    run.assert_code(0).assert_nothing_left();
    assert!(!run.stderr().contains("::"), "{}", run.stderr());
    assert!(run.read("r.html").contains("only known leaks"));
    assert_eq!(json_report(&run)["outcome"]["clean"], false);
}

#[test]
fn a_baseline_can_be_elsewhere() {
    let line = list(&[r#"program = "sleep 901""#]);
    let session = || Session::again().options(["--on-leak", "fail"]).sh("sleep 901 &");
    let run = Session::new()
        .options(["--on-leak", "fail"])
        .sh("sleep 901 &")
        .config("[session]\nbaseline = 'ci/known.toml'\n");
    run.file("ci/known.toml", &line)
        .run()
        .assert_code(0)
        .assert_said("is in ci/known.toml")
        .assert_nothing_left();
    let run = session().config("[session]\nbaseline = 'none.toml'\n").file("ci/known.toml", &line);
    run.options(["--baseline", "ci/known.toml"]).run().assert_code(0).assert_nothing_left();
    let run = session().file("ci/known.toml", &line).env("CGRUN_BASELINE", "ci/known.toml").run();
    run.assert_code(0).assert_nothing_left();
    // It is next to the config, also from below.
    let run =
        Session::again().config("").file(FILE, &line).file("below/x", "").options(["--on-leak", "fail"]);
    run.start_through(&[
        "env",
        "-C",
        "below",
        &crate::harness::cgrun_program().to_string_lossy(),
        "sh",
        "-c",
        "sleep 901 &",
    ])
    .finish()
    .assert_code(0)
    .assert_nothing_left();
    // Without a config nothing that was found is used.
    session().file(FILE, &line).options(["--no-config"]).run().assert_code(121).assert_nothing_left();
}

#[test]
fn a_wrong_baseline_is_refused_with_its_fault() {
    let cases: [(&str, &[u8], &str); 11] = [
        ("toml", b"leaks = [\n  { test = 'a' program = 'x' },\n]\n", "cgrun-leaks.toml:2:"),
        (
            "key",
            b"leaks = [\n  { tset = 'a', program = 'x' },\n]\n",
            "did you mean `test`?\ncgrun:   |\ncgrun: 2 |   { tset = 'a'",
        ),
        ("program", b"leaks = [{ test = 'a' }]\n", "missing key `program`"),
        ("owners", b"leaks = [{ test = 'a', service = 'b', program = 'x' }]\n", "a leak has one owner"),
        ("bound", b"leaks = [{ program = 'x', at_most = 0 }]\n", "a leak that is known is at least 1"),
        (
            "version",
            b"version = 2\nnew_key = 1\n",
            "has version 2, but this cgrun reads version 1; install a newer cgrun",
        ),
        ("version 0", b"version = 0\n", "cgrun-leaks.toml:1:11: there is no version 0; write version = 1\n"),
        ("version -1", b"version = -1\n[x]\n", "there is no version -1; write version = 1"),
        ("bytes", b"\xff\xfe", "it is not UTF-8 text"),
        ("other", b"[tool]\n", "unknown key `tool`"),
        ("words", b"leaks = 'x'\n", "expected a list"),
    ];
    for (at, (name, text, reason)) in cases.into_iter().enumerate() {
        let session = if at == 0 { Session::new() } else { Session::again() };
        let run = session.file(FILE, text).sh("touch started").run();
        run.assert_code(125).assert_said(reason);
        assert!(!run.path().join("started").exists(), "{name}");
    }
}

#[test]
fn a_baseline_that_is_no_readable_file_is_refused_at_once() {
    let session = |it: &str| Session::again().options(["--baseline", it]).command(["touch", "started"]);
    let first = Session::new().options(["--baseline", "none"]).command(["touch", "started"]).run();
    first.assert_code(125).assert_said("cannot read the baseline ").assert_said("there is no such file");
    session("/dev/zero").run().assert_code(125).assert_said("it is not a regular file");
    let directory = session("directory").file("directory/x", "").run();
    directory.assert_code(125).assert_said("it is not a regular file");
    let fifo = session("fifo");
    nix::unistd::mkfifo(&fifo.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fifo.run().assert_code(125).assert_said("it is not a regular file");
    let huge = session("huge");
    std::fs::File::create(huge.path().join("huge")).unwrap().set_len(17 << 20).unwrap();
    huge.run().assert_code(125).assert_said("it is larger than 16 MiB");
    session("~/x").run().assert_code(125).assert_said("begins with ~");
}

#[test]
fn a_baseline_that_cannot_be_written_is_refused_before_the_session_starts() {
    let session = |it: &str| {
        Session::again().options(["--write-baseline", "--baseline", it]).command(["touch", "started"])
    };
    let first = Session::new()
        .options(["--write-baseline", "--baseline", "/proc/x"])
        .command(["touch", "started"])
        .run();
    first.assert_code(125).assert_said("cannot write the baseline /proc/x: ");
    let run = session("file/x").file("file", "").run();
    run.assert_code(125);
    assert!(!run.path().join("started").exists());
    let both = Session::again().options(["--write-baseline", "--update-baseline"]).command(["true"]).run();
    both.assert_code(125).assert_said("--update-baseline");
    let missing = Session::again().options(["--update-baseline"]).command(["true"]).run();
    missing.assert_code(125).assert_said("there is no such file");
}

#[test]
fn a_baseline_is_not_changed_in_ci() {
    for (at, option) in ["--write-baseline", "--update-baseline"].into_iter().enumerate() {
        let session = if at == 0 { Session::new() } else { Session::again() };
        let run = session.file(FILE, list(&[])).options([option]).env("CI", "true").command(["true"]).run();
        run.assert_code(125).assert_said(&format!("{option} is refused in CI (the variable CI is set)"));
    }
    let run = Session::again().options(["--write-baseline"]).env("CI", "false").sh("sleep 901 &").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(listed(&run), [r#"{ program = "sleep 901" }"#]);
}

#[test]
fn a_baseline_that_others_can_write_to_is_not_trusted() {
    let open = |session: Session| {
        let session = session.file(FILE, list(&[r#"program = "sleep 901""#])).sh("sleep 901 &");
        std::fs::set_permissions(session.path().join(FILE), std::fs::Permissions::from_mode(0o666)).unwrap();
        session.options(["--on-leak", "fail"])
    };
    let run = open(Session::new()).run();
    run.assert_code(125)
        .assert_said("is not trusted: all users can write to it")
        .assert_said("pass --baseline ");
    open(Session::again()).options(["--baseline", FILE]).run().assert_code(0).assert_nothing_left();
    open(Session::again()).options(["--no-config"]).run().assert_code(121).assert_nothing_left();
}

#[test]
fn a_link_that_the_session_puts_in_place_of_its_baseline_is_not_followed() {
    let victim = "echo precious >victim; ln -sf victim cgrun-leaks.toml; sleep 901 &";
    let run = Session::new().options(["--write-baseline"]).sh(victim).run();
    // It is the user's own link: what it points to is no baseline, and is left alone.
    run.assert_code(125).assert_said("the baseline cgrun-leaks.toml was not written: ").assert_nothing_left();
    assert_eq!(run.read("victim"), "precious\n");
}

#[test]
fn the_baseline_that_the_docs_show_is_valid() {
    let page = std::fs::read_to_string(installed("docs/baseline.md")).unwrap();
    let example = page.split("```text\n").find(|it| it.starts_with("version = 1")).unwrap();
    let example = example.split("```").next().unwrap();
    let run = Session::new().file(FILE, example).options(["-v"]).command(["true"]).run();
    // Containers were not looked for.
    run.assert_code(0).assert_said("5 of 7 lines in cgrun-leaks.toml matched no leak").assert_nothing_left();
}

#[test]
fn a_baseline_serves_parallel_tests_too() {
    let tests =
        "@pytest.mark.parametrize('n', range(6))\ndef test_n(n): leak('sleep', '901', str(n) + 's')\n";
    let parallel = |session: Session| {
        let pytest = python_program("pytest");
        session.command([&*pytest, "-q", "-p", "no:cacheprovider", "-n", "2", "test_it.py"])
    };
    let written = parallel(suite(Session::new(), tests)).options(["--write-baseline"]).run();
    written.assert_code(0).assert_said("added 6 lines to").assert_nothing_left();
    let run = parallel(with_baseline(&written.read(FILE), tests)).run();
    run.assert_code(0).assert_said("6 known leaks of 6 tests are in cgrun-leaks.toml").assert_nothing_left();
}

#[test]
fn without_a_leak_no_baseline_is_written() {
    let run = Session::new().options(["--write-baseline"]).command(["true"]).run();
    run.assert_code(0).assert_said("nothing leaked, so there is nothing to write to cgrun-leaks.toml");
    run.assert_nothing_left();
    assert!(!run.path().join(FILE).exists());
}

#[test]
fn a_leak_that_cannot_be_described_is_never_known() {
    // A root process in a session of the user nobody, like a setuid program, which /proc hides.
    let script = "mount -t proc -o hidepid=2 proc /proc && cp \"$(command -v sleep)\" ssleep && chmod 4755 ssleep && \
        d=/sys/fs/cgroup; [ -d $d/unified ] && d=$d/unified; own=$d$(sed -n s/^0:://p /proc/self/cgroup); \
        mkdir \"$own/nobody\" && chown -R 65534 \"$own/nobody\" && echo $$ >\"$own/nobody/cgroup.procs\"; \
        setpriv --reuid 65534 --regid 65534 --clear-groups \"$CGRUN\" --on-leak fail --grace 200ms --write-baseline \
        sh -c './ssleep 900 & sleep 0.1'; code=$?; echo $$ >\"$own/cgroup.procs\"; rmdir \"$own/nobody\"; exit $code";
    let session = Session::new().file(FILE, list(&[r#"program = "ssleep 900""#, r#"program = "[ssleep]""#]));
    for path in [session.path().to_path_buf(), session.path().join(FILE)] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let run = session.start_through(&["unshare", "-mp", "--fork", "sh", "-c", script]).finish();
    run.assert_code(121).assert_said("leaked 1 new process").assert_nothing_left();
    run.assert_said("not compared with cgrun-leaks.toml, and so counted as new: 1 process");
    assert!(!run.stderr().contains("nothing leaked"), "{}", run.stderr());
}

#[test]
fn a_list_of_tables_is_read_and_its_layout_refused_for_writing() {
    let baseline = "version = 1\n[[leaks]]\nprogram = \"sleep 5\"\n";
    let run = suite(Session::new(), OLD).file(FILE, baseline).options(["--write-baseline"]).run();
    run.assert_said("write one leak on each line").assert_nothing_left();
    assert!(!run.stderr().contains("panicked"), "{}", run.stderr());
    assert_eq!(run.read(FILE), baseline);
}

#[test]
fn what_the_session_writes_into_its_baseline_makes_no_leak_known() {
    let line = "  { test = \\\"test_it.py::test_new\\\", program = \\\"sleep 903\\\" },\\n";
    let tests = format!("{NEW}    open('{FILE}', 'w').write(\"version = 1\\nleaks = [\\n{line}]\\n\")\n");
    let tests = tests.replace("(): leak", "():\n    leak");
    Session::new();
    let run = with_baseline(&list(&[]), &tests).options(["--update-baseline"]).run();
    run.assert_code(121).assert_said("test_it.py::test_new (call)").assert_nothing_left();
}
