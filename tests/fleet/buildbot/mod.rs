//! Buildbot: a master and two workers. What ends a build there leaves nothing, and the reports of the shards become one.

mod death;
mod deaths;
mod farm;
mod shard;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::Session;
use farm::Farm;
use shard::{LONG, SHORT, Shard};

/// Buildbot's results.
const SUCCESS: u64 = 0;
const FAILURE: u64 = 2;
const RETRY: u64 = 5;
const CANCELLED: u64 = 6;

/// Buildbot's patience with a command.
const SOON: [(&str, &str); 4] = [
    ("timeout=20 * 60", "timeout=3"),
    ("maxTime=2 * 60 * 60", "maxTime=6"),
    ("sigtermTime=20", "sigtermTime=5"),
    ("--stop-within=15s", "--stop-within=3s"),
];

/// The first two shards wait for each other, so they run at once.
const PYTEST: &str = "#!/bin/sh\n\
    touch {farm}/shard-$1\n\
    [ $1 -gt 2 ] || until [ -e {farm}/shard-$((3 - $1)) ]; do sleep 0.05; done\n\
    exec {python} -m pytest -q -p no:cacheprovider test_shop.py -k part$1\n";
const TESTS: &str = "import subprocess\n\
    def test_part1(): pass\n\
    def test_part2(): subprocess.Popen(['sleep', '901'])\n\
    def test_part3(): pass\n";

#[test]
fn buildbot_runs_shards_on_both_workers_and_shows_one_report() {
    let pytest = PYTEST.replace("{python}", crate::fleet::program("python").to_str().unwrap());
    let farm = Farm::start(&pytest, &[("test_shop.py", TESTS)], &[("SHARDS = 4", "SHARDS = 3")]);
    let night = farm.force_night();
    farm.until_complete(night);
    assert_eq!(farm.results(night), [FAILURE], "a leak fails the shard and the night");

    let shards = farm.get("builders/shard/builds?property=workername&order=number");
    let workers: Vec<_> =
        shards["builds"].as_array().unwrap().iter().map(|it| &it["properties"]["workername"][0]).collect();
    assert_eq!(workers.len(), 3, "{shards}");
    assert!(["worker1", "worker2"].iter().all(|it| workers.contains(&&json!(it))), "{workers:?}");
    for (number, code) in [(1, 0), (2, 121), (3, 0)] {
        assert_eq!(farm.report(1, number)["outcome"]["exit_code"], code, "shard {number}");
    }

    let sets = farm.get("test_result_sets");
    let set = &sets["test_result_sets"][0];
    assert_eq!((&set["tests_passed"], &set["tests_failed"]), (&json!(2), &json!(2)), "{set}");
    let results = farm.get(&format!("test_result_sets/{}/results", set["test_result_setid"]));
    let leaking = json!("leaks: test_shop.py::test_part2");
    let is_named = |it: &serde_json::Value| it["test_name"] == leaking && it["value"] == "0";
    assert!(results["test_results"].as_array().unwrap().iter().any(is_named), "{results}");
    let build = farm.builds(night)[0].clone();
    let page = farm.text(&format!("builds/{}/steps/merge/logs/report/raw", build["buildid"]));
    assert!(page.contains("test_part2") && page.contains("sleep 901"), "{page}");
    assert!(build["state_string"].as_str().unwrap().contains("2 passed, 2 failed"), "{build}");
    farm.until_no_session_is_left();
}

#[test]
fn a_build_of_buildbot_that_is_stopped_in_the_web_interface_leaves_nothing() {
    let farm = Farm::start(&shard::script(), &[], &[("SHARDS = 4", "SHARDS = 2")]);
    let shards = [1, 2].map(|number| Shard::prepare(farm.path(), number, LONG));
    let night = farm.force_night();
    shards.iter().for_each(|shard| shard.until_started(1));
    let build = farm.builds(night)[0]["buildid"].clone();
    farm.control(&format!("builds/{build}"), "stop", &json!({ "reason": "not needed" })).unwrap();
    shards.iter().for_each(|shard| shard.until_gone(1));
    farm.until_complete(night).until_no_session_is_left();
    assert_eq!(farm.results(night), [CANCELLED]);
    let builds = farm.get("builders/shard/builds?field=results");
    assert_eq!(builds["builds"], json!([{ "results": CANCELLED }, { "results": CANCELLED }]));
    // Each cgrun was asked, and has answered; the night has waited for them.
    for number in [1, 2] {
        assert_eq!(farm.report(1, number)["outcome"]["cause"], "signal");
    }
    let state = &farm.builds(night)[0]["state_string"];
    assert!(state.as_str().unwrap().contains("merged: "), "{state}");
    let merged = std::fs::read(farm.path().join("reports/1/night.json")).unwrap();
    let merged: serde_json::Value = serde_json::from_slice(&merged).unwrap();
    assert_eq!(merged["sessions"].as_array().unwrap().len(), 2, "{merged}");
    assert!(shards.iter().all(|shard| !shard.has_ended(1)));
}

#[test]
fn a_build_of_buildbot_that_runs_out_of_time_leaves_nothing() {
    let farm = Farm::start(&shard::script(), &[], &SOON);
    let shards = [1, 2, 3].map(|number| Shard::prepare(farm.path(), number, LONG));
    let [silent, noisy, orphaned] = &shards;
    noisy.make_noisy();
    let [first, second] = [1, 2].map(|number| farm.force_shard(number));
    farm.until_complete(first).until_complete(second);
    // Nothing ends this session until the next step, or that of another build. What is left of it holds the output of its
    // step, which therefore is silent for too long.
    let requests = [first, second, farm.force_shard(3)];
    orphaned.until_started(1);
    assert!(orphaned.kill_cgrun(1, true));
    shards.iter().for_each(|shard| shard.until_gone(1));
    let mut logs = Vec::new();
    for request in requests {
        farm.until_complete(request);
        assert_eq!(farm.results(request), [FAILURE]);
        logs.push(farm.log(request, "tests"));
    }
    farm.until_no_session_is_left();
    let whys = ["3 seconds without output", "6 seconds elapsed", "3 seconds without output"];
    for (log, why) in logs.iter().zip(whys) {
        assert!(log.contains(why), "{log}");
    }
    for number in [1, 2] {
        assert_eq!(farm.report(0, number)["outcome"]["cause"], "signal");
    }
    assert!(!silent.has_ended(1) && !noisy.has_ended(1));
    assert!(!farm.report_path(0, 3).exists());
    let swept = farm.log(requests[2], "sweep_1");
    assert!(swept.contains("cgrun: ended session"), "{swept}");
}

#[test]
fn a_worker_of_buildbot_that_is_killed_leaves_nothing_and_another_one_repeats_the_build() {
    let mut farm = Farm::start(&shard::script(), &[], &[]);
    let shard = Shard::prepare(farm.path(), 1, LONG);
    let request = farm.force_shard(1);
    shard.until_started(1);
    shard.set_seconds(SHORT);
    let (killed, place) = (shard.worker(1), shard.place(1));
    farm.kill_worker(killed);
    shard.until_gone(1);
    farm.until_complete(request).until_no_session_is_left();
    let results = farm.results(request);
    assert!(matches!(results[..], [RETRY, SUCCESS | FAILURE]), "{results:?}");
    assert!(shard.has_ended(2) && shard.worker(2) != killed);
    assert_eq!(farm.report(0, 1)["outcome"]["cause"], "command_ended");
    // Nothing can upload the report of the first attempt. It is where the worker ran it.
    let report = std::fs::read(place.join("cgrun.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["outcome"]["cause"], "parent_exited", "{report}");
}

#[test]
fn a_build_whose_buildbot_master_dies_leaves_nothing() {
    let mut farm = Farm::start(&shard::script(), &[], &[]);
    let shards = [1, 2].map(|number| Shard::prepare(farm.path(), number, LONG));
    let [restarted, killed] = &shards;

    // The master stops its builds itself, and waits for them.
    let request = farm.force_shard(1);
    restarted.until_started(1);
    farm.end_master(Signal::SIGTERM);
    assert_eq!(restarted.alive(1), 0);
    farm.start_master();
    farm.until_complete(request);
    assert_eq!(farm.results(request), [CANCELLED]);
    assert_eq!(farm.report(0, 1)["outcome"]["cause"], "signal");

    // The worker loses its connection, ends the step, and connects again.
    let request = farm.force_shard(2);
    killed.until_started(1);
    killed.set_seconds(SHORT);
    farm.end_master(Signal::SIGKILL);
    killed.until_gone(1);
    farm.start_master();
    farm.until_complete(request).until_no_session_is_left();
    assert!(killed.has_ended(2), "{:?}", farm.builds(request));
    assert_eq!(farm.results(request)[0], RETRY);
    assert_eq!(farm.report(0, 2)["outcome"]["cause"], "command_ended");
}

#[test]
fn the_unit_of_a_worker_is_valid() {
    let example = crate::fleet::root().join("docs/examples/fleet/buildbot/buildbot-worker.service");
    let unit = std::fs::read_to_string(example).unwrap();
    let unit =
        unit.replace("/usr/local/bin/cgrun", "/bin/true").replace("/opt/buildbot/bin/twistd", "/bin/true");
    let session = Session::new().file("buildbot-worker.service", unit);
    let verify = "systemd-analyze verify --man=no ./buildbot-worker.service";
    session
        .start_through(&["sh", "-c", verify])
        .finish()
        .assert_code(0)
        .assert_silent()
        .assert_nothing_left();
}
