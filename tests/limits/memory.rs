//! Memory limits: which processes are killed, and what is reported.

use serde_json::{Value, json};

use super::{IN_SESSION, numbers, row};
use crate::harness::{Place, Session};

const BY_THE_SESSION: &str = "out of memory: the session reached its limit of 48 MiB, and the kernel killed all processes of the command";
const BY_THE_SERVICE: &str = "out of memory: service eater reached its limit of 48 MiB, and the kernel killed all processes of service eater";
/// Waits in a session's cgroup until the service `eater` was killed.
const EATEN: &str = "until grep -q 'populated 0' service.eater/cgroup.events; do sleep 0.1; done";

/// A service that uses more memory than its limit.
fn eater(is_critical: bool) -> String {
    format!(
        "[services.eater]\ncommand = ['python3', '{{helpers}}/hungry.py', 'then', 'memory', '200']\n\
         critical = {is_critical}\nlimits = {{ memory = '48MiB' }}\n"
    )
}

fn hungry(mebibytes: &str) -> String {
    format!("python3 $HELPERS/hungry.py memory {mebibytes}")
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_memory_eater_is_killed_and_named() {
    for place in Place::ALL {
        let run =
            Session::at(place).options(["--memory", "48MiB"]).helper("hungry.py", &["memory", "200"]).run();
        run.assert_code(137).assert_said(BY_THE_SESSION).assert_nothing_left();
        assert!(!run.stdout().contains("got "));
        // Only root can read the kernel's log. Without it, the pid of the process that we started is still
        // known.
        let name = if place.is_root() { r" \(python3\)" } else { "" };
        run.assert_matches(&format!(r"; the first was pid \d+{name}\n"));
    }
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_session_within_its_limits_is_silent() {
    for place in Place::ALL {
        let options = ["--memory", "64MiB", "--pids", "50", "--cpus", "2"];
        let run = Session::at(place).options(options).helper("hungry.py", &["memory", "16"]).run();
        run.assert_code(0).assert_silent().assert_nothing_left();
        assert_eq!(run.stdout(), "got 16 MiB\n");
    }
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_memory_eater_gets_its_whole_session_killed() {
    let script = format!("sleep 900 & {}; echo limps on", hungry("200"));
    let run = Session::at(Place::Root).options(["--memory", "48MiB"]).sh(&script).run();
    run.assert_code(137).assert_said(BY_THE_SESSION).assert_nothing_left();
    assert!(!run.stderr().contains("leaked"), "{}", run.stderr());
    assert!(!run.stdout().contains("limps"));
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_memory_eater_among_the_services() {
    for place in Place::SCOPES {
        let run = Session::at(place).config(&eater(true)).command(["sleep", "900"]).run();
        run.assert_code(125).assert_said(BY_THE_SERVICE).assert_nothing_left();
        // Another component's limit does not change the command's exit code.
        let run = Session::at(place).config(&eater(false)).sh(&format!("{IN_SESSION}{EATEN}; exit 7")).run();
        run.assert_code(7).assert_said(BY_THE_SERVICE).assert_nothing_left();
        assert!(!run.stderr().contains("the session reached"), "{}", run.stderr());
    }
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_session_out_of_memory_exits_like_its_command_even_with_services() {
    let config = "[services.web]\ncommand = ['sleep', '900']\n[limits]\nmemory = '48MiB'\n";
    for _ in 0..5 {
        let run = Session::at(Place::Root).config(config).helper("hungry.py", &["memory", "200"]).run();
        run.assert_code(137).assert_nothing_left();
        run.assert_said("the session reached its limit of 48 MiB, and the kernel killed all");
        let rest = run.stderr().replace("all processes of service web", "");
        assert!(!rest.contains("service web"), "{}", run.stderr());
    }
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn github_is_told_about_a_limit() {
    let session =
        Session::at(Place::Root).env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "summary");
    let run = session.options(["--memory", "48MiB"]).helper("hungry.py", &["memory", "200"]).run();
    run.assert_code(137).assert_nothing_left();
    run.assert_said("\n::warning title=cgrun%3A a limit was hit::out of memory: the session");
    let summary = run.read("summary");
    assert!(
        summary.starts_with("### cgrun: a limit was hit") && summary.contains("out of memory"),
        "{summary}"
    );
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_limit_inside_the_session_is_not_reported_as_the_hosts() {
    let inner = format!("exec $CGRUN --memory 48MiB {}", hungry("200"));
    for place in Place::SCOPES {
        let run = Session::at(place).options(["--pids", "60"]).sh(&inner).run();
        run.assert_code(137).assert_said(BY_THE_SESSION).assert_nothing_left();
        run.assert_said(
            "out of memory: a cgroup inside the command reached a limit of its own, and the kernel killed \
             1 process of the command",
        );
    }
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_process_killed_in_a_cgroup_that_the_command_created_is_reported() {
    let script = format!("{IN_SESSION}mkdir own && echo $$ >own/cgroup.procs && exec {}", hungry("200"));
    let run = Session::at(Place::Root).options(["--memory", "48MiB"]).sh(&script).run();
    run.assert_code(137).assert_nothing_left();
    run.assert_said(
        "out of memory: the session reached its limit of 48 MiB, and the kernel killed all processes of the session",
    );
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn every_report_names_the_limit_that_was_hit() {
    let mut session = Session::at(Place::Root).config(&eater(false));
    for kind in ["json", "junit", "html"] {
        session = session.options(["--report", &format!("{kind}=cgrun.{kind}")]);
    }
    let run = session.sh(&format!("{IN_SESSION}{EATEN}")).run();
    run.assert_code(0).assert_nothing_left();
    let stderr = run.stderr();
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains("out of memory")).collect();
    let [line] = lines[..] else { panic!("{stderr}") };
    let line = line.strip_prefix("cgrun: ").unwrap();
    for kind in ["junit", "html"] {
        let text = run.read(&format!("cgrun.{kind}")).replace("&#39;", "'").replace("&apos;", "'");
        assert!(text.contains(line), "not in {kind}: {line}\n{text}");
    }
    let report: Value = serde_json::from_str(&run.read("cgrun.json")).unwrap();
    let usage = &report["usage"];
    let mut hit = only(&usage["limits_hit"]).clone();
    let victim = hit.as_object_mut().unwrap().remove("victim").unwrap();
    let expected = json!({
        "resource": "memory", "level": "own", "component": "service eater", "limit_bytes": 48 << 20,
        "killed": [{ "component": "service eater" }],
    });
    assert_eq!(hit, expected);
    assert_eq!(victim["name"], "python3");
    assert!(line.contains(&format!("the first was pid {} (python3)", victim["pid"])), "{victim}\n{line}");

    let components = usage["components"].as_array().unwrap();
    assert_eq!(names(components), ["service eater", "command"]);
    for figures in components.iter().chain([&usage["session"]]) {
        let figures = figures.as_object().unwrap();
        for key in ["cpu_user_usec", "memory_peak_bytes", "processes_peak"] {
            assert!(figures.contains_key(key), "no {key}: {figures:?}");
        }
        assert!(figures.iter().all(|(key, value)| key == "name" || value.is_u64()), "{figures:?}");
    }
    assert_eq!(usage["session"]["name"], "session");
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_guardian_reports_the_limit_that_was_hit() {
    let config = eater(false) + "[limits]\npids = 50\n";
    let script = format!("directory=$PWD; {IN_SESSION}{EATEN}; touch $directory/running; exec sleep 900");
    let session = Session::at(Place::Root).config(&config).options(["--report", "json=cgrun.json"]);
    let run = session.sh(&script).start();
    run.until_file("running");
    let run = run.kill_cgrun(false);
    run.assert_nothing_left();
    let report: Value = serde_json::from_str(&run.read("cgrun.json")).unwrap();
    let usage = &report["usage"];
    let hit = only(&usage["limits_hit"]);
    assert_eq!((&hit["resource"], &hit["component"]), (&json!("memory"), &json!("service eater")));
    assert_eq!(hit["killed"], json!([{ "component": "service eater" }]));
    assert_eq!(names(usage["components"].as_array().unwrap()), ["service eater", "command"]);
}

fn only(list: &Value) -> &Value {
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    &list[0]
}

fn names(figures: &[Value]) -> Vec<&str> {
    figures.iter().map(|figures| figures["name"].as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_memory_limit_also_bounds_swap() {
    let _swap = Swap::enable();
    let run =
        Session::at(Place::Root).options(["--memory", "48MiB"]).helper("hungry.py", &["memory", "100"]).run();
    run.assert_code(137).assert_nothing_left();
    run.assert_said("out of memory: the session reached its limit of 48 MiB");
    // The config allows swap.
    let config = "[limits]\nmemory = '48MiB'\nswap = '100%'\n";
    let run = Session::at(Place::Root).config(config).helper("hungry.py", &["memory", "100"]).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(run.stdout(), "got 100 MiB\n");
}

/// Swap space, while this exists.
struct Swap(tempfile::NamedTempFile);

impl Swap {
    fn enable() -> Self {
        let file = tempfile::NamedTempFile::new_in("/").unwrap();
        let path = file.path().to_str().unwrap();
        run("dd", &["if=/dev/zero", &format!("of={path}"), "bs=1M", "count=128", "status=none"]);
        run("mkswap", &[path]);
        run("swapon", &[path]);
        Self(file)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        run("swapoff", &[self.0.path().to_str().unwrap()]);
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let status =
        std::process::Command::new(program).args(arguments).stdout(std::process::Stdio::null()).status();
    assert!(status.unwrap().success(), "{program} {arguments:?}");
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_service_limit_above_the_sessions_is_a_warning() {
    let config = "[limits]\nmemory = '64M'\n[services.web]\ncommand = ['sleep', '900']\nlimits = { memory = '128M' }\n";
    let run = Session::at(Place::Root).config(config).command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
    run.assert_said("service web's limit of 128 MiB of memory exceeds the whole session's (64 MiB)");
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn figures_of_memory_and_processes() {
    let config = "[services.web]\ncommand = ['sleep', '900']\n";
    for place in Place::SCOPES {
        let session = Session::at(place).config(config).options(["-v", "--memory", "128M"]);
        let run = session.helper("hungry.py", &["memory", "32"]).run();
        run.assert_code(0).assert_said("used by ").assert_nothing_left();
        let [peak] = numbers(r"([\d.]+) MiB", &row(&run, "command"));
        assert!((32.0..=60.0).contains(&peak), "{}", run.stderr());
        run.assert_matches(r"(?m)^cgrun: service web  .*[\d.]+ [KM]iB +1( |$)");
        row(&run, "session");
        // Without a limit, only figures that cost nothing are collected.
        let run = Session::at(place).options(["-v"]).command(["true"]).run();
        run.assert_code(0).assert_nothing_left();
        run.assert_matches(r"(?m)^cgrun: session +0\.\d\d s +0\.\d\d s +- +-");
    }
}
