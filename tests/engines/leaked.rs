//! Containers that a session with `--containers` leaves are ended with it, and reported.

use std::cell::RefCell;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::engine::{Engine, EngineKind, IMAGE};
use super::foreign::kill_with_its_guardian;
use super::host::{output, shell, text};
use super::proxied::{program, session, session_command};
use super::started::{client, engine, name};
use crate::harness::{cgrun_program, helpers, installed, python_program, until};

const IDLE: &str = "tail -f /dev/null";
/// Says something, and exits at once when it is asked to.
const POLITE: &str = "sh -c 'trap \"exit 0\" TERM; echo ready; echo steady; while :; do sleep 0.1; done'";

fn start(engine: &Engine, options: &[&str], script: &str) -> Child {
    let said = std::fs::File::create(engine.host.path().join("said")).unwrap();
    session_command(engine, options, script).stdin(Stdio::null()).stderr(said).spawn().unwrap()
}

fn said(engine: &Engine) -> String {
    std::fs::read_to_string(engine.host.path().join("said")).unwrap()
}

/// The words that start a container within a session.
fn run(engine: &Engine, name: &str, options: &str, argv: &str) -> String {
    let program = program(engine);
    format!("{program} run --detach --network none --name {name} {options} {IMAGE} {argv} >/dev/null")
}

/// The words that wait until a container has said that it is ready.
fn ready(engine: &Engine, name: &str) -> String {
    format!("until {} logs {name} 2>&1 | grep -q steady; do sleep 0.05; done", program(engine))
}

pub(super) fn in_test(test: &str) -> String {
    format!("export PYTEST_CURRENT_TEST='tests/test_shop.py::{test} (call)'")
}

fn what_leaked_is_in_all_reports_with_its_test(kind: EngineKind) {
    let engine = engine(kind);
    let program = program(&engine);
    let script = [
        in_test("test_cache"),
        run(&engine, "left", "--volume data:/data", POLITE),
        ready(&engine, "left"),
        in_test("test_mail"),
        run(&engine, "other", "", POLITE),
        ready(&engine, "other"),
        run(&engine, "done", "", "true"),
        format!("{program} network create net >/dev/null"),
        format!("{program} wait done >/dev/null"),
        "unset PYTEST_CURRENT_TEST".into(),
    ]
    .join("\n");
    let reports = ["json", "junit", "html"].map(|it| format!("{it}=report.{it}"));
    let options: Vec<_> = reports.iter().flat_map(|it| ["--report", it]).collect();
    let options = [&options[..], &["--on-leak", "fail"]].concat();
    let summary = engine.host.path().join("summary.md");
    let mut command = session_command(&engine, &options, &script);
    let done = output(command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary));
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(121), "{said}");
    assert!(said.contains("cgrun: 2 containers leaked, stopped and removed:\n"), "{said}");
    let name = name(kind);
    let line = said.lines().find(|it| it.contains("test_cache (call): ")).expect(&said);
    assert!(line.starts_with("cgrun:   tests/test_shop.py::test_cache (call): "), "{line}");
    assert!(line.contains(IMAGE) && line.contains(&format!("({name}, name left), up for ")), "{line}");
    assert!(said.contains("cgrun:     | ready\ncgrun:     | steady\n"), "{said}");
    assert!(said.contains("cgrun: also removed: 1 stopped container, 1 network, 1 volume\n"), "{said}");
    assert!(!said.contains("possible leftover"), "{said}");
    assert_eq!(engine.list(), "", "{said}");

    let file = engine.host.path().join("report.json");
    let mut reader = Command::new(python_program("python3"));
    let schema = installed("src/report/schema.json");
    let valid =
        output(reader.arg(helpers().join("readers.py")).args(["json", schema.to_str().unwrap()]).arg(&file));
    assert!(valid.status.success(), "{}", text(&valid.stdout));
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(report["leaked_container_count"], 2, "{report:#}");
    assert_eq!(report["outcome"]["clean"], false, "{report:#}");
    let leftovers = report["leftovers"].as_array().unwrap();
    let left = leftovers.iter().find(|it| it["name"] == "left").unwrap();
    assert_eq!(left["leaked"], true, "{left:#}");
    assert_eq!(left["started_during"], "tests/test_shop.py::test_cache (call)", "{left:#}");
    assert_eq!(left["container"]["log"], serde_json::json!(["ready", "steady"]), "{left:#}");
    assert_eq!(leftovers.len(), 5, "{leftovers:#?}");
    let of_tests: Vec<_> = report["tests"].as_array().unwrap().iter().map(|it| &it["containers"]).collect();
    assert_eq!((of_tests.len(), &of_tests[0][0]["name"]), (2, &"left".into()), "{report:#}");
    let phases = report["teardown"]["phases"].to_string();
    assert!(phases.contains("\"containers\""), "{phases}");

    let read = |name: &str| std::fs::read_to_string(engine.host.path().join(name)).unwrap();
    let junit = read("report.junit");
    assert!(junit.contains("leaked 2 containers") && junit.contains("<failure"), "{junit}");
    for (name, text) in [("junit", junit), ("html", read("report.html")), ("GitHub", read("summary.md"))] {
        for expected in ["test_shop.py::test_cache (call)", "name left", "steady", "1 stopped container"] {
            assert!(text.contains(expected), "{name}: {expected}: {text}");
        }
    }
    let annotation = said.lines().find(|it| it.starts_with("::error title=leaked 1 container")).expect(&said);
    assert!(annotation.contains("tests/test_shop.py"), "{annotation}");
}

fn an_allowed_container_is_ended_and_no_leak(kind: EngineKind) {
    let engine = engine(kind);
    let script = [run(&engine, "cache-1", "", POLITE), ready(&engine, "cache-1")].join("\n");
    for pattern in ["cache-1", IMAGE, &format!("{IMAGE}:latest"), &format!("{IMAGE}*"), "* cache-?"] {
        let done = session(&engine, &["--on-leak", "fail", "--allow", pattern], &script);
        assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(0), ""), "{pattern}");
        assert_eq!(engine.list(), "");
    }
    let done = session(&engine, &["--on-leak", "fail", "--allow", "cache"], &script);
    assert_eq!(done.status.code(), Some(121), "{}", text(&done.stderr));
}

/// Both containers ignore SIGTERM.
fn a_strangers_container_is_never_touched(kind: EngineKind) {
    let engine = engine(kind);
    let stranger = format!("run --detach --network none --name stranger {IMAGE} {IDLE} >/dev/null");
    shell(&client(&engine, &stranger));
    let done = session(&engine, &[], &run(&engine, "left", "--restart always", IDLE));
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("1 container leaked"), "{}", text(&done.stderr));
    let listed = engine.list();
    assert!(listed.starts_with("stranger: Up") && listed.lines().count() == 1, "{listed}");
}

fn the_guardian_ends_what_a_killed_cgrun_left(kind: EngineKind) {
    let engine = engine(kind);
    let seen = engine.host.path().join("seen");
    std::fs::create_dir(&seen).unwrap();
    let polite = POLITE.replace("exit 0", ": >/seen/asked; exit 0");
    let start_it = run(&engine, "left", &format!("--volume {}:/seen", seen.display()), &polite);
    let script = format!("{start_it}; {}; touch running; exec sleep 900", ready(&engine, "left"));
    let mut cgrun = start(&engine, &["--report", "json=report.json"], &script);
    until("the container runs", || engine.host.path().join("running").exists());
    assert!(engine.list().contains("left: Up"), "{}", engine.list());
    cgrun.kill().unwrap();
    cgrun.wait().unwrap();
    until("the container is gone", || engine.list().is_empty());
    let report = engine.host.path().join("report.json");
    until("the report is there", || report.exists());
    assert!(seen.join("asked").exists(), "it had a grace");
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["session"]["written_by"], "guardian", "{report:#}");
    assert_eq!(report["leftovers"][0]["name"], "left", "{report:#}");
    assert_eq!(report["leaked_container_count"], 0, "the command was still running: {report:#}");
    assert!(!report["unverified"].to_string().contains("has not answered"), "{report:#}");
}

fn a_sweep_ends_what_a_killed_cgrun_and_guardian_left(kind: EngineKind) {
    let engine = engine(kind);
    let script = format!("{}; touch running; exec sleep 900", run(&engine, "left", "", POLITE));
    let mut cgrun = start(&engine, &[], &script);
    until("the container runs", || engine.host.path().join("running").exists());
    kill_with_its_guardian(&mut cgrun);
    assert!(engine.list().contains("left: Up"), "{}", engine.list());
    let swept = cgrun_sweep(&engine);
    assert_eq!(swept.status.code(), Some(0), "{}", text(&swept.stderr));
    assert!(text(&swept.stderr).contains("'s container left ("), "{}", text(&swept.stderr));
    assert!(text(&swept.stderr).contains("ended session "), "{}", text(&swept.stderr));
    assert_eq!(engine.list(), "");
}

fn an_engine_that_hangs_at_the_end_is_bounded_and_not_called_clean(kind: EngineKind) {
    let engine = engine(kind);
    let daemon = Pid::from_raw(engine.daemon());
    let script = format!("{}; kill -STOP {daemon}", run(&engine, "left", "", IDLE));
    let began = Instant::now();
    let done = session(&engine, &[], &script);
    kill(daemon, Signal::SIGCONT).unwrap();
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(122), "{said}");
    assert!(said.contains("not verified: cannot determine what sessions have left in "), "{said}");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}: {said}", began.elapsed());
    // Its guardian, which sees it exit without an end, and a sweep try again.
    until("it is gone", || {
        cgrun_sweep(&engine);
        engine.list().is_empty()
    });
}

fn cgrun_sweep(engine: &Engine) -> Output {
    let mut command = Command::new(cgrun_program());
    command.arg("sweep").current_dir(engine.host.path()).env("XDG_STATE_HOME", engine.host.path());
    output(command.env_remove("NEXTEST"))
}

fn the_whole_takes_no_longer_than_stop_within(kind: EngineKind) {
    let engine = engine(kind);
    let script = format!("{}; sleep 900 & sleep 900 &", run(&engine, "left", "", IDLE));
    let options = ["--grace", "60s", "--stop-within", "6s"];
    let began = Instant::now();
    let done = session(&engine, &options, &script);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}: {}", began.elapsed(), text(&done.stderr));
    assert_eq!(engine.list(), "");
}

/// The container says that it was asked to exit, and does not.
fn a_second_request_skips_the_grace(kind: EngineKind) {
    let engine = engine(kind);
    let seen = engine.host.path().join("seen");
    std::fs::create_dir(&seen).unwrap();
    let stubborn =
        "sh -c 'trap \": >/seen/asked\" TERM; echo ready; echo steady; while :; do sleep 0.1; done'";
    let volume = format!("--volume {}:/seen", seen.display());
    let script = format!("{}\n{}", run(&engine, "left", &volume, stubborn), ready(&engine, "left"));
    let cgrun = RefCell::new(start(&engine, &["--grace", "60s"], &script));
    until("the container is asked to exit", || seen.join("asked").exists());
    let began = Instant::now();
    let pid = Pid::from_raw(cgrun.borrow().id() as i32);
    kill(pid, Signal::SIGTERM).unwrap();
    until("the first request is noticed", || said(&engine).contains("send it again to kill everything now"));
    // What follows within 20 ms is taken for an echo.
    until("the second one is too", || {
        cgrun.borrow_mut().try_wait().unwrap().is_some() || {
            kill(pid, Signal::SIGTERM).unwrap();
            false
        }
    });
    assert_eq!(cgrun.borrow_mut().wait().unwrap().code(), Some(0), "{}", said(&engine));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}: {}", began.elapsed(), said(&engine));
    assert_eq!(engine.list(), "");
}

fn a_cancelled_command_has_not_leaked_its_containers(kind: EngineKind) {
    let engine = engine(kind);
    let script = format!("{}; touch running; exec sleep 900", run(&engine, "left", "", IDLE));
    let mut cgrun = start(&engine, &[], &script);
    until("the container runs", || engine.host.path().join("running").exists());
    kill(Pid::from_raw(cgrun.id() as i32), Signal::SIGTERM).unwrap();
    cgrun.wait().unwrap();
    assert!(!said(&engine).contains("leaked"), "{}", said(&engine));
    assert_eq!(engine.list(), "");
}

with_both! {
    what_leaked_is_in_all_reports_with_its_test,
    an_allowed_container_is_ended_and_no_leak,
    a_strangers_container_is_never_touched,
    the_guardian_ends_what_a_killed_cgrun_left,
    a_sweep_ends_what_a_killed_cgrun_and_guardian_left,
    an_engine_that_hangs_at_the_end_is_bounded_and_not_called_clean,
    the_whole_takes_no_longer_than_stop_within,
    a_second_request_skips_the_grace,
    a_cancelled_command_has_not_leaked_its_containers,
}
