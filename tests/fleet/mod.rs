//! cgrun inside what distributes tests over machines: real engines, which cancel jobs, give them too little time,
//! preempt them, and die. `scripts/fleet` runs many jobs with random deaths.

mod buildbot;
mod kubernetes;
mod reaping;
mod slurm;
mod ssh;
mod suite;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many jobs a test with random deaths runs: a few here, as many as it is told to with `scripts/fleet`.
fn jobs(otherwise: u32) -> u32 {
    std::env::var("CGRUN_FLEET_JOBS").map_or(otherwise, |it| it.parse().unwrap())
}

/// What the random deaths are drawn from.
fn seed() -> u32 {
    std::env::var("CGRUN_FLEET_SEED").map_or(0, |it| it.parse().unwrap())
}

/// The way in which a job dies. Few jobs have different ones, and many have all; the seed says which is first.
fn in_turn<T: Copy>(all: &[T], job: u32) -> T {
    all[(seed() as usize + job as usize) % all.len()]
}

/// The median and the longest of some times, in seconds; NaN if there are none.
fn median_and_longest(times: impl IntoIterator<Item = Duration>) -> (f64, f64) {
    let mut times: Vec<_> = times.into_iter().map(|it| it.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let at = |index: usize| times.get(index).copied().unwrap_or(f64::NAN);
    (at(times.len() / 2), at(times.len().wrapping_sub(1)))
}

/// A program of the engines that come from PyPI.
fn program(name: &str) -> PathBuf {
    root().join("target/fleet/venv/bin").join(name)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
