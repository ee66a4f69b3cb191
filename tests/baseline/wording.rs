//! What is said of a baseline, and what reports say of it.

use serde_json::json;

use super::{FILE, OLD, json_report, list, listed, suite, with_baseline};
use crate::harness::Session;

#[test]
fn known_leaks_of_no_test_are_not_counted_as_leaks_of_tests() {
    let both = list(&[r#"test = "t.py::a", program = "sleep 901""#, r#"program = "sleep 902""#]);
    let script = "PYTEST_CURRENT_TEST='t.py::a (call)' sleep 901 & sleep 902 & sleep 902 &";
    let run = Session::new().file(FILE, &both).sh(script).run();
    run.assert_said("3 known leaks, 1 of them of 1 test, are in cgrun-leaks.toml").assert_nothing_left();
    let run = Session::again().options(["--write-baseline"]).sh(script).run();
    run.assert_said("3 processes, 1 of them of 1 test, leaked, and all are known from now on");
    run.assert_nothing_left();
    let run = Session::again().file(FILE, &both).sh("sleep 902 &").run();
    run.assert_said("1 known leak is in cgrun-leaks.toml").assert_nothing_left();
}

#[test]
fn an_update_names_what_it_removes_and_counts_what_is_left() {
    let lines = [
        r#"test = "gone/test_x.py::test_y", program = "sleep 1""#,
        r#"test = "test_it.py::test_both", program = "sleep 902", at_most = 3"#,
        r#"test = "test_it.py::test_old", program = "sleep 901""#,
        r#"test = "test_it.py::test_then", program = "sleep 2""#,
    ];
    let session = suite(Session::new(), OLD).file(FILE, list(&lines));
    let run = session.options(["--update-baseline", "--report", "json=r.json"]).run();
    run.assert_said(
        "lowered 1 bound in cgrun-leaks.toml, and removed 2 lines:\n\
         cgrun:   gone/test_x.py::test_y: sleep 1 (gone/test_x.py does not exist)\n\
         cgrun:   test_it.py::test_then: sleep 2\n",
    );
    run.assert_code(0).assert_nothing_left();
    assert_eq!(listed(&run).len(), 2);
    let report = json_report(&run);
    assert_eq!(report["baseline"]["entry_count"], json!(2), "{:#}", report["baseline"]);
    assert_eq!(report["baseline"]["not_seen"].as_array().unwrap().len(), 2);
    let written = with_baseline(&list(&[lines[2]]), OLD);
    let written = written.options(["--write-baseline", "--report", "json=r.json"]).run();
    written.assert_code(0).assert_nothing_left();
    assert_eq!(json_report(&written)["baseline"]["entry_count"], json!(2));
}
