//! What a session may cost, in counts that depend neither on the speed of the machine nor on its load. A ceiling is about
//! 15 % above the count at the time of writing. Lower it after making cgrun cheaper. `scripts/bench` measures times.

use std::collections::HashMap;

use crate::harness::{Finished, Session, cgrun_program, helpers, private_shared_memory};

/// Runs `cgrun true` through a program that counts. The environment is fixed: cargo's makes the loader search
/// more directories.
fn count(launcher: &[&str]) -> Finished {
    // What others have left there is read.
    private_shared_memory();
    let cgrun = cgrun_program();
    let fixed = ["env", "-i", "PATH=/usr/bin:/bin"];
    let launcher = [&fixed, launcher, &[cgrun.to_str().unwrap()]].concat();
    let run = Session::new().command(["true"]).start_through(&launcher).finish();
    run.assert_code(0).assert_nothing_left();
    run
}

/// The calls by system call, including those of the guardian and of `true` itself.
fn system_calls() -> HashMap<String, usize> {
    let counts = count(&["strace", "-f", "-c", "-U", "calls,name", "-o", "counts"]).read("counts");
    let rows = counts.lines().filter_map(|line| {
        let (calls, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_string(), calls.parse().ok()?))
    });
    rows.collect()
}

/// Medians of some runs: page faults and voluntary context switches, also with those of `true`.
fn usage() -> [u64; 2] {
    let helper = helpers().join("usage.py");
    let stdout = count(&["python3", helper.to_str().unwrap(), "9"]).read("stdout");
    let figures: Vec<u64> = stdout.split_whitespace().map(|it| it.parse().unwrap()).collect();
    figures.try_into().unwrap()
}

#[test]
fn a_session_makes_few_system_calls() {
    let calls = system_calls();
    // 322, of which 29 are made by `true`.
    assert!(calls["total"] <= 345, "{calls:?}");
}

#[test]
fn a_session_starts_only_its_guardian_and_its_command() {
    let calls = system_calls();
    let created = ["fork", "vfork", "clone", "clone3"].iter().filter_map(|it| calls.get(*it)).sum::<usize>();
    assert_eq!(created, 2, "{calls:?}");
    // cgrun itself and `true`.
    assert_eq!(calls["execve"], 2, "{calls:?}");
}

#[test]
fn a_session_touches_few_pages_and_rarely_waits() {
    let [page_faults, waits] = usage();
    // 540 to 733 of the same program, depending on how it got into the page cache. The static build has 190.
    assert!(page_faults <= 790, "{page_faults} page faults");
    // 6 to 9.
    assert!(waits <= 14, "{waits} voluntary context switches");
}
