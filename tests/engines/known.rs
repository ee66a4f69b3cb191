//! Containers that are in the list of known leaks (`cgrun-leaks.toml`).

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{output, text};
use super::leaked::in_test;
use super::proxied::{program, session_command};
use super::started::engine;
use crate::harness::{OF_CI, helpers, installed, python_program};

/// The words that start a container without a name, so that it has another one in each run.
fn run(engine: &Engine) -> String {
    format!("{} run --detach --network none {IMAGE} tail -f /dev/null >/dev/null", program(engine))
}

/// Leaks fail, and CI, which can run these tests, would not let the list be written. Returns what cgrun said.
fn session(engine: &Engine, options: &[&str], script: &str, code: i32) -> String {
    let options = [&["--on-leak", "fail", "--grace", "200ms", "--report", "json=r.json"], options].concat();
    let mut command = session_command(engine, &options, script);
    for name in OF_CI {
        command.env_remove(name);
    }
    let done = output(&mut command);
    let said = text(&done.stderr);
    assert_eq!((done.status.code(), engine.list().as_str()), (Some(code), ""), "{said}");
    said
}

fn report(engine: &Engine) -> Value {
    let (schema, file) = (installed("src/report/schema.json"), engine.host.path().join("r.json"));
    let mut reader = Command::new(python_program("python3"));
    let done = output(reader.arg(helpers().join("readers.py")).args([Path::new("json"), &schema, &file]));
    assert!(done.status.success(), "{}", text(&done.stdout));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn list(engine: &Engine, lines: &[&str]) {
    let text = format!("version = 1\nleaks = [\n{}]\n", lines.concat());
    std::fs::write(engine.host.path().join("cgrun-leaks.toml"), text).unwrap();
}

/// The lines of the list.
fn listed(engine: &Engine) -> Vec<String> {
    let text = std::fs::read_to_string(engine.host.path().join("cgrun-leaks.toml")).unwrap();
    text.lines().filter(|line| line.starts_with("  {")).map(str::to_owned).collect()
}

const OF_OLD: &str = "  { test = \"tests/test_shop.py::test_old\", program = \"container cgrun-test\" },";

fn with_a_baseline_only_a_new_container_fails(kind: EngineKind) {
    let engine = engine(kind);
    let once = run(&engine);
    let old =
        [in_test("test_old"), once.clone(), once.clone(), "unset PYTEST_CURRENT_TEST".into()].join("\n");
    let of_nobody = format!("{old}\n{once}");
    let said = session(&engine, &["--write-baseline"], &of_nobody, 0);
    let added = "added 2 lines to cgrun-leaks.toml: 3 containers, 2 of them of 1 test, leaked, and all are known from now on";
    assert!(said.contains(added), "{said}");
    assert_eq!(listed(&engine), [OF_OLD, "  { program = \"container cgrun-test\" },"]);

    let said = session(&engine, &[], &old, 0);
    assert_eq!(said, "cgrun: 2 known leaks of 1 test are in cgrun-leaks.toml\n");
    let found = report(&engine);
    assert_eq!(
        (&found["outcome"]["clean"], &found["outcome"]["verified_empty"]),
        (&json!(false), &json!(true))
    );
    let counts = [&found["leaked_container_count"], &found["baseline"]["known_container_count"]];
    assert_eq!(counts, [&json!(2); 2], "{found:#}");
    assert_eq!(found["baseline"]["not_seen"][0]["program"], "container cgrun-test", "{found:#}");
    assert!(found["leftovers"].as_array().unwrap().iter().all(|it| it["known"] == true), "{found:#}");

    let new = format!("{old}\n{}\n{once}\nsleep 900 &", in_test("test_new"));
    let said = session(&engine, &["-v"], &new, 121);
    assert!(said.contains("cgrun: 1 new container leaked, stopped and removed:\n"), "{said}");
    assert!(said.contains("cgrun:   tests/test_shop.py::test_new (call): "), "{said}");
    assert!(
        said.contains("cgrun: 2 known leaks, stopped:\ncgrun:   tests/test_shop.py::test_old (call): "),
        "{said}"
    );
    let found = report(&engine);
    let of_tests = found["tests"].as_array().unwrap();
    let test = |it: &Value| {
        format!("{}: {} {}", it["test"], it["leaked_process_count"], it["leaked_container_count"])
    };
    let of_tests: Vec<_> = of_tests.iter().map(test).collect();
    let expected = ["\"tests/test_shop.py::test_new\": 1 1", "\"tests/test_shop.py::test_old\": 0 2"];
    assert_eq!(of_tests, expected, "{found:#}");
    let test = &found["tests"][1];
    assert_eq!((&test["runner"], &test["phases"]), (&json!("pytest"), &json!(["call"])), "{test:#}");
    assert_eq!(
        (&test["containers"][0]["known"], test["containers"].as_array().unwrap().len()),
        (&json!(true), 2)
    );

    // An update lowers the bound, and removes what was not seen.
    list(
        &engine,
        &[
            &OF_OLD.replace("test_old", "test_*").replace(" }", ", at_most = 3 }"),
            "\n",
            OF_OLD.replace("test_old", "test_gone").as_str(),
            "\n",
        ],
    );
    let said = session(&engine, &["--update-baseline"], &old, 0);
    assert!(said.contains("lowered 1 bound in cgrun-leaks.toml, and removed 1 line:\n"), "{said}");
    assert_eq!(listed(&engine), [OF_OLD.replace("test_old", "test_*").replace(" }", ", at_most = 2 }")]);
}

with_both! {
    with_a_baseline_only_a_new_container_fails,
}
