//! Random sessions that receive random signals: nothing survives. See `scripts/chaos`.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::witness_program;

/// `scripts/chaos` runs more.
const RUNS: &str = "40";

fn run_chaos(seed: u64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/chaos");
    let output = Command::new(script)
        .args([RUNS, &seed.to_string()])
        .env("CGRUN", env!("CARGO_BIN_EXE_cgrun"))
        .env("WITNESS", witness_program())
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A failed test shows this; it names the seeds that failed.
    println!("{said}{errors}");
    assert!(output.status.success(), "{}", output.status);
    let expected = format!("chaos: {RUNS} runs, 0 survivors, 0 false alarms, 0 failures");
    assert!(said.lines().any(|line| line == expected));
    let strangers = said.lines().last().unwrap();
    assert!(strangers.ends_with(" strangers, 0 killed") && strangers != "chaos: 0 strangers, 0 killed");
}

#[test]
fn chaos_from_a_fixed_seed() {
    run_chaos(20_000);
}

#[test]
fn chaos_from_the_clock() {
    run_chaos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
}
