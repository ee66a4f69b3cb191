//! Random sessions, and random signals to whoever is in them: nothing survives. See `scripts/chaos`.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const RUNS: &str = "120";

fn unleash(seed: u64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/chaos");
    let output = Command::new(script)
        .args([RUNS, &seed.to_string()])
        .env("CGRUN", env!("CARGO_BIN_EXE_cgrun"))
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Shown where the test fails; it names the seeds that do.
    println!("{said}{errors}");
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(said.lines().last(), Some(&*format!("chaos: {RUNS} runs, 0 survivors, 0 failures")));
}

#[test]
fn chaos_that_was_seen_before() {
    unleash(20_000);
}

#[test]
fn chaos_of_today() {
    unleash(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
}
