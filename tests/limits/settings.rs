//! The settings of limits in the session's cgroup, and the end of a session with limits.

use super::IN_SESSION;
use crate::harness::{Finished, Place, Session};

#[track_caller]
fn assert_prints(run: &Finished, words: &[&str]) {
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(run.stdout().split_whitespace().collect::<Vec<_>>(), words);
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn limits_are_set_as_configured() {
    // This also checks that no library of cgrun has started a thread.
    let script = format!(
        "{IN_SESSION}cat memory.max memory.oom.group memory.swap.max pids.max cpu.max; \
         grep Threads /proc/$PPID/status"
    );
    let config = "[limits]\nmemory = '64MiB'\nswap = 0\npids = 77\ncpus = '50%'\n";
    for place in Place::ALL {
        let run = Session::at(place).config(config).sh(&script).run();
        let memory = (64 << 20).to_string();
        assert_prints(&run, &[&memory, "1", "0", "77", "100000", "100000", "Threads:", "1"]);
    }
    let in_session = |script: &str| Session::at(Place::Root).sh(&format!("{IN_SESSION}{script}"));
    let run = in_session("cat cpuset.cpus.effective; nproc").config("[limits]\ncpuset = '1'\n").run();
    assert_prints(&run, &["1", "1"]);
    let run =
        in_session("cat pids.max; id -un").config(config).options(["--pids", "78", "--user", "tester"]).run();
    assert_prints(&run, &["78", "tester"]);
    // Two more for processes that cgrun itself needs.
    let run = in_session("cat pids.max").options(["--require", "cgroup+pidns", "--pids", "79"]).run();
    assert_prints(&run, &["81"]);
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn an_io_weight_without_effect_is_reported() {
    let script = format!("{IN_SESSION}cat io.weight io.bfq.weight 2>/dev/null; true");
    let run = Session::at(Place::Root).config("[limits]\nio_weight = 200\n").sh(&script).run();
    run.assert_code(0).assert_nothing_left();
    assert!(run.stdout().contains("default 200\n"), "{}", run.stdout());
    let disks = std::fs::read_dir("/sys/block").unwrap().flatten();
    let mut schedulers =
        disks.filter_map(|disk| std::fs::read_to_string(disk.path().join("queue/scheduler")).ok());
    let works = schedulers.any(|text| text.contains("[bfq]"))
        || std::fs::read_to_string("/sys/fs/cgroup/io.cost.qos").is_ok_and(|text| text.contains("enable=1"));
    let warned = run.stderr().contains("io_weight has no effect on this host");
    assert_eq!(warned, !works, "{}", run.stderr());
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn the_smallest_limits_are_enough_to_start() {
    let session = || Session::at(Place::Root).command(["true"]);
    let least = ["--memory", "1MiB", "--pids", "1", "--cpus", "0.01"];
    session().options(least).run().assert_code(0).assert_nothing_left();
    let config = "[limits]\npids = 2\n[services.web]\ncommand = ['sleep', '900']\nlimits = { pids = 1 }\n";
    for kind in ["cgroup", "cgroup+pidns"] {
        let run = session().options(["--require", kind, "--pids", "1"]).run();
        run.assert_code(0).assert_nothing_left();
        session().config(config).options(["--require", kind]).run().assert_code(0).assert_nothing_left();
    }
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_session_in_a_session_has_its_own_limits() {
    let inner = format!("exec $CGRUN --pids 30 sh -c '{IN_SESSION}cat pids.max'");
    for place in Place::SCOPES {
        let run = Session::at(place).options(["--pids", "60"]).sh(&inner).run();
        assert_prints(&run, &["30"]);
    }
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn the_guardian_cleans_up_a_session_with_limits() {
    for place in Place::SCOPES {
        for with_guardian in [false, true] {
            let session = Session::at(place).config("[limits]\npids = 50\nmemory = '64M'\n");
            let script = "(trap '' TERM; sleep 900) & setsid -f sleep 900; touch running; exec sleep 900";
            let run = session.sh(script).start();
            run.until_file("running");
            let run = run.kill_cgrun(with_guardian);
            if with_guardian {
                assert!(run.is_anything_left(), "nothing was left to sweep");
                run.cgrun(&["sweep"]).assert_code(0);
            }
            run.assert_nothing_left();
        }
    }
}
