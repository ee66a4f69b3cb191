//! Many containers of one session end at once. To measure with more:
//! `CGRUN_BENCH_CONTAINERS=200 cargo nextest run --profile proxy-bench --no-capture -E 'test(engines::many)'`

use std::process::Command;

use serde_json::Value;

use super::engine::{EngineKind, IMAGE};
use super::host::{output, text};
use super::leaked::in_test;
use super::proxied::{program, session};
use super::started::{client, engine};

const CONTAINERS: &str = "CGRUN_BENCH_CONTAINERS";

/// They ignore SIGTERM, so that each of them takes the whole grace.
fn many_containers_end_at_once_and_each_has_its_test(kind: EngineKind) {
    let wanted = std::env::var(CONTAINERS).ok();
    let count: u32 = wanted.as_ref().map_or(8, |it| it.parse().unwrap());
    let (grace, seconds_of_grace) = if wanted.is_some() { ("5s", 5.0) } else { ("1s", 1.0) };
    let engine = engine(kind);
    let run = format!("{} run --detach --network none {IMAGE} tail -f /dev/null", program(&engine));
    let script = format!("{}\nseq {count} | xargs -P 4 -I @ {run} >/dev/null", in_test("test_@"));
    let options = ["--grace", grace, "--report", "json=r.json"];
    let done = session(&engine, &options, &script);
    let said = text(&done.stderr);
    // A busy Docker can list what it has removed.
    let ids = text(&output(Command::new("sh").args(["-c", &client(&engine, "ps --all --quiet")])).stdout);
    let is_there = |id: &&str| {
        let inspect = client(&engine, &format!("inspect {id}"));
        output(Command::new("sh").args(["-c", &inspect])).status.success()
    };
    let there: Vec<_> = ids.lines().filter(is_there).collect();
    println!("{kind:?}: listed in spite of their removal: {}", ids.lines().count());
    assert_eq!((done.status.code(), there), (Some(0), Vec::new()), "{said}");
    let report = std::fs::read(engine.host.path().join("r.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let leftovers = report["leftovers"].as_array().unwrap();
    let is_named = |it: &&Value| {
        it["leaked"] == true && it["started_during"].as_str().is_some_and(|it| it.ends_with(" (call)"))
    };
    assert_eq!(leftovers.iter().filter(is_named).count(), count as usize, "{said}");

    let phases = report["teardown"]["phases"].as_array().unwrap();
    let phase = phases.iter().find(|it| it["name"] == "containers").unwrap();
    let seconds = |key: &str| phase[key].as_f64().unwrap();
    let took = seconds("ended_at_seconds") - seconds("started_at_seconds");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("{kind:?}: {count} containers ended in {took:.1} s; load {}", load.trim());
    // What docs/containers.md says.
    assert!(took < seconds_of_grace + 20.0 + 0.5 * f64::from(count), "{took} s: {said}");
}

with_both! {
    many_containers_end_at_once_and_each_has_its_test,
}
