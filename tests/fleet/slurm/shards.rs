//! The scripts of the documentation, as a user submits them.

use std::os::unix::fs::PermissionsExt;

use super::cluster::{Cluster, example};
use crate::harness::until;

/// Leaks in shard 2, and fails in shard 3.
const PYTEST: &str = "#!/bin/sh\n[ \"$1 $3 $4\" = '--shard-id --num-shards 4' ] || exit 9\n\
                      [ \"$2\" != 2 ] || PYTEST_CURRENT_TEST='test_shop.py::test_mail (call)' setsid sleep 4321 &\n\
                      [ \"$2\" != 3 ]\n";

#[test]
fn an_array_of_shards_becomes_one_report() {
    let cluster = Cluster::start();
    let scripts = ["suite.sbatch", "merge.sbatch", "submit.sh"];
    let files = scripts.map(|name| (name, example(name))).into_iter().chain([("bin/pytest", PYTEST.into())]);
    for (name, text) in files {
        std::fs::write(cluster.path().join(name), text).unwrap();
    }
    std::fs::set_permissions(cluster.path().join("bin/pytest"), PermissionsExt::from_mode(0o755)).unwrap();
    let said = cluster.ask(&["sh", "submit.sh"]);
    let merge = cluster.job(said.rsplit(' ').next().unwrap());
    merge.until_over();
    let suite: u32 = merge.id.parse::<u32>().unwrap() - 1;
    let read = |name: String| {
        std::fs::read_to_string(cluster.path().join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let merged: serde_json::Value = serde_json::from_str(&read(format!("reports/{suite}.json"))).unwrap();
    assert_eq!(merged["sessions"].as_array().map(Vec::len), Some(4), "{merged:#}");
    assert!(read(format!("reports/{suite}.xml")).contains("test_shop.py::test_mail"));
    // A leak fails the merge, as the leak has failed its shard.
    assert_eq!(merge.state(), "FAILED", "{}", read(format!("merge-{}.log", merge.id)));
    assert!(read(format!("suite-{suite}_2.log")).contains("test_shop.py::test_mail"));

    // Shard 1 has been lost with its node, say. Its report is missed.
    std::fs::remove_file(cluster.path().join(format!("reports/{suite}/1.json"))).unwrap();
    let again = cluster.job(&cluster.ask(&["sbatch", "--parsable", "merge.sbatch", &suite.to_string(), "4"]));
    again.until_over();
    assert_eq!(again.state(), "FAILED");
    until("the log is written", || {
        read(format!("merge-{}.log", again.id)).contains(&format!("reports/{suite}/1.json"))
    });
}

/// An ordinary user's processes are all in the cgroup of the task.
#[test]
fn the_session_of_an_ordinary_user_ends_without_a_cgroup() {
    let cluster = Cluster::start();
    let out = cluster.path().join("user");
    std::fs::create_dir(&out).unwrap();
    std::fs::set_permissions(&out, PermissionsExt::from_mode(0o777)).unwrap();
    let script = "#!/bin/sh\ncgrun doctor --json >doctor.json\n\
                  exec cgrun --grace 60s --report json=report.json sh -c 'trap : TERM; setsid sleep 4321 & while :; do sleep 0.1; done'\n";
    std::fs::write(out.join("suite.sh"), script).unwrap();
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let sbatch = ["sbatch", "--parsable", "--chdir", out.to_str().unwrap(), "--output=log", "user/suite.sh"];
    let start = || {
        let job = cluster.job(&cluster.ask(&[&user[..], &sbatch].concat()));
        until("the session has begun", || cluster.processes("sleep 4321").len() == 1);
        job
    };
    let job = start();
    let doctor: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("doctor.json")).unwrap()).unwrap();
    assert_eq!(doctor["containment"], "pidns", "{doctor:#}");
    job.cancel(&[]);
    job.until_over();
    assert_eq!(cluster.processes("sleep 4321"), [0; 0]);
    super::ended::assert_no_cgroup(&job);

    // Slurm can reach none of its processes any more. The Epilog can.
    let job = start();
    job.kill(&job.slurmstepd());
    job.cancel(&[]);
    job.until_over();
    until("the session has ended", || cluster.processes("sleep 4321").is_empty());
}
