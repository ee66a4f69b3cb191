//! Reports are complete and correct, whatever the session did and however it ended.

use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fixtures::{JSON, LONG};
use crate::harness::browser::{assert_drawn, chromium};
use crate::harness::{Finished, Session, helpers, installed, python_program};

const ALL: [&str; 6] = ["--report", "json=r.json", "--report", "junit=r.xml", "--report", "html=r.html"];

fn reporting() -> Session {
    Session::new().options(ALL).options(LONG)
}

fn reader(arguments: &[&str]) -> String {
    let mut command = Command::new(python_program("python3"));
    let output = command.arg(helpers().join("readers.py")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The JSON report, validated against its schema.
#[track_caller]
fn json_of(run: &Finished) -> Value {
    let (schema, file) = (installed("src/report/schema.json"), run.path().join("r.json"));
    reader(&["json", schema.to_str().unwrap(), file.to_str().unwrap()]);
    serde_json::from_str(&run.read("r.json")).unwrap()
}

/// The test cases of the JUnit report as a parser sees them.
#[track_caller]
fn junit_of(run: &Finished) -> Value {
    serde_json::from_str(&reader(&["junit", run.path().join("r.xml").to_str().unwrap()])).unwrap()
}

/// The DOM that Chromium builds from the HTML report, as HTML.
fn seen(run: &Finished) -> String {
    chromium(&run.path().join("r.html"), &["--dump-dom"])
}

/// Asserts that no temporary files are left next to the reports.
#[track_caller]
fn assert_no_drafts(directory: &Path) {
    let names =
        std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let drafts: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
    assert!(drafts.is_empty(), "{drafts:?}");
}

const SERVICE: &str = "[services.web]\ncommand = ['python3', '{helpers}/server.py', '8000']\nport = 8000\n";

#[test]
fn a_clean_session_is_reported_as_clean() {
    let run = reporting().config(SERVICE).command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
    let report = json_of(&run);
    assert_eq!(report["outcome"]["clean"], true);
    assert_eq!((&report["outcome"]["exit_code"], &report["leaked_process_count"]), (&json!(0), &json!(0)));
    let web = &report["services"][0];
    let times: Vec<_> = ["started", "ready", "stop_requested", "gone"]
        .map(|it| web[format!("{it}_at_seconds")].as_f64().unwrap())
        .into();
    assert!(times.is_sorted(), "{web:#}");
    assert!(
        report["command"]["started_at_seconds"].as_f64() >= web["ready_at_seconds"].as_f64(),
        "{report:#}"
    );
    assert_eq!(web["exit_code"], 0, "{web:#}");
    let cases = junit_of(&run);
    assert_eq!((&cases["command"]["result"], &cases["service web"]["result"]), (&json!([]), &json!([])));
    for figure in ["session", "command", "service web"] {
        let property = format!("<property name=\"{figure}.cpu_user_usec\" value=\"");
        assert!(run.read("r.xml").contains(&property), "{property}");
    }
    let page = seen(&run);
    for text in ["<span class=\"pill\">clean</span>", ">web</", ">command</"] {
        assert!(page.contains(text), "{text} in {page}");
    }
    assert_no_drafts(run.path());
}

#[test]
fn a_leak_fails_the_report_if_on_leak_is_fail() {
    for (on_leak, code, result) in [("report", 0, json!([])), ("fail", 121, json!(["Failure"]))] {
        let run = reporting().options(["--on-leak", on_leak]).sh("sleep 900 &").run();
        run.assert_code(code).assert_nothing_left();
        let report = json_of(&run);
        assert_eq!(
            (&report["leaked_process_count"], &report["outcome"]["exit_code"]),
            (&json!(1), &json!(code))
        );
        let case = &junit_of(&run)["command"];
        assert_eq!(case["result"], result);
        assert!(case["err"].as_str().unwrap().contains("(sleep 900)"), "{case}");
        assert!(seen(&run).contains("sleep 900"));
    }
}

#[test]
fn a_leak_does_not_hide_a_failure_of_the_command() {
    let run = reporting().options(["--on-leak", "fail"]).sh("sleep 900 & exit 7").run();
    run.assert_code(7).assert_nothing_left();
    let case = &junit_of(&run)["command"];
    assert_eq!(case["result"], json!(["Failure"]));
    assert!(case["message"][0].as_str().unwrap().starts_with("exit status 7"), "{case}");
}

#[test]
fn a_service_that_does_not_start_is_reported() {
    let config = "[services.web]\ncommand = ['sh', '-c', 'exit 3']\nport = 8000\n";
    let run = reporting().config(config).command(["true"]).run();
    run.assert_code(125).assert_nothing_left();
    let report = json_of(&run);
    assert_eq!(report["outcome"]["cause"], "startup_failed");
    assert!(report["services"][0]["problem"].as_str().unwrap().contains("exit status 3"), "{report:#}");
    assert_eq!(junit_of(&run)["service web"]["result"], json!(["Failure"]));
}

#[test]
fn an_interrupted_session_is_reported() {
    let run = reporting().sh("touch running; exec sleep 900").start();
    run.until_file("running").signal(Signal::SIGTERM);
    let run = run.finish();
    run.assert_signal(Signal::SIGTERM).assert_nothing_left();
    let report = json_of(&run);
    assert_eq!(
        (&report["outcome"]["signal"], &report["outcome"]["cause"]),
        (&json!("SIGTERM"), &json!("signal"))
    );
    assert_eq!(junit_of(&run)["command"]["result"], json!(["Error"]));
    assert_no_drafts(run.path());
}

#[test]
fn a_session_that_the_guardian_cleans_up_is_reported() {
    let run = reporting().sh("sleep 900 & touch running; exec sleep 900").start();
    run.until_file("running").signal(Signal::SIGKILL);
    run.until_file("r.html");
    let run = run.finish();
    run.assert_signal(Signal::SIGKILL).assert_nothing_left();
    let report = json_of(&run);
    assert_eq!(report["session"]["written_by"], "guardian");
    assert_eq!(report["outcome"]["cause"], "supervisor_died");
    assert_eq!(junit_of(&run)["command"]["result"], json!(["Error"]));
    assert!(seen(&run).contains("its guardian ended the session"));
    assert_no_drafts(run.path());
}

/// At whatever moment a process is killed, a reader finds a complete report of this session.
#[test]
fn a_report_is_written_whenever_the_supervisor_dies() {
    Session::new();
    for place in
        ["guardian armed", "command started", "teardown", "after remove", "verified", "reported", "dismissed"]
    {
        for how in ["kill", "panic"] {
            let session = Session::again().options(ALL).file("r.json", "of the last run");
            let run = session.env("CGRUN_FAILPOINT", format!("{how}:{place}")).command(["true"]).start();
            let path = run.path().join("r.json");
            run.until(place, || std::fs::read_to_string(&path).unwrap().starts_with('{'));
            run.until("all are written", || {
                !std::fs::read_dir(path.parent().unwrap())
                    .unwrap()
                    .any(|it| it.unwrap().file_name().to_str().unwrap().starts_with(".r."))
            });
            let run = run.finish();
            let report = json_of(&run);
            // After a kill before the report is written, the guardian writes it; after a panic, the supervisor
            // itself does.
            let by_guardian =
                place == "verified" || how == "kill" && !["reported", "dismissed"].contains(&place);
            let by = if by_guardian { "guardian" } else { "supervisor" };
            assert_eq!(report["session"]["written_by"], by, "{how} at {place}");
            assert!(!by_guardian || report["outcome"]["clean"] == false, "{how} at {place}");
            assert!(junit_of(&run)["command"].is_object() && run.read("r.html").ends_with("</html>\n"));
            run.assert_nothing_left();
        }
    }
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_anything_starts() {
    let cases = [
        ("json=/proc/x.json", "cannot write the report"),
        ("html=.", "not a regular file"),
        ("xml=x", "use json, junit, html or summary"),
        ("json", "KIND=FILE"),
        ("json=", "KIND=FILE"),
        ("json=-", "stdout belongs to the command"),
        ("json=new/", "it names a directory"),
        ("json=stderr", "stdout or stderr goes there"),
        ("json=/dev/stdout", "stdout or stderr goes there"),
    ];
    Session::new();
    for (report, reason) in cases {
        let run = Session::again().options(["--report", report]).command(["touch", "started"]).run();
        run.assert_code(125).assert_said(reason).assert_nothing_left();
        assert!(!run.path().join("started").exists(), "{report}");
    }
    let run =
        Session::again().config("[session]\nreports = { xml = 'x' }").command(["touch", "started"]).run();
    run.assert_code(125).assert_said("unknown value `xml`").assert_said("cgrun.toml:2:13");
    let config = "[session]\nreports = { json = '-' }";
    let run = Session::again().config(config).command(["touch", "started"]).run();
    run.assert_code(125).assert_said("stdout belongs to the command").assert_nothing_left();
    let run = Session::again().config("[session]\nallow = ['']").command(["touch", "started"]).run();
    run.assert_code(125).assert_said("an empty pattern matches nothing").assert_nothing_left();
}

#[test]
fn a_report_goes_to_the_pipe_of_a_process_substitution() {
    let script = "\"$CGRUN\" --report json=>(cat >got; touch done) --report html=>(cat >page) \"$@\"; \
        code=$?; until [ -e done ]; do sleep 0.01; done; exit $code";
    let large = "for i in $(seq 300); do sleep 900 & done";
    Session::new();
    for (options, command, code) in
        [(&[][..], "exit 3", 3), (&[], large, 0), (&["--user", "nobody"], "exit 4", 4)]
    {
        let session = Session::again().options(options).command(["sh", "-c", command]);
        let run = session.start_through(&["bash", "-c", script, "bash"]).finish();
        run.assert_code(code).assert_nothing_left();
        let report: serde_json::Value = serde_json::from_str(&run.read("got")).unwrap();
        assert_eq!(report["outcome"]["exit_code"], code, "{report}");
        assert_eq!(report["leaks"].as_array().unwrap().len(), if code == 0 { 300 } else { 0 });
    }
}

#[test]
fn a_pipe_without_a_reader_gets_no_report() {
    let script = "\"$CGRUN\" --report json=>(exec <&-; touch closed; exec sleep 900) \
        sh -c 'until [ -e closed ]; do sleep 0.01; done'; code=$?; kill $!; exit $code";
    let run = Session::new().start_through(&["bash", "-c", script]).finish();
    run.assert_code(125)
        .assert_said("the report /dev/fd/63 was not written: Broken pipe")
        .assert_nothing_left();
}

#[test]
fn a_pipe_whose_reader_is_asleep_does_not_block() {
    let script = "\"$CGRUN\" --report json=>(exec sleep 900) \"$@\"; code=$?; kill $!; exit $code";
    let session = Session::new().sh("for i in $(seq 300); do sleep 900 & done");
    let run = session.start_through(&["bash", "-c", script, "bash"]).finish();
    run.assert_code(125)
        .assert_said("/dev/fd/63 was not written: its reader does not read")
        .assert_nothing_left();
}

#[test]
fn a_report_does_not_go_to_the_pipe_that_carries_the_commands_output() {
    for output in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/2"] {
        let session =
            Session::new().options(["--report", &format!("json={output}")]).command(["touch", "ran"]);
        let script = "set -o pipefail; { \"$CGRUN\" \"$@\" 2>&1 >&3 | cat >&2; } 3>&1 | cat";
        let run = session.start_through(&["bash", "-c", script, "bash"]).finish();
        run.assert_code(125).assert_said("stdout or stderr goes there").assert_nothing_left();
        assert!(!run.path().join("ran").exists());
    }
}

#[test]
fn a_fifo_in_place_of_a_report_does_not_block() {
    let fifo = "d=$(ls -A | grep cgrun-); rm \"$d\"; mkfifo \"$d\"";
    let run = Session::new().options(JSON).sh(fifo).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert!(run.read("report.json").starts_with('{'));
    let session = Session::again().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary");
    let run = session.sh("mkfifo summary; sleep 900 &").run();
    run.assert_code(0).assert_said("cannot write GITHUB_STEP_SUMMARY").assert_nothing_left();
    for file in ["/proc/kmsg", "fifo"] {
        let mark = format!("PYTEST_CURRENT_TEST='{file}::x (call)'");
        let run = Session::again().options(JSON).sh(&format!("mkfifo fifo; {mark} sleep 900 &")).run();
        run.assert_code(0).assert_said(&format!("{file}::x (call)")).assert_nothing_left();
        assert!(run.read("report.json").starts_with('{'));
    }
}

#[test]
fn an_old_report_is_removed_if_the_session_does_not_start() {
    for (options, config) in [
        (vec!["--require", "nonsense"], ""),
        (vec![], "[services.a]\ncommand = ['/does/not/exist']\n"),
        (vec!["--memory", "64M"], ""),
    ] {
        let session =
            Session::new().options(["--report", "json=deep/report.json"]).options(JSON).options(&options);
        let session = session.config(config).file("report.json", "of the last run");
        let run = session.command(["true"]).run();
        run.assert_code(125).assert_nothing_left();
        // A command line that cannot be parsed names no reports.
        assert_eq!(run.path().join("report.json").exists(), options.contains(&"nonsense"), "{options:?}");
        assert!(!run.path().join("deep").exists(), "{options:?}");
    }
}

#[test]
fn a_report_onto_a_mounted_file_is_written_in_place() {
    let session = Session::new().options(JSON).file("report.json", "").file("other", "").command(["true"]);
    let mount = "mount --bind other report.json && exec \"$CGRUN\" \"$@\"";
    let run = session.start_through(&["unshare", "-m", "sh", "-c", mount, "sh"]).finish();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert!(run.read("other").starts_with('{'));
}

/// It can be the night to compare with.
#[test]
fn a_report_of_many_sessions_is_never_written_in_place() {
    Session::new();
    let merge = "merge --json report.json one.json";
    for arguments in ["--shards 1 --report json=report.json true", merge, "sessions --output report.json"] {
        let session = Session::again().file("report.json", "").file("other", "of the last run");
        let script = format!(
            "$CGRUN --report json=one.json true && mount --bind other report.json && exec $CGRUN {arguments}"
        );
        let run = session.start_through(&["unshare", "-m", "sh", "-c", &script]).finish();
        run.assert_code(125)
            .assert_matches("cannot write .*report.json: Device or resource busy")
            .assert_nothing_left();
        assert_eq!(run.read("other"), "of the last run", "{arguments}");
        let names = std::fs::read_dir(run.path()).unwrap().map(|it| it.unwrap().file_name());
        assert!(!names.into_iter().any(|it| it.to_str().unwrap().starts_with(".report")), "{arguments}");
    }
}

#[test]
fn a_report_that_cannot_be_written_at_the_end_fails_only_a_success() {
    for (exit, code) in [(0, 125), (7, 7)] {
        let script = format!("rm -r deep; touch deep; exit {exit}");
        let run = Session::new().options(["--report", "json=deep/r.json"]).sh(&script).run();
        run.assert_code(code).assert_said("deep/r.json was not written: ").assert_nothing_left();
    }
}

#[test]
fn a_report_survives_a_command_that_empties_its_directory() {
    let run = Session::new().options(["--report", "json=deep/r.json"]).sh("rm -r deep").run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert!(run.read("deep/r.json").starts_with('{'));
}

#[test]
fn reports_can_be_set_in_the_config() {
    let config = "[session]\nallow = ['sleep']\n[session.reports]\njson = 'sub/r.json'\nhtml = 'no.html'\n";
    let session = Session::new().config(config).options(["--report", "html=r.html"]);
    let run = session.options(["--on-leak", "fail"]).sh("sleep 900 &").run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    let report: Value = serde_json::from_str(&run.read("sub/r.json")).unwrap();
    assert_eq!((&report["leaked_process_count"], &report["outcome"]["clean"]), (&json!(0), &json!(true)));
    assert_eq!(report["allowed_leaks"][0]["command_line"], json!(["sleep", "900"]));
    assert!(run.path().join("r.html").exists() && !run.path().join("no.html").exists());
}

#[test]
fn an_allowed_leak_is_cleaned_up_and_mentioned_only_when_verbose() {
    let config = "[session]\nallow = ['*sleep 90?']\non_leak = 'fail'\n";
    let run = Session::new().config(config).options(["-v"]).sh("sleep 901 &").run();
    run.assert_code(0).assert_said("1 allowed leak, stopped:").assert_said("(sleep 901)");
    run.assert_said("clean: layer 1").assert_nothing_left();
    let run = Session::again().config(config).sh("sleep 1000 &").run();
    run.assert_code(121).assert_said("leaked 1 process").assert_nothing_left();
    // Patterns of the command line are added to those of the config.
    let options = ["--allow", "*sleep 1?00", "--allow", "cat"];
    let session = Session::again().config(config).options(options);
    let run = session.sh("sleep 901 & sleep 1000 & tail -f /dev/null | cat &").run();
    run.assert_code(121)
        .assert_said("leaked 1 process")
        .assert_said("(tail -f /dev/null)")
        .assert_nothing_left();
    let run = Session::again().options(["--allow", "/usr/bin/cat"]).command(["touch", "started"]).run();
    run.assert_code(125).assert_said("--allow").assert_said("is a path").assert_nothing_left();
    assert!(!run.path().join("started").exists());
}

#[test]
fn github_gets_an_annotation_on_the_line_of_the_test() {
    let suite = "import subprocess\n\n\nclass TestIt:\n    def test_of, it_(self): pass\n";
    let suite = suite.replace(
        "    def test_of, it_(self): pass",
        "    def test_it(self):\n        subprocess.Popen(['sleep', '900'])",
    );
    let session = Session::new().options(LONG).options(["--on-leak", "fail"]).file("t/test_it.py", suite);
    let workspace = session.path().canonicalize().unwrap();
    let session = session.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", workspace);
    let session = session.env("GITHUB_STEP_SUMMARY", "summary.md").file("summary.md", "before\n");
    let run = session.command([&python_program("pytest"), "-q", "t"]).run();
    run.assert_code(121).assert_nothing_left();
    let stderr = run.stderr();
    let command = stderr.lines().find(|line| line.starts_with("::")).unwrap();
    let title = "leaked 1 process%2C started during t/test_it.py%3A%3ATestIt%3A%3Atest_it (call)";
    assert!(
        command.starts_with(&format!("::error file=t/test_it.py,line=5,title={title}::pid ")),
        "{command}"
    );
    assert!(
        command.contains("(sleep 900), started during t/test_it.py::TestIt::test_it (call)%0AIt was"),
        "{command}"
    );
    let summary = run.read("summary.md");
    assert!(summary.starts_with("before\n### cgrun: leaked 1 process\n"), "{summary}");
    assert!(summary.contains("| t/test_it.py::TestIt::test_it (call) | pid "), "{summary}");
    assert_eq!(run.stdout().matches("::error").count(), 0, "stdout belongs to the command");
}

#[test]
fn github_gets_no_annotation_for_a_clean_session() {
    let session = Session::new().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary.md");
    let run = session.command(["true"]).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert!(!run.path().join("summary.md").exists());
}

#[test]
fn github_gets_an_annotation_and_a_summary_for_a_session_that_hangs() {
    Session::new();
    let service = "[services.web]\ncommand = ['sleep', '1000']\nready = { log = 'x', timeout = '500ms' }\n";
    let start = Session::again().config(service).command(["true"]);
    let timeout = Session::again().options(["--timeout", "500ms"]).command(["sleep", "1000"]);
    for (session, reason) in [(start, "service web was not ready"), (timeout, "timed out after 500ms")] {
        let session = session.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary.md");
        let run = session.run();
        run.assert_said(&format!("::error title=cgrun%3A {reason}"));
        let annotation = run.stderr().lines().find(|line| line.starts_with("::error")).unwrap().to_string();
        assert!(
            annotation.contains("%0Alook at pid ") && annotation.contains("(sleep 1000)"),
            "{annotation}"
        );
        let summary = run.read("summary.md");
        assert!(summary.starts_with(&format!("### cgrun: {reason}")), "{summary}");
        assert!(summary.contains("look at pid ") && summary.contains("What it waited for"), "{summary}");
        run.assert_nothing_left();
    }
}

/// Names, arguments and variables that try to break out of every format.
#[test]
fn hostile_content_breaks_no_format_and_no_terminal() {
    // The process is cat under another name, and blocks forever on a pipe of which it holds both ends. A
    // program can get at most 2 MB of arguments.
    let leak = r#"
import os, shutil
shutil.copy("/bin/cat", "a) R 1 (b")
os.environ["PYTEST_CURRENT_TEST"] = os.environ["MARK"]
if os.fork() == 0:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    os.dup2(reader, 0)
    nasty = b"\x1b[2J]]>\"'<script>document.title='owned'</script>&amp;\r\n::error::x|`\xff\xfe\xc2\x9b31m%0A\x07"
    os.execv("a) R 1 (b", [nasty, b"-", b"-", *[b"x" * 100_000] * 19])
while not open("/proc/self/task/%d/children" % os.getpid()).read(): pass
child = open("/proc/self/task/%d/children" % os.getpid()).read().split()[0]
while "(b" not in open("/proc/%s/comm" % child).read(): pass
"#;
    let mark = "x.py::a[<b>]]>\x1b[2J\n::error::y] (call)";
    let session = reporting().file("leak.py", leak).command(["python3", "leak.py"]);
    let session = session.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary.md");
    let run = session.env("MARK", mark).run();
    run.assert_code(0).assert_said("leaked 1 process").assert_nothing_left();

    let stderr = std::fs::read(run.path().join("stderr")).unwrap();
    assert!(stderr.iter().all(|&it| it == b'\n' || !it.is_ascii_control()), "{}", run.stderr());
    let commands: Vec<_> =
        run.stderr().lines().filter(|line| line.starts_with("::")).map(String::from).collect();
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert!(commands[0].starts_with("::warning title="), "{commands:?}");
    assert!(!run.read("summary.md").contains("<script>"), "{}", run.read("summary.md"));

    let report = json_of(&run);
    let leak = &report["leaks"][0];
    assert_eq!((&leak["name"], &leak["command_line_truncated"]), (&json!("a) R 1 (b"), &json!(true)));
    assert!(leak["command_line"][0].as_str().unwrap().contains("\u{1b}[2J]]>"), "{leak:#}");
    assert!(leak["command_line"][0].as_str().unwrap().contains('\u{fffd}'), "{leak:#}");
    assert!(junit_of(&run)["command"]["err"].as_str().unwrap().contains("]]>"));
    let page = seen(&run);
    assert!(!page.contains("<script>") && !page.contains("<title>owned"), "{page}");
    assert!(std::fs::metadata(run.path().join("r.json")).unwrap().len() < 100_000);
}

/// A test name encoded by bats; two characters that XML cannot represent; one that reverses the text
/// direction; a command of GitHub's runner within a line; a file name that is not UTF-8.
#[test]
fn hostile_test_names_and_paths_break_no_format() {
    let script = r#"
        mkdir "$(printf 'd\377')" && cd "$(printf 'd\377')" && echo 'def test_a(): pass' >t.py
        BATS_TEST_FILENAME=x.bats BATS_TEST_NAME='test_-1b-5d0-3bowned-07x-0a-3a-3aerror-3a-3aforged' sleep 900 &
        PYTEST_CURRENT_TEST='t.py::test_a (call)' sleep 901 &
        bash -c "exec -a $'a\xef\xbf\xbfb\xef\xbf\xbe\xe2\x80\xae ##[stop-commands]x' sleep 902" &
        sleep 0.3"#;
    let session = reporting().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary");
    let run = session.command(["bash", "-c", script]).run();
    run.assert_code(0).assert_said("leaked 3 processes").assert_nothing_left();
    let stderr = run.stderr();
    assert!(stderr.chars().all(|it| it == '\n' || !it.is_control() && it != '\u{202e}'), "{stderr:?}");
    assert!(!stderr.contains("##["), "{stderr:?}");
    assert!(!stderr.lines().any(|line| line.starts_with("::error")), "{stderr:?}");
    let report = json_of(&run);
    let leaks = report["leaks"].as_array().unwrap();
    let marked = leaks.iter().find(|it| it["command_line"][1] == "901").unwrap();
    // It does not run in the command's directory.
    assert_eq!(marked["started_during"]["test"], "t.py::test_a", "{report:#}");
    assert!(junit_of(&run)["command"]["err"].as_str().unwrap().contains("a\u{fffd}b"));
    let odd = std::ffi::OsStr::from_bytes(b"d\xff");
    let run = Session::again().options(JSON).file("t.py", "def test_a(): pass\n");
    let (from, to) = (run.path().join("t.py"), run.path().join(odd));
    std::fs::create_dir(&to).unwrap();
    std::fs::rename(from, to.join("t.py")).unwrap();
    let script = "cd d* && exec \"$CGRUN\" --report json=../r.json sh -c \"PYTEST_CURRENT_TEST='t.py::test_a (call)' sleep 901 &\"";
    let run = run.start_through(&["sh", "-c", script]).finish();
    run.assert_code(0).assert_nothing_left();
    let during = &json_of(&run)["leaks"][0]["started_during"];
    assert_eq!(during["line"], 1, "{during}");
    assert!(during["file"].as_str().unwrap().contains("d\u{fffd}/t.py"), "{during}");
}

#[test]
fn a_session_that_needed_force_is_not_called_clean() {
    // The daemon would have outlived its command; the rest of the command's tree exits with it.
    let script = "trap '' TERM; (PYTEST_CURRENT_TEST='a.py::b (call)' setsid -f sleep 901); \
                  sleep 902 & while :; do wait; done";
    let options = ["--timeout", "500ms", "--grace", "500ms"];
    let run = Session::new().options(ALL).options(options).sh(script).run();
    run.assert_code(124).assert_said("leaked 1 process").assert_said("(sleep 901)").assert_nothing_left();
    run.assert_said("cgrun:   a.py::b (call): pid ");
    let report = json_of(&run);
    assert_eq!((&report["outcome"]["clean"], &report["leaked_process_count"]), (&json!(false), &json!(1)));
    // This includes a process that exits on the signal that is sent to all.
    let script = "PYTEST_CURRENT_TEST='a.py::b (call)' setsid -f sleep 901; trap '' TERM; \
                  while :; do sleep 902; done";
    let run = Session::again().options(ALL).options(options).sh(script).run();
    run.assert_code(124).assert_said("leaked 1 process").assert_said("(sleep 901)").assert_nothing_left();
    let run = Session::again().options(ALL).options(["--timeout", "500ms", "--grace", "100ms"]);
    let run = run.sh("trap '' TERM; while :; do sleep 900; done").run();
    run.assert_code(124).assert_nothing_left();
    let report = json_of(&run);
    assert_eq!((&report["outcome"]["clean"], &report["leaked_process_count"]), (&json!(false), &json!(0)));
    assert!(seen(&run).contains("ended by force"));
}

/// A process that exits only when killed is reported differently from one that handles the signal.
#[test]
fn a_killed_process_is_distinguished_from_one_that_exited_when_asked() {
    let leak = "import signal, sys\nif sys.argv[1] == 'polite':\n  signal.pthread_sigmask(0, [15])\nelse:\n  \
                signal.signal(15, lambda *_: 0)\nopen(sys.argv[1], 'w').close()\n\
                if sys.argv[1] == 'polite':\n  signal.sigwait([15])\nelse:\n  while 1: signal.pause()\n";
    let session = Session::new().options(ALL).options(["--grace", "1s"]).file("leak.py", leak);
    let script = "python3 leak.py polite & python3 leak.py stubborn & \
                  until [ -e polite ] && [ -e stubborn ]; do sleep 0.01; done";
    let run = session.sh(script).run();
    run.assert_code(0).assert_said("it did not stop when asked to").assert_nothing_left();
    for leak in json_of(&run)["leaks"].as_array().unwrap() {
        let is_stubborn = leak["command_line"][2] == "stubborn";
        assert_eq!(leak["needed_sigkill"], is_stubborn, "{leak:#}");
        assert_eq!(leak["ignores_sigterm"], false, "{leak:#}");
    }
    // No process was asked to exit.
    let run = Session::again().options(ALL).options(["--grace", "0s"]).sh("sleep 900 &").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(json_of(&run)["leaks"][0]["needed_sigkill"], false);
    let config = "[services.web]\ncommand = ['sh', '-c', \"trap '' TERM; touch up; while :; do sleep 900; done\"]\ngrace = '200ms'\n";
    let run = Session::again().options(ALL).config(config).sh("until [ -e up ]; do sleep 0.01; done").run();
    run.assert_nothing_left();
    let report = json_of(&run);
    let root =
        report["leaks"].as_array().unwrap().iter().find(|it| it["kind"] == "outlived_service").unwrap();
    assert_eq!(root["needed_sigkill"], true, "{root:#}");
}

#[test]
fn a_process_that_proc_hides_is_still_a_leak() {
    // A root process in a session of the user nobody, like a setuid program.
    let script = "mount -t proc -o hidepid=2 proc /proc && cp \"$(command -v sleep)\" ssleep && chmod 4755 ssleep && \
        d=/sys/fs/cgroup; [ -d $d/unified ] && d=$d/unified; own=$d$(sed -n s/^0:://p /proc/self/cgroup); \
        mkdir \"$own/nobody\" && chown -R 65534 \"$own/nobody\" && echo $$ >\"$own/nobody/cgroup.procs\"; \
        setpriv --reuid 65534 --regid 65534 --clear-groups \"$CGRUN\" --on-leak fail --grace 200ms --logs logs \
        sh -c './ssleep 900 & sleep 0.1'; code=$?; echo $$ >\"$own/cgroup.procs\"; rmdir \"$own/nobody\"; exit $code";
    let session = Session::new();
    std::os::unix::fs::chown(session.path(), Some(65534), Some(65534)).unwrap();
    let run = session.start_through(&["unshare", "-mp", "--fork", "sh", "-c", script]).finish();
    run.assert_code(121).assert_said("leaked 1 process").assert_nothing_left();
}

#[test]
fn the_github_summary_is_written_once() {
    Session::new();
    for (place, sections) in [("reported", 1), ("verified", 1)] {
        let session = Session::again().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary");
        let session = session.env("CGRUN_FAILPOINT", format!("kill:{place}")).options(ALL);
        let run = session.sh("sleep 900 &").start();
        let (summary, html) = (run.path().join("summary"), run.path().join("r.html"));
        run.until(place, || summary.exists() && html.exists());
        let run = run.finish();
        run.assert_nothing_left();
        let text = std::fs::read_to_string(&summary).unwrap();
        assert_eq!(text.matches("### cgrun").count(), sections, "{place}: {text}");
    }
}

/// A session knows its own id, and can write to the file before the guardian does.
#[test]
fn a_session_cannot_keep_the_guardian_from_writing_the_github_summary() {
    let forged = "for n in \"$CGRUN_SESSION\" \"session $CGRUN_SESSION\"; do echo \"<!-- cgrun $n -->\" >>summary; done";
    let session = Session::new().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary");
    let session = session.env("CGRUN_FAILPOINT", "kill:teardown");
    let run = session.sh(&format!("{forged}; sleep 900 &")).start();
    let summary = run.path().join("summary");
    let text = || std::fs::read_to_string(&summary).unwrap_or_default();
    run.until("the guardian's summary", || text().contains("### cgrun: "));
    let run = run.finish();
    run.assert_nothing_left();
    // Nothing in the session's environment is part of the mark.
    let text = text();
    let mark = text.lines().rfind(|line| line.starts_with("<!-- cgrun ")).unwrap();
    assert!(mark.len() > 40 && !mark.contains("session"), "{mark}");
}

#[test]
fn a_github_summary_is_added_to_those_before_it() {
    let summary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(summary.path(), "no line end").unwrap();
    Session::new();
    let leaking = |command: &str| {
        let session = Session::again().env("GITHUB_ACTIONS", "true");
        let run = session.env("GITHUB_STEP_SUMMARY", summary.path()).sh(command).run();
        run.assert_code(0).assert_nothing_left();
        (std::fs::read_to_string(summary.path()).unwrap(), run)
    };
    leaking("sleep 900 &");
    let (text, _) = leaking("sleep 901 &");
    assert!(text.starts_with("no line end\n\n### cgrun: leaked 1 process\n"), "{text}");
    assert_eq!(text.matches("\n### cgrun").count(), 2, "{text}");
    assert!(text.contains("sleep 900") && text.contains("sleep 901"), "{text}");
}

#[test]
fn the_github_summary_lists_the_leaks_by_test() {
    let leak = |test: &str, command: &str| format!("PYTEST_CURRENT_TEST='t.py::{test} (call)' {command} &\n");
    let script = [("a", "sleep 900"), ("b|", "sleep 900"), ("a", "sleep 900"), ("a", "sleep 900")];
    let script: String = script.iter().map(|(test, command)| leak(test, command)).collect();
    let session = Session::new().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary");
    let run = session.sh(&script).run();
    run.assert_code(0).assert_nothing_left();
    let summary = run.read("summary");
    let rows: Vec<_> = summary.lines().filter(|line| line.starts_with("| t")).collect();
    assert_eq!(
        rows[..3],
        [
            "| test | processes | what it left running |",
            r"| t.py::a (call) | 3 | 3 x sleep 900 |",
            r"| t.py::b\| (call) | 1 | sleep 900 |",
        ]
    );
    let each = summary.split("<details>").nth(1).unwrap();
    assert_eq!(each.lines().filter(|line| line.contains(" pid ")).count(), 4, "{summary}");
    assert!(each.contains("\n</details>\n"), "{summary}");
}

/// GitHub shows nothing of a summary that is larger than 1 MiB.
#[test]
fn a_github_summary_never_grows_beyond_what_github_shows() {
    const MOST: usize = 1024 * 1024;
    Session::new();
    // Fifty long names of tests, a gap in which only a short summary fits, and no gap.
    let crowd = "for n in $(seq 50); do PYTEST_CURRENT_TEST=\"$(printf '&%.0s' $(seq 20000))::x (call)\" sleep 90$n & done; sleep 0.3";
    for (before, command, most, expected) in [
        (0, crowd, 200_000, "leaked 50 processes"),
        (MOST - 180, "sleep 900 &", MOST, "There is no room for more: see the log of the step."),
        (MOST - 10, "sleep 900 &", MOST - 10, ""),
    ] {
        let session = Session::again().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary");
        let line = "x".repeat(before.saturating_sub(1)) + if before > 0 { "\n" } else { "" };
        let run = session.file("summary", line).sh(command).run();
        run.assert_code(0).assert_nothing_left();
        let text = run.read("summary");
        assert!(text.len() <= most && text[before..].contains(expected), "{before}: {} bytes", text.len());
        let is_full = expected.is_empty();
        assert_eq!(run.stderr().contains("it is full: GitHub shows no summary"), is_full, "{}", run.stderr());
    }
}

#[test]
fn an_allowed_leak_is_allowed_for_the_guardian_and_in_a_crowd() {
    let script = "setsid -f sleep 900; kill -9 $PPID; exec sleep 901";
    let run = reporting().options(["--allow", "sleep"]).sh(script).start();
    let path = run.path().join("r.json");
    run.until("the report", || path.exists());
    let run = run.finish();
    assert_eq!(json_of(&run)["leaked_process_count"], 0);
    run.assert_nothing_left();
    // More processes than the report describes one by one.
    let crowd = "import os, time\nfor _ in range(1100):\n  if os.fork() == 0: time.sleep(900)\n";
    let session = Session::again().options(["--allow", "*python3*", "--on-leak", "fail", "--grace", "10s"]);
    session.command(["python3", "-c", crowd]).run().assert_code(0).assert_silent().assert_nothing_left();
}

/// The kernel adds it up only for processes that their parent reaps (getrusage(2)).
#[test]
fn what_a_killed_leak_used_is_part_of_what_the_session_used() {
    let busy =
        "import time\nwhile time.process_time() < 0.5: pass\nopen('busy', 'w').close()\ntime.sleep(900)";
    let script = "python3 -c \"$0\" & until [ -e busy ]; do sleep 0.01; done";
    let run = Session::new().options(["--grace", "0s", "--report", "json=r.json"]);
    let run = run.command(["sh", "-c", script, busy]).run();
    let used = json_of(&run)["resources"]["cpu_seconds"].as_f64().unwrap();
    assert!(used >= 0.5, "{used}");
    run.assert_nothing_left();
}

#[test]
fn five_thousand_leaked_processes_are_all_counted() {
    let run = reporting().helper("leak.py", &["sleepers", "5000"]).start();
    run.until_file("all");
    let begin = Instant::now();
    let run = run.finish();
    let took = begin.elapsed();
    run.assert_code(0).assert_said("leaked 5000 processes, found and stopped:").assert_nothing_left();
    let lines = run.stderr().lines().count();
    let sizes = ["r.json", "r.xml", "r.html"].map(|it| std::fs::metadata(run.path().join(it)).unwrap().len());
    eprintln!("ended and reported after {took:?}; {lines} lines; bytes: {sizes:?}");
    assert!(lines < 30, "{}", run.stderr());
    assert!(sizes.iter().all(|&size| size < 5_000_000), "{sizes:?}");
    let report = json_of(&run);
    assert_eq!(report["leaked_process_count"], 5000);
    assert_eq!(
        report["undescribed_process_count"].as_u64().unwrap() as usize,
        5000 - report["leaks"].as_array().unwrap().len()
    );
    assert!(took < Duration::from_secs(20), "took {took:?}");
}

/// Keeps one processor busy.
struct Load(std::process::Child);

impl Load {
    fn begin() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that is about to exit when the command exits is not a leak.
#[test]
fn five_hundred_clean_runs_under_load_give_no_false_alarm() {
    Session::new();
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); \
                  \"$CGRUN\" --on-leak fail sh -c '(exec true) & (exec sh -c :) & exit 0' || exit 1; done";
    let load = [Load::begin(), Load::begin()];
    let five = || Session::again().sh("exit 0").start_through(&["sh", "-c", script]);
    let runs: Vec<_> = (0..5).map(|_| five()).collect();
    let runs: Vec<_> = runs.into_iter().map(|run| run.finish()).collect();
    drop(load);
    for run in runs {
        run.assert_code(0).assert_silent().assert_nothing_left();
    }
}

#[test]
fn colors_are_used_only_on_a_terminal_and_if_wanted() {
    let session = Session::new();
    let leaks = "TERM=xterm $CGRUN sh -c 'sleep 900 &'; TERM=xterm NO_COLOR=1 $CGRUN sh -c 'sleep 900 &'";
    let run = session.start_through(&["script", "-qec", leaks, "typescript"]).finish();
    run.assert_nothing_left();
    let said = run.read("typescript");
    let lines: Vec<_> =
        said.lines().filter(|line| line.contains("leaked 1 process, found and stopped:")).collect();
    assert_eq!(lines.len(), 2, "{said:?}");
    assert!(lines[0].contains("\u{1b}[1;31mleaked 1 process"), "{lines:?}");
    assert!(!lines[1].contains('\u{1b}'), "{lines:?}");
}

#[test]
fn the_timeline_has_a_lane_for_each_test_that_leaked() {
    let leak = |test: &str| format!("PYTEST_CURRENT_TEST='t.py::{test} (call)' sleep 900 & sleep 0.2\n");
    let script = ["late", "early", "early"].map(leak);
    let script = format!("{}{}{}sleep 901 &", script[1], script[0], script[2]);
    let run = reporting().sh(&script).run();
    run.assert_code(0).assert_nothing_left();
    let page = seen(&run);
    let lane = |title: &str| page.find(title).unwrap_or_else(|| panic!("{title} in {page}"));
    let lanes =
        ["title=\"t.py::early\">early<", "title=\"t.py::late\">late<", "<span>unknown test<"].map(lane);
    assert!(lanes.is_sorted(), "{lanes:?}");
    let marks = |from: usize, to: usize| page[from..to].matches("class=\"bar leak\"").count();
    assert_eq!((marks(lanes[0], lanes[1]), marks(lanes[1], lanes[2])), (2, 1));
}

/// The page renders and fits into the window, on a phone too.
#[test]
fn the_page_is_drawn_in_a_browser() {
    let run = reporting().config(SERVICE).sh("sleep 900 & setsid -f sleep 901; sleep 0.2; exit 1").run();
    run.assert_code(1).assert_nothing_left();
    let page = std::fs::read_to_string(run.path().join("r.html")).unwrap();
    assert!(
        !page.contains("http:") && !page.contains("https:") && !page.contains("src="),
        "needs no network"
    );
    assert_drawn(&run.path().join("r.html"));
}

/// The line that `--report summary=FILE` has written.
fn summary_of(run: &Finished) -> String {
    let text = run.read("line");
    assert!(text.ends_with('\n') && text.lines().count() == 1 && text.len() <= 4096, "{text:?}");
    text
}

#[test]
fn a_summary_says_in_one_line_how_the_session_ended() {
    let cases = [
        ("true", "clean: ", "; exit code 0; contained by a cgroup\n"),
        ("exit 3", "clean: ", "; exit code 3; contained by a cgroup\n"),
        ("sleep 900 & sleep 901 &", "clean now: ", "; contained by a cgroup; leaked 2 processes\n"),
    ];
    Session::new();
    for (script, start, end) in cases {
        let run = Session::again().options(["--report", "summary=line"]).sh(script).run();
        run.assert_nothing_left();
        let line = summary_of(&run);
        assert!(line.starts_with(start) && line.ends_with(end), "{line}");
    }
    let run =
        Session::again().options(["--report", "summary=line"]).sh("touch running; exec sleep 900").start();
    run.until_file("running").signal(Signal::SIGTERM);
    let run = run.finish();
    assert!(summary_of(&run).contains("SIGTERM"), "{}", summary_of(&run));
    run.assert_nothing_left();
}

#[test]
fn a_summary_is_one_short_line_whatever_the_command_is_called() {
    let name = "a\nb".repeat(2000);
    let run = Session::new().options(["--report", "summary=line"]).sh("exit 0").env("CGRUN_TIMEOUT", "1ms");
    let run = run.command(["sh", "-c", &format!(": {name}; sleep 900")]).run();
    run.assert_nothing_left();
    summary_of(&run);
}

/// Like Kubernetes' /dev/termination-log: everybody can write to the file, and nobody can replace it.
#[test]
fn a_report_is_written_to_a_file_in_a_directory_that_is_not_writable() {
    Session::new();
    for how in ["exit 0", "touch running; exec sleep 900"] {
        let options = ["--user", "nobody", "--report", "summary=fixed/line", "--report", "json=fixed/r.json"];
        let session = Session::again().options(options).sh(how);
        let session = session.file("fixed/line", "of an earlier session").file("fixed/r.json", "");
        for (path, mode) in [("", 0o777), ("fixed", 0o555), ("fixed/line", 0o666), ("fixed/r.json", 0o666)] {
            std::fs::set_permissions(session.path().join(path), Permissions::from_mode(mode)).unwrap();
        }
        let run = session.start();
        if how != "exit 0" {
            run.until_file("running").signal(Signal::SIGKILL);
        }
        run.until("all are written", || {
            ["line", "r.json"].iter().all(|it| {
                let text = std::fs::read_to_string(run.path().join("fixed").join(it)).unwrap();
                text.starts_with(['c', '{']) && text.ends_with('\n')
            })
        });
        let run = run.finish();
        run.assert_nothing_left();
        let (line, report) = (run.read("fixed/line"), run.read("fixed/r.json"));
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let by = if how == "exit 0" { "supervisor" } else { "guardian" };
        assert_eq!(report["session"]["written_by"], by, "{report:#}");
        assert!(line.starts_with("clean"), "{line}");
    }
    let options = ["--user", "nobody", "--report", "summary=fixed/none"];
    let session = Session::again().options(options).command(["touch", "started"]).file("fixed/line", "");
    for path in ["", "fixed"] {
        std::fs::set_permissions(session.path().join(path), Permissions::from_mode(0o755)).unwrap();
    }
    session.run().assert_code(125).assert_said("Permission denied").assert_nothing_left();
}
