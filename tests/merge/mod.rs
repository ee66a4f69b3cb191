//! Reports of many sessions become one, and nights are compared.

mod comparing;
mod verdicts;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::browser::{assert_drawn, chromium};
use crate::harness::{Finished, Session, helpers, installed, python_program};

/// A script in which these tests leave these commands running.
fn starting(leaks: &[(&str, &str)]) -> String {
    let start = |(test, command): &(&str, &str)| format!("PYTEST_CURRENT_TEST='{test} (call)' {command} &\n");
    leaks.iter().map(start).collect()
}

/// The report of a session in which these tests leave these commands running.
fn report(directory: &Path, name: &str, leaks: &[(&str, &str)]) -> PathBuf {
    let file = directory.join(name);
    let option = format!("json={}", file.display());
    let run = Session::again().options(["--report", &option]).sh(&starting(leaks)).run();
    run.assert_code(0).assert_nothing_left();
    file
}

/// What `cgrun merge` does in a directory.
fn merge(directory: &Path, arguments: &[&str]) -> Finished {
    let script = "cd \"$0\" && exec \"$CGRUN\" merge \"$@\"";
    let words = ["sh", "-c", script, directory.to_str().unwrap()];
    Session::again().options(arguments).start_through(&words).finish()
}

/// The merged report, validated against its schema.
#[track_caller]
fn merged(directory: &Path, arguments: &[&str], code: i32) -> Value {
    let run = merge(directory, &[arguments, &["--json", "merged.out"]].concat());
    run.assert_code(code).assert_nothing_left();
    let file = directory.join("merged.out");
    validate("json", &[installed("src/merge/schema.json").to_str().unwrap(), file.to_str().unwrap()]);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn validate(kind: &str, files: &[&str]) -> String {
    let mut command = Command::new(python_program("python3"));
    let output = command.arg(helpers().join("readers.py")).arg(kind).args(files).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// `TEST: PROGRAM`, and in how many sessions.
fn leaks(merged: &Value) -> Vec<(String, usize)> {
    let leak = |leak: &Value| {
        let name = leak["owner"]["name"].as_str().unwrap_or("unknown");
        let program = leak["program"].as_str().unwrap();
        (format!("{name}: {program}"), leak["sessions"].as_array().unwrap().len())
    };
    merged["leaks"].as_array().unwrap().iter().map(leak).collect()
}

fn change(from: &Path, to: &str, change: impl Fn(&mut Value)) {
    let mut report: Value = serde_json::from_str(&std::fs::read_to_string(from).unwrap()).unwrap();
    change(&mut report);
    std::fs::write(from.with_file_name(to), report.to_string()).unwrap();
}

#[test]
fn reports_of_shards_become_one_by_test_and_by_host() {
    let place = Session::new();
    let here = place.path();
    report(
        here,
        "1.json",
        &[("t.py::a", "sleep 900"), ("t.py::a", "sleep 900"), ("t.py::b", "tail -f /dev/null")],
    );
    let two = report(here, "2.json", &[("t.py::a", "sleep 900")]);
    change(&two, "2.json", |report| report["session"]["host"] = json!("ci-2"));
    let all = merged(here, &["1.json", "2.json"], 0);
    assert_eq!(all["totals"]["sessions"], 2, "{all:#}");
    assert_eq!(all["totals"]["leaking_tests"], 2, "{all:#}");
    assert_eq!(all["leaks"][0]["process_count"], 3, "{all:#}");
    assert_eq!(leaks(&all)[0].1, 2, "{all:#}");
    let hosts: Vec<_> = all["hosts"].as_array().unwrap().iter().map(|it| it["host"].clone()).collect();
    let own = nix::sys::utsname::uname().unwrap().nodename().to_str().unwrap().to_string();
    assert_eq!(hosts, [json!(own), json!("ci-2")]);
    let text = merge(here, &["1.json", "2.json"]);
    text.assert_code(0);
    assert!(
        text.stdout().starts_with("2 tests leaked 4 processes in 2 of 2 sessions on 2 hosts.\n"),
        "{}",
        text.stdout()
    );
    assert!(
        text.stdout().contains("  t.py::a: up to 2 x sleep 900, in 2 of 2 sessions"),
        "{}",
        text.stdout()
    );
}

/// A container that a session of the report has left running, or that went with it.
fn container(leaked: bool, test: Option<&str>, service: Option<&str>) -> Value {
    let container = json!({
        "engine": "docker", "id": "1", "name": "web", "image": "redis:7", "ports": [],
        "running": true, "age_seconds": 3, "log": [],
    });
    json!({
        "kind": "container", "name": "web", "key": null, "size_bytes": null, "file_count": null, "uid": null,
        "creator_pid": null, "process": service, "started_during": test, "fate": "removed",
        "remove_with": null, "container": container, "leaked": leaked,
    })
}

#[test]
fn leaked_containers_are_merged_by_test() {
    let place = Session::new();
    let here = place.path();
    let one = report(here, "1.json", &[("t.py::a", "sleep 900")]);
    change(&one, "2.json", |report| {
        report["session"]["id"] = json!("another");
        report["leaked_container_count"] = json!(2);
        report["leftovers"] = json!([
            container(true, Some("t.py::a (call)"), None),
            container(true, Some("t.py::a (setup)"), None),
            container(false, None, Some("service db")),
        ]);
    });
    let all = merged(here, &["1.json", "2.json"], 0);
    let expected = [("t.py::a: container redis".to_string(), 1), ("t.py::a: sleep 900".to_string(), 2)];
    let mut found = leaks(&all);
    found.sort();
    assert_eq!(found, expected, "{all:#}");
    assert_eq!((&all["totals"]["leaked_containers"], &all["totals"]["leftovers"]), (&json!(2), &json!(0)));
    let said = merge(here, &["1.json", "2.json"]).stdout();
    assert!(said.starts_with("1 test leaked 2 processes and 2 containers in 2 of 2 sessions.\n"), "{said}");
    assert!(said.contains("2 x container redis, in 1 of 2 sessions"), "{said}");
    merge(here, &["1.json", "2.json", "--html", "page.html", "--junit", "r.xml"]).assert_code(0);
    for file in ["page.html", "r.xml"] {
        let text = std::fs::read_to_string(here.join(file)).unwrap();
        assert!(text.contains("container redis"), "{text}");
    }
    let page = std::fs::read_to_string(here.join("page.html")).unwrap();
    assert!(page.contains("2 containers<span") && !page.contains("2 processes<span"), "{page}");
    merge(here, &["2.json", "--json", "merged"]).assert_code(0);
    assert_eq!(merged(here, &["1.json", "merged"], 0)["totals"]["leaked_containers"], 2);
}

#[test]
fn a_merge_of_merges_is_the_merge_of_all() {
    let place = Session::new();
    let here = place.path();
    for (name, test) in [("1.json", "t.py::a"), ("2.json", "t.py::b"), ("3.json", "t.py::a")] {
        report(here, name, &[(test, "sleep 900")]);
    }
    let all = merged(here, &["1.json", "2.json", "3.json"], 0);
    merge(here, &["1.json", "2.json", "--json", "12"]).assert_code(0);
    merge(here, &["3.json", "2.json", "--json", "23"]).assert_code(0);
    assert_eq!(merged(here, &["23", "12"], 0), all);
    assert_eq!(merged(here, &["3.json", "12", "1.json"], 0), all);
}

#[test]
fn the_same_report_twice_counts_once() {
    let place = Session::new();
    let one = report(place.path(), "1.json", &[("t.py::a", "sleep 900")]);
    std::fs::copy(&one, place.path().join("copy.json")).unwrap();
    let once = merge(place.path(), &["1.json"]);
    let twice = merge(place.path(), &["1.json", "copy.json", "1.json"]);
    twice.assert_code(0).assert_said("2 sessions came more than once, and counted only once");
    assert_eq!(once.stdout(), twice.stdout());
}

#[test]
fn what_is_not_a_complete_report_is_named_and_left_out() {
    let place = Session::new();
    let here = place.path();
    let good = report(here, "good.json", &[]);
    let text = std::fs::read_to_string(&good).unwrap();
    let write = |name: &str, text: &str| std::fs::write(here.join(name), text).unwrap();
    write("truncated.json", &text[..text.len() / 2]);
    write("empty.json", "");
    write("foreign.json", "{\"tests\": 3}");
    write("list.json", "[1, 2]");
    write("page.html", "<html>");
    change(&good, "newer.json", |report| report["schema_version"] = json!(2));
    change(&good, "part.json", |report| drop(report.as_object_mut().unwrap().remove("outcome")));
    std::fs::create_dir(here.join("directory")).unwrap();
    nix::unistd::mkfifo(&here.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::File::create(here.join("large")).unwrap().set_len(300 << 20).unwrap();
    let bad = [
        ("truncated.json", "it is truncated: it ends in line "),
        ("empty.json", "it is empty"),
        ("foreign.json", "it is not a report of cgrun"),
        ("list.json", "it is not a report of cgrun"),
        ("page.html", "it is not JSON"),
        ("newer.json", "it has version 2, and this cgrun reads version 1"),
        ("part.json", "it is not a complete report: missing field `outcome`"),
        ("directory", "it is not a regular file"),
        ("pipe", "it is not a regular file"),
        ("large", "it is larger than 256 MiB"),
        ("missing.json", "it cannot be read: No such file or directory"),
    ];
    let names: Vec<_> = bad.iter().map(|(name, _)| *name).collect();
    let run = merge(here, &[&names[..], &["good.json"]].concat());
    run.assert_code(1).assert_nothing_left();
    for (name, reason) in bad {
        run.assert_said(&format!("{name} is left out: {reason}"));
        assert!(run.stdout().contains(&format!("  left out: {name}: {reason}")), "{}", run.stdout());
    }
    assert!(run.stdout().contains("11 reports were left out."), "{}", run.stdout());
    // What a merge left out stays unknown.
    let all = merged(here, &["good.json", "empty.json"], 1);
    assert_eq!(all["left_out"][0]["report"], "empty.json");
    std::fs::rename(here.join("merged.out"), here.join("again")).unwrap();
    merge(here, &["again"]).assert_code(1);
    let run = merge(here, &names);
    run.assert_code(125).assert_said("none of the 11 reports could be read");
}

#[test]
fn a_merge_of_nothing_is_refused() {
    let place = Session::new().file("list", "");
    let here = place.path();
    merge(here, &[]).assert_code(125).assert_said("<REPORT>");
    merge(here, &["--files-from", "list"]).assert_code(125).assert_said("no report is named");
    merge(here, &["--files-from", "no"]).assert_code(125).assert_said("cannot read the list of reports no");
    report(here, "1.json", &[]);
    let no_last = merge(here, &["1.json", "--against", "no.json"]);
    no_last.assert_code(125).assert_said("cannot compare with no.json: it cannot be read: No such file");
    let mixed_up = merge(here, &["1.json", "--against", "./1.json"]);
    mixed_up.assert_code(125).assert_said("./1.json cannot be merged and compared with at once");
    let over = merge(here, &["1.json", "--json", "./1.json"]);
    over.assert_code(125).assert_said("./1.json is a report to merge and also an output");
    let twice = merge(here, &["1.json", "--html", "x", "--json", "./x"]);
    twice.assert_code(125).assert_said("two outputs would be written to ./x; give each its own file");
    let stdout = merge(here, &["1.json", "--json", "-", "--html", "-"]);
    stdout.assert_code(125).assert_said("only one of the outputs can go to stdout");
    let nowhere = merge(here, &["1.json", "--json", "/proc/x.json"]);
    nowhere.assert_code(125).assert_said("cannot write /proc/x.json").assert_nothing_left();
    assert!(std::fs::read_to_string(here.join("1.json")).unwrap().starts_with('{'));
}

#[test]
fn reports_can_be_named_in_a_list() {
    let place = Session::new().file("list", "1.json\n\n2.json\n");
    let here = place.path();
    report(here, "1.json", &[]);
    report(here, "2.json", &[]);
    let all = merged(here, &["--files-from", "list"], 0);
    assert_eq!(all["totals"]["sessions"], 2);
    let script = "cd \"$0\" && ls *.json | \"$CGRUN\" merge --files-from - --json -";
    let run = Session::again().start_through(&["sh", "-c", script, here.to_str().unwrap()]).finish();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(serde_json::from_str::<Value>(&run.stdout()).unwrap(), all);
}

#[test]
fn a_session_that_was_not_verified_is_never_merged_into_a_clean_one() {
    let place = Session::new();
    let here = place.path();
    let one = report(here, "1.json", &[]);
    change(&one, "killed.json", |report| report["session"]["written_by"] = json!("guardian"));
    merge(here, &["1.json"]).assert_code(0).assert_silent();
    let killed = merge(here, &["killed.json"]);
    killed.assert_code(1);
    assert!(killed.stdout().contains("In 1 session, cgrun was killed, so that its leaks are not known."));
    // What is only counted can be anything.
    change(&one, "many.json", |report| {
        report["leaked_process_count"] = json!(5);
        report["undescribed_process_count"] = json!(5);
    });
    let many = merge(here, &["many.json", "--against", "1.json", "--on-leak", "fail"]);
    many.assert_code(121);
    assert!(many.stdout().contains("5 of the leaked processes are not described."), "{}", many.stdout());
    for key in ["survivors", "unverified"] {
        change(&one, "bad.json", |report| report[key] = json!(["pid 7 (x)"]));
        let run = merge(here, &["bad.json", "--on-leak", "fail"]);
        run.assert_code(122);
        assert!(run.stdout().contains("pid 7 (x)"), "{}", run.stdout());
    }
}

/// Reports of two nights, made from a real one.
fn two_nights(here: &Path, sessions: u32) {
    let one = report(here, "one.json", &[("t.py::a", "sleep 900")]);
    for night in ["1", "2"] {
        let directory = here.join(night);
        std::fs::create_dir(&directory).unwrap();
        let mut command = Command::new("python3");
        command.arg(helpers().join("many_reports.py")).args([&one, &directory]);
        assert!(command.args([&sessions.to_string(), night]).status().unwrap().success());
    }
}

/// `find DIRECTORY | cgrun merge` with these options.
fn merge_directory(here: &Path, directory: &str, options: &[&str]) -> Finished {
    let script = "cd \"$0\" && find \"$1\" -type f | { shift; \"$CGRUN\" merge --files-from - \"$@\"; }";
    let words = ["sh", "-c", script, here.to_str().unwrap(), directory];
    Session::again().options(options).start_through(&words).finish()
}

#[test]
fn the_page_of_a_night_is_drawn_in_a_browser() {
    let place = Session::new();
    let here = place.path().canonicalize().unwrap();
    two_nights(&here, 24);
    std::fs::write(here.join("2/shard-3.json"), "{").unwrap();
    merge_directory(&here, "1", &["--json", "last.json"]).assert_code(0);
    let night = merge_directory(&here, "2", &["--against", "last.json", "--html", "night.html"]);
    night.assert_code(1).assert_nothing_left();
    let page = here.join("night.html");
    assert_drawn(&page);
    let seen = chromium(&page, &["--dump-dom"]);
    let order = [
        ">4 new<",
        "New since 2026-11-29",
        "tests/test_1.py::test_that_starts_41",
        ">left out<",
        ">Still there<",
        ">Not seen<",
        ">By host<",
        ">Sessions side by side<",
    ];
    let places: Vec<_> =
        order.iter().map(|part| seen.find(part).unwrap_or_else(|| panic!("{part} in {seen}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(seen.contains("Sessions by host: ci-"), "{seen}");
}

#[test]
fn every_format_says_what_is_new() {
    let place = Session::new();
    let here = place.path();
    two_nights(here, 12);
    merge_directory(here, "1", &["--json", "last.json"]).assert_code(0);
    let options = ["--against", "last.json", "--on-leak", "fail", "--junit", "night.xml", "--markdown", "-"];
    let run = merge_directory(here, "2", &options);
    run.assert_code(121).assert_nothing_left();
    let text = run.stdout();
    assert!(text.starts_with("### cgrun: ") && text.contains("\n#### New\n\n| test |"), "{text}");
    let suites = validate("suites", &[here.join("night.xml").to_str().unwrap()]);
    let suites: Value = serde_json::from_str(&suites).unwrap();
    let suites = suites.as_object().unwrap();
    assert_eq!(suites.len(), 12);
    let results = |name: &str| -> Vec<&Value> {
        suites.values().map(|suite| &suite[name]).filter(|it| !it.is_null()).collect()
    };
    let is_new = |n: usize| (40..43).contains(&n);
    let mut seen = [0, 0];
    for n in 4..43 {
        for result in results(&format!("tests/test_{}.py::test_that_starts_{n}", n % 8)) {
            // Old leaks that this sample of the first night does not have count as new.
            assert!(!is_new(n) || result == &json!(["Failure"]), "{n}: {result}");
            seen[usize::from(is_new(n))] += 1;
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn hostile_names_stay_text_in_every_format() {
    let place = Session::new();
    let here = place.path();
    let one = report(here, "1.json", &[("t.py::a", "sleep 900")]);
    let hostile = "<script>alert(1)</script>|\u{1b}[2J\n`x`&\u{202e}\u{ffff}\u{0}]]>";
    change(&one, "2.json", |report| {
        for key in ["id", "host"] {
            report["session"][key] = json!(hostile);
        }
        report["session"]["command"] = json!([hostile]);
        report["leaks"][0]["started_during"]["test"] = json!(hostile);
        report["leaks"][0]["program"] = json!(hostile);
        report["outcome"]["reason"] = json!(hostile);
        report["unverified"] = json!([hostile]);
    });
    let files = ["--html", "n.html", "--junit", "n.xml", "--markdown", "n.md", "--json", "n.json"];
    merge(here, &[&["1.json", "2.json"], &files[..]].concat()).assert_code(122).assert_nothing_left();
    let read = |name: &str| std::fs::read_to_string(here.join(name)).unwrap();
    assert!(!read("n.html").contains("<script>") && !read("n.md").contains("<script>"));
    let text = merge(here, &["1.json", "2.json"]).stdout();
    for text in [&read("n.html"), &read("n.md"), &text] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("script"), "{text}");
    }
    validate("suites", &[here.join("n.xml").to_str().unwrap()]);
    assert_eq!(merged(here, &["n.json"], 122)["totals"]["sessions"], 2);
}

#[test]
fn five_hundred_reports_are_merged_in_bounded_memory() {
    let place = Session::new();
    let here = place.path();
    two_nights(here, 500);
    let run = merge_directory(here, "2", &["--json", "all.json", "--html", "all.html"]);
    run.assert_code(0).assert_nothing_left();
    let all: Value = serde_json::from_str(&std::fs::read_to_string(here.join("all.json")).unwrap()).unwrap();
    assert_eq!((&all["totals"]["sessions"], &all["totals"]["hosts"]), (&json!(500), &json!(12)));
    let script = "cd \"$0\" && ulimit -v 100000 && find 2 -type f | \"$CGRUN\" merge --files-from -";
    let run = Session::again().start_through(&["sh", "-c", script, here.to_str().unwrap()]).finish();
    run.assert_code(0).assert_nothing_left();
    assert!(run.stdout().contains(" of 500 sessions on 12 hosts."), "{}", run.stdout());
}

#[test]
fn a_leak_that_the_baseline_lists_fails_no_merge() {
    let place = Session::new();
    let here = place.path();
    let leaks = [("t.py::a", "sleep 900"), ("t.py::b", "sleep 900"), ("t.py::b", "sleep 900")];
    let list = here.join("leaks.toml");
    let with_list = |name: &str, option: &str, leaks: &[(&str, &str)]| {
        let session = Session::again().options(["--baseline", list.to_str().unwrap()]);
        let report = format!("json={}", here.join(name).display());
        let session = session.options([option, "--report", &report]).sh(&starting(leaks));
        session.run().assert_code(0).assert_nothing_left();
    };
    with_list("first.json", "--write-baseline", &leaks);
    with_list("known.json", "--on-leak=report", &leaks);
    with_list("more.json", "--on-leak=report", &[&leaks[..], &[("t.py::c", "sleep 900")]].concat());
    let run = merge(here, &["known.json", "--on-leak", "fail"]);
    run.assert_code(0);
    assert!(run.stdout().contains("2 leaks are in the baseline."), "{}", run.stdout());
    let run = merge(here, &["known.json", "more.json", "--on-leak", "fail"]);
    run.assert_code(121);
    let order = [
        "t.py::c: sleep 900, in 1 of 2 sessions\n",
        "t.py::b: 2 x sleep 900, in 2 of 2 sessions, in the baseline\n",
    ];
    let text = run.stdout();
    assert!(
        order.map(|part| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"))).is_sorted(),
        "{text}"
    );
    let all = merged(here, &["known.json"], 0);
    assert_eq!(all["leaks"][0]["known"], true);
    merge(here, &["merged.out", "--on-leak", "fail"]).assert_code(0);
}

#[test]
fn a_leak_of_another_worker_is_the_same_leak() {
    let here = Session::new();
    let here = here.path();
    for worker in ["1", "2"] {
        let option = format!("json={}", here.join(worker).display());
        let script = format!("JEST_WORKER_ID={worker} sleep 900 &");
        let run = Session::again().options(["--report", &option]).sh(&script).run();
        run.assert_code(0).assert_nothing_left();
    }
    let night = merged(here, &["2", "--against", "1", "--on-leak", "fail"], 0);
    assert_eq!(night["leaks"][0]["owner"]["name"], "jest worker *", "{night:#}");
}
