//! What ends a job of a cluster that is well: the suite itself, scancel, the time limit, preemption.

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

fn scancel_ends_a_suite_and_leaves_its_neighbour_alone(cluster: &Cluster) {
    let suites = Suites::within(&cluster.path().join("cancelled"));
    let neighbour = cluster.submit(&["-w", "n0"], "exec cgrun sh -c 'sleep 4321 & exec sleep 4321'");
    let neighbours = || cluster.processes("sleep 4321").len();
    until("the neighbour runs", || neighbours() == 2);
    // Whether cgrun gets the signal, or only a shell that dies of it, whereupon Slurm kills the rest.
    let ways = [("exec", "signal"), ("", "supervisor_died"), ("srun", "signal"), ("exec srun", "signal")];
    for (seed, (launcher, cause)) in (11..).zip(ways) {
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
        job.cancel(&[]);
        job.until_over();
        assert_eq!(cluster.processes("sleep 4321"), [0; 0]);
        assert_no_cgroup(&job);
    };
    begin("", 1);
    assert_cause(cluster.report(1), "supervisor_died");
    begin("--stop-within 2s", 2);
    assert_cause(cluster.report(2), "signal");
}

/// Without options, `scancel --signal` signals only steps that srun has started.
#[test]
fn a_signal_of_scancel_reaches_what_the_page_says() {
    let cluster = Cluster::start();
    let suites = Suites::within(&cluster.path().join("suites"));
    let has = |name| cluster.path().join(name).exists();
    let deaf = cluster.submit(
        &[],
        "trap 'touch usr1' USR1; trap 'touch usr2' USR2; touch traps; while :; do sleep 0.1; done",
    );
    until("the script has its traps", || has("traps"));
    deaf.cancel(&["--signal", "USR1"]);
    deaf.cancel(&["--batch", "--signal", "USR2"]);
    until("the script got the second signal", || has("usr2"));
    assert!(!has("usr1"), "the script got the first signal");
    deaf.cancel(&[]);
    let ways = [(1, "exec", &["--batch"][..]), (2, "exec", &["--full"]), (3, "srun", &[])];
    for (seed, launcher, options) in ways {
        let job = cluster.submit(&[], &format!("{launcher} {}", cluster.suite(&suites, "", seed, 600.0)));
        suites.until_started(seed);
        job.cancel(&[options, &["--signal", "TERM"]].concat());
        suites.until_all_are_gone();
        job.until_over();
        assert_cause(cluster.report(seed), "signal");
    }
}

/// Slurm looks for what has run out of time every 30 seconds, so others end meanwhile.
#[test]
fn a_time_limit_ends_the_suite_and_so_do_a_preemption_scancel_and_the_death_of_what_held_it() {
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
    preempted.until("COMPLETED");
    assert!(cluster.path().join("again").exists());

    scancel_ends_a_suite_and_leaves_its_neighbour_alone(&cluster);
    super::lost::a_session_ends_with_whatever_held_it(&cluster);

    late.until_over();
    assert_eq!(late.state(), "TIMEOUT");
    assert!(late.log().contains("DUE TO TIME LIMIT"), "{}", late.log());
    assert_cause(cluster.report(1), "signal");
    suites.until_all_are_gone();
    assert_no_cgroup(&late);
}
