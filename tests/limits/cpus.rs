//! Limits of CPU time and of the set of CPUs.

use super::{IN_SESSION, numbers, row};
use crate::harness::{Finished, Place, Session};

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_cpu_burner_gets_its_share_and_no_more() {
    for (place, workers) in [(Place::Root, "1"), (Place::User, "2")] {
        let session = Session::at(place).options(["-v", "--cpus", "0.5"]);
        let run = session.helper("hungry.py", &["burn", "5", workers]).run();
        run.assert_code(0).assert_nothing_left();
        let line = r"throttled: the session exceeded its limit of 0.5 CPUs in (\d+) of (\d+) periods";
        let [throttled, periods] = numbers(line, &run.stderr());
        assert!(throttled >= 0.8 * periods, "{}", run.stderr());
        // Compares the time that the kernel counted with the time that it should have granted. A period is
        // 100 ms.
        let [user, system] = numbers(r"session +([\d.]+) s +([\d.]+) s", &row(&run, "session"));
        let share = (user + system) / (periods * 0.1);
        assert!((0.45..=0.55).contains(&share), "{share}\n{}", run.stderr());
        // The time that the burner counted itself.
        let [used, wall] = numbers(r"([\d.]+) of ([\d.]+)", &run.stdout());
        assert!((0.45..=0.55).contains(&(used / wall)), "{}", run.stdout());
    }
    // Every program is throttled for a moment while it starts.
    let run = Session::at(Place::Root).options(["--cpus", "0.5"]).command(["python3", "-c", "pass"]).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
}

#[track_caller]
fn assert_prints(run: &Finished, words: &[&str]) {
    assert_eq!(run.stdout().split_whitespace().collect::<Vec<_>>(), words, "{}", run.stderr());
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_set_of_cpus_is_reduced_to_those_of_the_host() {
    // The machine has two.
    let config =
        "[limits]\ncpuset = '0-3'\n[services.web]\ncommand = ['sleep', '900']\nlimits = { cpuset = '1-8' }\n";
    let session = |config: &str| Session::at(Place::Root).config(config);
    let run = session(config).sh(&format!("{IN_SESSION}cat cpuset.cpus service.web/cpuset.cpus")).run();
    run.assert_code(0).assert_nothing_left();
    assert_prints(&run, &["0-1", "1"]);
    for whose in ["the session's", "service web's"] {
        run.assert_matches(&format!("{whose} limit of the CPUs [^ ]* exceeds what this host has"));
    }
    // A warning about one limit is printed even if another limit is refused.
    let run = session(&config.replace("1-8", "7")).command(["true"]).run();
    run.assert_code(125).assert_nothing_left();
    run.assert_said("cannot limit cpuset of service web: 7 contains none of this host's CPUs");
    run.assert_said("the session's limit of the CPUs ");
    let session_7 = session(&config.replace("1-8", "7")).options(["--limits-best-effort"]);
    let run = session_7.sh(&format!("{IN_SESSION}cat cpuset.cpus")).run();
    run.assert_code(0)
        .assert_said("running without a limit on cpuset of service web: 7 contains none of this")
        .assert_nothing_left();
    assert_prints(&run, &["0-1"]);
    let run = session(&config.replace("0-3", "0").replace("1-8", "1")).command(["true"]).run();
    run.assert_code(125).assert_nothing_left();
    run.assert_said(
        "cannot limit cpuset of service web: 1 contains none of the session's CPUs, which are 0;",
    );
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_set_of_cpus_is_reduced_to_those_of_the_unit() {
    let session = |config: &str| Session::at(Place::DelegatedOneCpu).config(config);
    let run = session("[limits]\ncpuset = '1'\n").command(["true"]).run();
    run.assert_code(125).assert_nothing_left();
    run.assert_said("cannot limit cpuset: the cgroups above grant only CPUs 0 and none of 1; ");
    let run = session("[limits]\ncpuset = '0-1'\n").command(["nproc"]).run();
    run.assert_code(0)
        .assert_said("cpuset: of CPUs 0-1, the cgroups above grant only 0")
        .assert_nothing_left();
    assert_prints(&run, &["1"]);
}
