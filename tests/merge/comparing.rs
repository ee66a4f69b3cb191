//! What changed since an earlier night.

use serde_json::{Value, json};

use super::{change, merge, merged, report};
use crate::harness::Session;

#[test]
fn nights_are_compared_and_remember_since_when_a_leak_is_there() {
    let place = Session::new();
    let here = place.path();
    let night = |name: &str, day: u32, leaks: &[(&str, &str)]| {
        let file = report(here, name, leaks);
        change(&file, name, |report| {
            report["session"]["started_at_unix_seconds"] = json!(1_795_651_200 + day * 86_400);
        });
    };
    night(
        "1.json",
        1,
        &[("t.py::old", "sleep 900"), ("t.py::old", "tail -f /dev/null"), ("t.py::other", "sleep 900")],
    );
    night("2.json", 2, &[("t.py::old", "sleep 900"), ("t.py::new", "sleep 900")]);
    night("3.json", 3, &[("t.py::old", "sleep 900")]);
    merge(here, &["1.json", "--json", "last"]).assert_code(0);
    let run = merge(here, &["2.json", "--against", "last"]);
    run.assert_code(0).assert_nothing_left();
    let text = run.stdout();
    assert!(
        text.starts_with(
            "1 leak is new since 2026-11-27, 1 is still there, 1 is gone, and 1 was not seen.\n"
        ),
        "{text}"
    );
    let place_of = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
    let order = [
        "New:\n  t.py::new: sleep 900",
        "Still there:\n  t.py::old: sleep 900",
        "since 2026-11-27\n",
        "Gone:\n  t.py::old: tail -f null, since 2026-11-27\n",
        "Not seen (their tests need not have run):\n  t.py::other: sleep 900, since 2026-11-27\n",
    ];
    assert!(order.map(place_of).is_sorted(), "{text}");
    // The report of the night replaces the one that it was compared with.
    let fail = ["2.json", "--against", "last", "--json", "last", "--on-leak", "fail"];
    merge(here, &fail).assert_code(121);
    let third = merged(here, &["3.json", "--against", "last", "--on-leak", "fail"], 0);
    assert_eq!(third["leaks"][0]["first_seen_unix_seconds"], json!(1_795_737_600.0), "{third:#}");
    assert_eq!(third["leaks"][0]["is_new"], false);
    assert_eq!(third["against"]["not_seen"][0]["owner"]["name"], "t.py::new", "{third:#}");
    merge(here, &["3.json", "--on-leak", "fail"]).assert_code(121);
}

/// A shard without a leak says nothing about the tests that ran in it.
#[test]
fn a_leak_is_gone_only_if_its_test_is_known_to_have_run() {
    let place = Session::new();
    let here = place.path();
    let both = [("t.py::a", "sleep 900"), ("t.py::a", "sleep 901"), ("t.py::b", "sleep 900")];
    report(here, "last", &both);
    report(here, "silent", &[]);
    let half = report(here, "half", &both[..1]);
    let missing = |reports: &[&str], code: i32| {
        let night = merged(here, &[reports, &["--against", "last"]].concat(), code);
        ["gone", "not_seen"].map(|key| -> Vec<String> {
            let leaks = night["against"][key].as_array().unwrap().iter();
            leaks.map(|it| format!("{} {}", it["owner"]["name"], it["program"]).replace('"', "")).collect()
        })
    };
    let all = vec!["t.py::a sleep 900", "t.py::a sleep 901", "t.py::b sleep 900"];
    assert_eq!(missing(&["silent"], 0), [vec![], all.clone()]);
    assert_eq!(missing(&["half"], 0), [vec![all[1]], vec![all[2]]]);
    // Whatever is not known can be that leak.
    change(&half, "undescribed", |report| report["undescribed_process_count"] = json!(1));
    change(&half, "killed", |report| report["session"]["written_by"] = json!("guardian"));
    for (reports, code) in [(&["undescribed"][..], 0), (&["killed"], 1), (&["half", "no such report"], 1)] {
        assert_eq!(missing(reports, code), [vec![], all[1..].to_vec()], "{reports:?}");
    }
    let page = merge(here, &["undescribed", "--against", "last", "--html", "-"]).stdout();
    assert!(
        page.contains("Not all leaks of these sessions are known.") && !page.contains(">Gone<"),
        "{page}"
    );
}

#[test]
fn a_leak_that_is_gone_says_since_when_it_was_there() {
    let place = Session::new();
    let here = place.path();
    let last = report(here, "last", &[("t.py::a", "sleep 900"), ("t.py::a", "sleep 901")]);
    change(&last, "last", |report| report["session"]["started_at_unix_seconds"] = json!(1_795_651_200));
    report(here, "now", &[("t.py::a", "sleep 900")]);
    let night = merged(here, &["now", "--against", "last"], 0);
    let gone: &Value = &night["against"]["gone"][0];
    assert_eq!(gone["first_seen_unix_seconds"], json!(1_795_651_200.0), "{night:#}");
    let page = merge(here, &["now", "--against", "last", "--markdown", "-"]).stdout();
    assert!(page.contains("#### Gone\n") && page.contains("sleep 901 | 2026-11-26 |"), "{page}");
}
