//! What a cluster can lose while a job runs: its daemons, a node, the processes of cgrun or Slurm that hold the job.

use super::cluster::Cluster;
use super::ended::{assert_cause, assert_no_cgroup};
use super::job::Job;
use crate::fleet::suite::Suites;
use crate::harness::until;

/// A suite of this seed that runs, and its job.
fn start<'a>(cluster: &'a Cluster, suites: &Suites, seed: u32) -> Job<'a> {
    let script = format!("exec {}", cluster.suite(suites, "", seed, 600.0));
    let job = cluster.submit(&["-w", "n0"], &script);
    suites.until_started(seed);
    job
}

#[test]
fn a_job_outlives_its_daemons_and_a_node_drain_until_scancel() {
    let cluster = Cluster::start();
    let suites = Suites::within(&cluster.path().join("suites"));
    let job = start(&cluster, &suites, 1);
    // A controller that is killed forgets what it has not saved yet.
    cluster.ask(&["scontrol", "update", &format!("JobId={}", job.id), "Comment=remembered"]);
    let saved = || std::fs::read(cluster.path().join("state/job_state")).unwrap_or_default();
    until("the job is saved", || saved().windows(10).any(|it| it == b"remembered"));
    cluster.kill_and_restart("slurmctld");
    cluster.kill_and_restart("n0");
    cluster.ask(&["scontrol", "update", "node=n0", "state=drain", "reason=test"]);
    until("the node drains", || cluster.ask(&["sinfo", "-h", "-n", "n0", "-o", "%T"]).contains("draining"));
    assert_eq!(job.state(), "RUNNING");
    let leader =
        |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("suite1-");
    assert!(suites.alive().iter().any(leader));
    job.cancel(&[]);
    job.until_over();
    assert_cause(cluster.report(1), "signal");
    suites.until_all_are_gone();
    assert_no_cgroup(&job);
}

/// [`ended`](super::ended) has a cluster for it.
pub(super) fn a_session_ends_with_whatever_held_it(cluster: &Cluster) {
    let suites = Suites::within(&cluster.path().join("lost"));
    let job = start(cluster, &suites, 21);
    job.kill(&job.seen_by_slurm());
    job.until_over();
    suites.until_all_are_gone();
    assert_cause(cluster.report(21), "supervisor_died");
    assert_no_cgroup(&job);

    // Only the Epilog can end that, by its sweep.
    let job = start(cluster, &suites, 22);
    job.kill(&[job.seen_by_slurm(), job.guardians()].concat());
    job.until_over();
    suites.until_all_are_gone();
    assert!(!cluster.has_report(22));
    assert_no_cgroup(&job);

    // Slurm can reach none of its processes any more.
    let job = start(cluster, &suites, 23);
    job.kill(&job.slurmstepd());
    job.cancel(&[]);
    job.until_over();
    suites.until_all_are_gone();
    assert_cause(cluster.report(23), "signal");
}
