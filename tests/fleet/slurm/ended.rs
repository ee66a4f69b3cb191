//! What ends a job of a cluster that is well: the suite itself, scancel, the time limit, preemption.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::Cluster;
use super::job::Job;
use crate::fleet::suite::Suites;
use crate::harness::until;

/// Ends more slowly than Slurm is patient.
const PATIENT: &str = "--grace 60s sh -c 'trap : TERM; setsid sleep 4321 & while :; do sleep 0.1; done'";

#[track_caller]
pub(super) fn assert_cause(report: Value, cause: &str) {
    assert_eq!(report["outcome"]["cause"], cause, "{report:#}");
    assert_eq!(report["outcome"]["verified_empty"], true, "{report:#}");
}

/// Slurm has removed the cgroups of a job that it has ended, so nothing of cgrun's was in the way.
pub(super) fn assert_no_cgroup(job: &Job) {
    until(&format!("the cgroups of job {} are gone: {:?}", job.id, job.cgroups()), || {
        job.cgroups().is_empty()
    });
}

#[test]
fn scancel_ends_a_suite_and_leaves_its_neighbour_alone() {
    let cluster = Cluster::start();
    let suites = Suites::within(&cluster.path().join("suites"));
    let neighbour = cluster.submit(&["-w", "n0"], "exec cgrun sh -c 'sleep 4321 & exec sleep 4321'");
    let neighbours = || cluster.processes("sleep 4321").len();
    until("the neighbour runs", || neighbours() == 2);
    // Whether cgrun gets the signal, or only a shell that dies of it, whereupon Slurm kills the rest.
    let ways = [("exec", "signal"), ("", "supervisor_died"), ("srun", "signal"), ("exec srun", "signal")];
    for (seed, (launcher, cause)) in (1..).zip(ways) {
        let script = format!("{launcher} {}; exit 1", cluster.suite(&suites, "", seed, 600.0));
        let job = cluster.submit(&["-w", "n0"], &script);
        suites.until_started(seed);
        assert_eq!(job.guardians().len(), 1, "{launcher}");
        job.cancel(&[]);
        job.until_over();
        assert_eq!(job.state(), "CANCELLED", "{launcher}");
        suites.until_all_are_gone();
        assert_cause(cluster.report(seed), cause);
        assert_no_cgroup(&job);
    }
    assert_eq!((neighbours(), neighbour.state().as_str()), (2, "RUNNING"));
}

/// After KillWait, Slurm kills cgrun and all processes that it sees. Its guardian is not among them.
#[test]
fn a_session_ends_even_if_slurm_kills_cgrun_and_all_that_it_sees() {
    let cluster = Cluster::start();
    let begin = |options: &str, seed: u32| {
        let report = format!("--report json=report-{seed}.json");
        let job = cluster.submit(&[], &format!("exec cgrun {report} {options} {PATIENT}"));
        until("the session has begun", || cluster.processes("sleep 4321").len() == 1);
        let began = Instant::now();
        job.cancel(&[]);
        job.until_over();
        assert_eq!(cluster.processes("sleep 4321"), [0; 0]);
        assert_no_cgroup(&job);
        began.elapsed()
    };
    assert!(begin("", 1) >= Duration::from_secs(4));
    assert_cause(cluster.report(1), "supervisor_died");
    assert!(begin("--stop-within 2s", 2) < Duration::from_secs(4));
    assert_cause(cluster.report(2), "signal");
}

/// Without options, `scancel --signal` signals only steps that srun has started.
#[test]
fn a_signal_of_scancel_reaches_what_the_page_says() {
    let cluster = Cluster::start();
    let suites = Suites::within(&cluster.path().join("suites"));
    let start = |launcher: &str, seed| {
        let job = cluster.submit(&[], &format!("{launcher} {}", cluster.suite(&suites, "", seed, 600.0)));
        suites.until_started(seed);
        job
    };
    let job = start("exec", 1);
    job.cancel(&["--signal", "TERM"]);
    assert_eq!(job.state(), "RUNNING");
    job.cancel(&["--batch", "--signal", "TERM"]);
    suites.until_all_are_gone();
    for (seed, launcher, options) in [(2, "exec", &["--full"][..]), (3, "srun", &[])] {
        let job = start(launcher, seed);
        job.cancel(&[options, &["--signal", "TERM"]].concat());
        suites.until_all_are_gone();
        job.until_over();
        assert_cause(cluster.report(seed), "signal");
    }
    job.until_over();
    assert_cause(cluster.report(1), "signal");
}

#[test]
fn a_time_limit_and_a_preemption_with_requeue_end_the_suite() {
    let cluster = Cluster::start();
    let suites = Suites::within(&cluster.path().join("suites"));
    let late = cluster.submit(&["-w", "n1"], &format!("exec {}", cluster.suite(&suites, "", 1, 600.0)));
    suites.until_started(1);
    late.run_out_of_time();

    let suite = cluster.suite(&suites, "", 2, 600.0);
    let script = format!("[ \"${{SLURM_RESTART_COUNT:-0}}\" = 0 ] || exec cgrun touch again\nexec {suite}");
    let preempted = cluster.submit(&["-w", "n0", "--exclusive"], &script);
    suites.until_started(2);
    let urgent = cluster.submit(&["-w", "n0", "--exclusive", "-p", "urgent"], "exec cgrun touch urgent");
    until("the urgent job has run", || cluster.path().join("urgent").exists());
    assert_cause(cluster.report(2), "signal");
    assert!(preempted.log().contains("DUE TO PREEMPTION"), "{}", preempted.log());
    urgent.until("COMPLETED");

    late.until_over();
    assert_eq!(late.state(), "TIMEOUT");
    assert!(late.log().contains("DUE TO TIME LIMIT"), "{}", late.log());
    assert_cause(cluster.report(1), "signal");
    preempted.until("COMPLETED");
    assert!(cluster.path().join("again").exists());
    suites.until_all_are_gone();
    assert_no_cgroup(&late);
}
