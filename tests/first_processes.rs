//! The first process of a container is often a program that does not reap, or cgrun itself.

use std::process::Command;

use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::{Pid, getsid};

use crate::harness::{Finished, Running, Session, cgrun_program, helpers};

/// Runs a command as the first process of a PID namespace.
fn run_as_first(session: Session, command: &[&str]) -> Finished {
    let unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    session.start_through(&[&unshare, command].concat()).finish()
}

#[test]
fn sessions_leave_no_zombie_if_the_first_process_does_not_reap() {
    let helper = helpers().join("first_process.py");
    let command = ["python3", helper.to_str().unwrap(), "20", "sh", "-c", "exec $CGRUN \"$@\"", "sh"];
    for script in ["true", "setsid -f sleep 900; (sleep 900 &)"] {
        let run = run_as_first(Session::new().sh(script), &command);
        run.assert_code(0).assert_nothing_left();
        assert_eq!(run.stdout(), "");
    }
}

#[test]
fn a_replaced_guardian_leaves_no_zombie() {
    let helper = helpers().join("first_process.py");
    let command = ["python3", helper.to_str().unwrap(), "3", "sh", "-c", "exec $CGRUN \"$@\"", "sh"];
    let kill = "for stat in /proc/[0-9]*/stat; do \
        if [ \"$(cut -d' ' -f2,4,6 $stat 2>/dev/null)\" = \"(cgrun) $PPID ${stat//[!0-9]/}\" ]; then \
        kill -9 ${stat//[!0-9]/}; touch killed; fi; done; sleep 0.2";
    let run = run_as_first(Session::new().command(["bash", "-c", kill]), &command);
    run.assert_code(0).assert_nothing_left().assert_said("another one takes its place");
    assert!(run.path().join("killed").exists());
    assert_eq!(run.stdout(), "");
}

/// Starts cgrun as the first process of a PID namespace.
fn start_as_first(session: Session, launcher: &[&str]) -> Running {
    let cgrun = cgrun_program();
    let unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    session.start_through(&[&unshare, launcher, &[cgrun.to_str().unwrap()]].concat())
}

/// The first process of the namespace.
fn first(run: &Running) -> Pid {
    let children = format!("/proc/{0}/task/{0}/children", run.pid());
    Pid::from_raw(std::fs::read_to_string(children).unwrap().trim().parse().unwrap())
}

/// Runs a script beside the session, as `docker exec` does.
fn exec(run: &Running, script: &str) {
    let first = first(run).to_string();
    let inside = ["--target", &first, "--pid", "--mount", "sh", "-c", script];
    let status = Command::new("nsenter").args(inside).env_clear().env("PATH", "/usr/bin:/bin").status();
    assert!(status.unwrap().success());
}

const UNTIL_GO: &str = "touch running; until [ -e go ]; do sleep 0.02; done";

fn assert_spares_what_is_executed_beside(launcher: &[&str]) {
    let run = start_as_first(Session::new().options(["--on-leak", "fail"]).sh(UNTIL_GO), launcher);
    run.until_file("running");
    exec(&run, "setsid -f sleep 901; (sleep 902 &)");
    std::fs::write(run.path().join("go"), "").unwrap();
    let run = run.finish();
    run.assert_code(0).assert_nothing_left();
    assert!(!run.stderr().contains("leaked"), "{}", run.stderr());
}

#[test]
fn what_is_executed_beside_the_session_is_not_a_leak_in_a_cgroup() {
    assert_spares_what_is_executed_beside(&[]);
}

#[test]
fn what_is_executed_beside_the_session_is_not_a_leak_in_a_process_tree() {
    let launch = helpers().join("launch.py");
    assert_spares_what_is_executed_beside(&["python3", launch.to_str().unwrap(), "without-namespaces"]);
}

#[test]
fn a_leak_is_found_if_cgrun_is_the_first_process() {
    let script = "setsid -f env -i sleep 901; (sleep 902 &)";
    let run = start_as_first(Session::new().options(["--on-leak", "fail"]).sh(script), &[]).finish();
    run.assert_code(121).assert_said("(sleep 901)").assert_said("(sleep 902)").assert_nothing_left();
}

/// podman(1) passes sockets on like this.
#[test]
fn a_socket_passed_to_the_first_process_belongs_to_the_command() {
    let session = Session::new().env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let run = start_as_first(session.sh("[ $LISTEN_PID = $$ ] && echo mine"), &[]).finish();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stdout(), "mine\n");
}

#[test]
fn the_first_process_passes_on_signals_from_outside_and_exits_as_cgrun_does() {
    Session::new();
    let script = "kill -TERM 1; trap 'exit 7' TERM; touch running; while :; do sleep 0.02; done";
    for (script, code) in [(script, 7), ("touch running; exec sleep 900", 128 + SIGTERM as i32)] {
        let run = start_as_first(Session::again().sh(script), &[]);
        kill(first(run.until_file("running")), SIGTERM).unwrap();
        run.finish().assert_code(code).assert_nothing_left();
    }
}

#[test]
fn the_first_process_exits_although_sigchld_was_ignored_when_it_was_executed() {
    let ignore = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); \
        os.execv(sys.argv[1], sys.argv[1:])";
    Session::new();
    for (script, code) in [("true", 0), ("exit 7", 7)] {
        let run = start_as_first(Session::again().sh(script), &["python3", "-c", ignore]).finish();
        run.assert_code(code).assert_silent().assert_nothing_left();
    }
}

/// The kernel kills all of a PID namespace when its first process exits, and nothing else ends what cannot be recognized:
/// another cgrun is no guardian.
#[test]
fn the_first_process_lets_the_guardian_report_if_cgrun_is_killed() {
    let script = "setsid -f env -i $CGRUN --no-config sleep 901; trap '' TERM; touch running; while :; do sleep 0.02; done";
    let session = Session::new().options(["--report", "json=r.json", "--report", "summary=line"]);
    let run = start_as_first(session.sh(script), &[]);
    let first = first(run.until_file("running"));
    let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    kill(Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap()), SIGKILL).unwrap();
    let run = run.finish();
    run.assert_code(128 + SIGKILL as i32).assert_nothing_left();
    let report: serde_json::Value = serde_json::from_str(&run.read("r.json")).unwrap();
    assert_eq!(report["session"]["written_by"], "guardian", "{report:#}");
    assert!(run.read("line").starts_with("clean now: cgrun was killed"), "{}", run.read("line"));
}

fn children(parent: Pid) -> Vec<Pid> {
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

/// Kills both shards while their guardians are stopped, so that these are still at work when cgrun has exited.
fn kill_shards(launcher: &[&str], assert_ended: impl Fn(&serde_json::Value)) {
    let session = Session::new().options(["--shards", "2", "--private", "none"]);
    let run = start_as_first(session.sh("touch running-$CGRUN_SHARD; exec sleep 900"), launcher);
    run.until_file("running-1").until_file("running-2");
    let first = first(&run);
    let cgrun = children(first)[0];
    let shards = children(cgrun);
    let is_guardian = |pid: &Pid| getsid(Some(*pid)) == Ok(*pid);
    let guardians: Vec<_> = shards.iter().flat_map(|it| children(*it)).filter(is_guardian).collect();
    assert_eq!((shards.len(), guardians.len()), (2, 2));
    guardians.iter().for_each(|it| kill(*it, SIGSTOP).unwrap());
    shards.iter().for_each(|it| kill(*it, SIGKILL).unwrap());
    run.until("the first process has only the guardians", || {
        let left = children(first);
        !left.contains(&cgrun) && guardians.iter().all(|it| left.contains(it))
    });
    // It makes the guardians hurry, and does not kill the first process.
    kill(first, SIGTERM).unwrap();
    let is_asked = |pid: &Pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let pending = status.lines().find_map(|it| it.strip_prefix("ShdPnd:\t")).unwrap().to_owned();
        u64::from_str_radix(&pending, 16).unwrap() >> (SIGTERM as i32 - 1) & 1 == 1
    };
    run.until("both are asked", || guardians.iter().all(is_asked));
    kill(guardians[0], SIGCONT).unwrap();
    run.until("the first one is done", || !children(first).contains(&guardians[0]));
    assert!(children(first).contains(&guardians[1]), "the first process has exited too early");
    kill(guardians[1], SIGCONT).unwrap();
    let run = run.finish();
    run.assert_code(128 + SIGKILL as i32).assert_nothing_left();
    let listed = run.cgrun(&["sessions", "--json"]).json();
    let ended = listed["ended"].as_array().unwrap();
    assert_eq!(ended.len(), 2, "{listed:#}");
    ended.iter().for_each(assert_ended);
}

#[test]
fn the_first_process_lets_the_guardians_of_all_shards_finish() {
    kill_shards(&[], |it| assert_eq!(it["ended_by"], "guardian", "{it:#}"));
}

/// The first process outlives a shard, and so does what the guardian of that could not find.
#[test]
fn the_end_of_a_shard_is_no_end_of_the_first_process() {
    let launch = helpers().join("launch.py");
    kill_shards(&["python3", launch.to_str().unwrap(), "without-namespaces"], |it| {
        let problems = it["problems"].as_array().unwrap();
        let said = |it: &serde_json::Value| it.as_str().unwrap().contains("only the process tree held");
        assert!(it["verified_empty"] == false && problems.iter().any(said), "{it:#}");
    });
}

#[test]
fn the_first_process_lets_shards_finish_if_cgrun_is_killed() {
    let session = Session::new().options(["--shards", "2", "--private", "none"]);
    let script = "trap 'sleep 0.3; touch cleaned-$CGRUN_SHARD; exit' TERM; touch running-$CGRUN_SHARD; \
        while :; do sleep 0.02; done";
    let run = start_as_first(session.sh(script), &[]);
    run.until_file("running-1").until_file("running-2");
    kill(children(first(&run))[0], SIGKILL).unwrap();
    let run = run.finish();
    run.assert_code(128 + SIGKILL as i32).assert_nothing_left();
    assert!(run.path().join("cleaned-1").exists() && run.path().join("cleaned-2").exists());
}
