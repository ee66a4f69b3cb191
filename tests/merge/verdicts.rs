//! The verdict on many sessions, in every format.

use serde_json::{Value, json};

use super::{change, merge, merged, report, starting, validate};
use crate::harness::Session;

#[test]
fn a_merge_that_writes_only_files_says_what_is_wrong() {
    let place = Session::new();
    let here = place.path();
    let leaking = report(here, "leaking", &[("t.py::a", "sleep 900")]);
    let quiet = merge(here, &["leaking", "--html", "x"]);
    quiet.assert_code(0).assert_silent().assert_nothing_left();
    for output in ["x", "-"] {
        let failed = merge(here, &["leaking", "--html", output, "--on-leak", "fail"]);
        failed.assert_code(121).assert_said("cgrun: 1 test leaked 1 process in the session.\n");
    }
    change(&leaking, "survived", |report| report["survivors"] = json!(["pid 7 (x)"]));
    let survived = merge(here, &["survived", "--json", "x"]);
    survived.assert_code(122).assert_said("1 session had survivors, or could not be verified.");
    // The text on stdout says it already.
    let text = merge(here, &["leaking", "--on-leak", "fail"]);
    text.assert_code(121).assert_silent();
}

#[test]
fn sessions_that_failed_without_leaks_are_no_clean_night() {
    let place = Session::new();
    let here = place.path();
    let passed = report(here, "passed", &[]);
    change(&passed, "failed", |report| {
        report["session"]["id"] = json!("ffffffff");
        report["outcome"]["exit_code"] = json!(2);
    });
    let page = |reports: &[&str], format: &str| {
        let run = merge(here, &[reports, &[format, "-"]].concat());
        run.assert_code(0).assert_nothing_left();
        run.stdout()
    };
    let failed = page(&["passed", "failed"], "--html");
    assert!(failed.contains(r#"<span class="pill failed">1 session failed</span>"#), "{failed}");
    let failed = page(&["passed", "failed"], "--markdown");
    assert!(failed.starts_with("### cgrun: 1 session failed\n"), "{failed}");
    let clean = page(&["passed"], "--html");
    assert!(clean.contains(r#"<span class="pill">clean</span>"#), "{clean}");
}

/// What a leaked process has started itself leaks with it.
#[test]
fn a_leak_is_counted_without_what_it_has_started() {
    let place = Session::new();
    let here = place.path();
    let tree = "sh -c 'sleep 900 & sleep 901 & echo >started; wait'";
    let option = format!("json={}", here.join("one").display());
    let script = starting(&[("t.py::a", tree), ("t.py::b", "sleep 902"), ("t.py::b", "sleep 902")]);
    let wait = "until [ -e started ]; do :; done";
    let run = Session::again().options(["--report", &option]).sh(&format!("{script}{wait}")).run();
    run.assert_code(0).assert_nothing_left();
    let all = merged(here, &["one"], 0);
    let counts = |leak: &Value| (leak["process_count"].clone(), leak["sessions"][0]["tree_count"].clone());
    let leaks: Vec<_> = all["leaks"].as_array().unwrap().iter().map(counts).collect();
    assert_eq!(leaks, [(json!(3), json!(1)), (json!(2), json!(2))]);
    // A merge that an older cgrun wrote does not have the number.
    change(&here.join("merged.out"), "older", |merged| {
        for leak in merged["leaks"].as_array_mut().unwrap() {
            leak["sessions"][0].as_object_mut().unwrap().remove("tree_count");
        }
    });
    for (report, first) in [("one", ""), ("merged.out", ""), ("older", "3 x ")] {
        let text = merge(here, &[report]).stdout();
        let lines =
            format!("Leaks:\n  t.py::a: {first}sh -c sleep 900 & sleep 901 & echo >started; wait, in");
        assert!(text.contains(&lines) && text.contains("  t.py::b: 2 x sleep 902, in"), "{text}");
    }
}

/// The two sessions of a branch that has the line and one that does not.
#[test]
fn a_leak_fails_no_session_whose_own_baseline_lists_it() {
    let place = Session::new();
    let here = place.path();
    let leaks = [("t.py::a", "sleep 900")];
    let list = here.join("leaks.toml");
    std::fs::write(&list, "leaks = [{ test = 't.py::a', program = 'sleep 900' }]").unwrap();
    let known = format!("json={}", here.join("known").display());
    let session = Session::again().options(["--baseline", list.to_str().unwrap(), "--report", &known]);
    session.sh(&starting(&leaks)).run().assert_code(0).assert_nothing_left();
    report(here, "new", &leaks);
    merge(here, &["known", "new", "--junit", "night.xml", "--on-leak", "fail"]).assert_code(121);
    let suites = validate("suites", &[here.join("night.xml").to_str().unwrap()]);
    let suites: Value = serde_json::from_str(&suites).unwrap();
    let results: Vec<_> = suites.as_object().unwrap().values().map(|it| &it["t.py::a"]).collect();
    assert_eq!(results.iter().filter(|it| **it == &json!(["Failure"])).count(), 1, "{suites:#}");
    assert_eq!(results.iter().filter(|it| **it == &json!([])).count(), 1, "{suites:#}");
}
