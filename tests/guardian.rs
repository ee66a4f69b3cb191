//! Layer 5: if cgrun itself is killed, nothing survives, whichever of its processes is killed, and whenever.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSEGV, SIGSTOP, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::harness::{Finished, OwnHost, Running, Session, TestCgroup, cgrun_program, until};

/// The places at which the supervisor can be made to fail, in the order in which it reaches them.
const PLACES: [&str; 14] = [
    "guardian forked",
    "guardian armed",
    "service started",
    "services ready",
    "command started",
    "teardown",
    "after ask",
    "after kill",
    "after escaped",
    "after ports",
    "after remove",
    "verified",
    "dismissed",
    "reported",
];

const SOON: Duration = Duration::from_secs(4);

const SERVICE: &str = "[session]\ngrace = '300ms'\n[services.backend]\nport = 8000\n\
    command = ['python3', '{helpers}/server.py', '8000']\n";

/// Leaves behind a child that ignores every request, and a daemon.
const LEAVE: &str = "(trap '' TERM INT HUP; exec sleep 900) & setsid -f sleep 900; touch running";

/// A session with a service, whose command also leaves processes behind.
fn crowded(session: Session) -> Session {
    session.config(SERVICE)
}

/// A session whose command does not exit on its own.
fn running() -> Running {
    let run = crowded(Session::new()).sh(&format!("{LEAVE}; exec sleep 900")).start();
    run.until_file("running");
    run
}

fn fail_everywhere(how: &str, assert_died: impl Fn(&Finished)) {
    Session::new();
    for place in PLACES {
        let run = crowded(Session::again()).env("CGRUN_FAILPOINT", format!("{how}:{place}")).sh(LEAVE).run();
        eprintln!("{how} at {place:?}: {} after {:?}", run.status, run.took);
        assert_died(&run);
        // The supervisor's children are now the test's: it reaps them, including zombies, until the kernel
        // reports that none is left.
        run.assert_nothing_left();
    }
}

fn guardian(run: &Running) -> Pid {
    run.until("a guardian", || run.guardian().is_some());
    run.guardian().unwrap()
}

fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn pid_in(run: &Running, file: &str) -> Pid {
    let read = || fs::read_to_string(run.path().join(file)).unwrap_or_default();
    run.until(file, || read().ends_with('\n'));
    Pid::from_raw(read().trim().parse().unwrap())
}

#[test]
fn a_sigkill_in_any_phase_leaves_nothing() {
    fail_everywhere("kill", |run| _ = run.assert_signal(SIGKILL));
}

#[test]
fn a_crash_in_any_phase_leaves_nothing() {
    fail_everywhere("crash", |run| _ = run.assert_signal(SIGSEGV));
}

#[test]
fn a_panic_in_any_phase_leaves_nothing() {
    fail_everywhere("panic", |run| _ = run.assert_code(125).assert_said("panicked"));
}

#[test]
fn nothing_is_started_before_the_guardian() {
    let _host = OwnHost::enter();
    Session::new();
    for (how, signal) in [("kill", SIGKILL), ("crash", SIGSEGV)] {
        for next in ["sweep", "true"] {
            let place = format!("{how}:cgroup made");
            let run = crowded(Session::again()).env("CGRUN_FAILPOINT", place).sh(LEAVE).run();
            run.assert_signal(signal);
            assert!(!run.path().join("running").exists());
            run.cgrun(&[next]).assert_code(0).assert_said("ended session");
            run.assert_nothing_left();
        }
    }
}

#[test]
fn a_sigkill_from_outside_leaves_nothing() {
    let run = running();
    let begin = Instant::now();
    run.signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL).assert_nothing_left();
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

#[test]
fn a_sigkill_during_the_grace_leaves_nothing() {
    let run = crowded(Session::new()).options(["--grace", "60s"]).sh(LEAVE).start();
    run.until_file("running");
    std::thread::sleep(Duration::from_millis(300));
    run.signal(SIGKILL);
    run.finish().assert_signal(SIGKILL).assert_nothing_left();
}

#[test]
fn a_killed_guardian_is_replaced() {
    let run =
        crowded(Session::new()).sh("touch running; until [ -e go ]; do sleep 0.01; done; exit 4").start();
    let mut first = guardian(run.until_file("running"));
    for _ in 0..3 {
        kill(first, SIGKILL).unwrap();
        run.until("another guardian", || run.guardian().is_some_and(|next| next != first && is_alive(next)));
        first = run.guardian().unwrap();
    }
    run.until_said("the guardian was killed; another one takes its place");
    fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(4).assert_nothing_left();
}

/// A command that takes a second to exit after SIGTERM.
const TAKES_TIME: &str = "trap 'sleep 1; exit 5' TERM; touch running; while :; do sleep 900 & wait; done";

#[test]
fn a_sigterm_to_the_guardian_ends_the_session() {
    let run = Session::new().sh(TAKES_TIME).start();
    kill(guardian(run.until_file("running")), SIGTERM).unwrap();
    run.finish().assert_code(5).assert_faster_than(SOON).assert_nothing_left();
}

/// As by a service manager, which signals all processes of a unit. A second request would kill the command.
#[test]
fn a_sigterm_to_cgrun_and_its_guardian_counts_once() {
    Session::new();
    for guardian_first in [true, false] {
        let run = Session::again().sh(TAKES_TIME).start();
        let mut both = [guardian(run.until_file("running")), run.pid()];
        if !guardian_first {
            both.reverse();
        }
        kill(both[0], SIGTERM).unwrap();
        // Longer than the time within which two signals to cgrun itself count as one.
        std::thread::sleep(Duration::from_millis(300));
        kill(both[1], SIGTERM).unwrap();
        run.finish().assert_code(5).assert_nothing_left();
    }
}

#[test]
fn a_sigterm_of_the_session_to_the_guardian_changes_nothing() {
    let script = "touch running; until [ -e go ]; do sleep 0.01; done\n\
        for i in 1 2 3 4 5 6 7 8 9; do kill -TERM $(cat go); sleep 0.02; done; exit 4";
    let run = Session::new().sh(script).start();
    let guardian = guardian(run.until_file("running"));
    fs::write(run.path().join("new"), guardian.to_string()).unwrap();
    fs::rename(run.path().join("new"), run.path().join("go")).unwrap();
    run.finish().assert_code(4).assert_silent().assert_nothing_left();
}

#[test]
fn killing_the_guardian_and_then_the_supervisor_leaves_nothing() {
    let run = running();
    kill(guardian(&run), SIGKILL).unwrap();
    run.until_said("another one takes its place").signal(SIGKILL);
    run.finish().assert_signal(SIGKILL).assert_nothing_left();
}

#[test]
fn the_next_run_cleans_up_a_session_that_lost_supervisor_and_guardian() {
    let _host = OwnHost::enter();
    let run = running().kill_with_guardian();
    run.cgrun(&["check"]).assert_code(1).assert_said("is left over from a cgrun process that died");
    run.cgrun(&["true"]).assert_code(0).assert_said("ended session");
    run.assert_nothing_left();
    run.cgrun(&["check"]).assert_code(0).assert_silent();
}

#[test]
fn a_sweep_cleans_up_a_session_that_lost_supervisor_and_guardian() {
    let _host = OwnHost::enter();
    let run = running().kill_with_guardian();
    let listed = run.cgrun(&["sessions", "--json"]).json();
    assert_eq!(listed["sessions"][0]["state"], "stale");
    let id = listed["sessions"][0]["id"].as_str().unwrap();

    let dry = run.cgrun(&["sweep", "--dry-run"]);
    dry.assert_code(0).assert_said(&format!("would end session {id}"));
    assert_eq!(run.sessions(), 1);
    run.cgrun(&["sweep"]).assert_code(0).assert_said(&format!("ended session {id}"));
    run.assert_nothing_left();
    run.cgrun(&["sweep"]).assert_code(0).assert_silent();

    let ended = &run.cgrun(&["sessions", "--json"]).json()["ended"][0];
    assert_eq!((ended["id"].as_str(), ended["ended_by"].as_str()), (Some(id), Some("sweep")));
    assert_eq!(ended["verified_empty"], true);
}

#[test]
fn a_stop_cleans_up_a_session_that_lost_supervisor_and_guardian() {
    let _host = OwnHost::enter();
    let run = running().kill_with_guardian();
    let listed = run.cgrun(&["sessions", "--json"]).json();
    run.cgrun(&["stop", listed["sessions"][0]["id"].as_str().unwrap()]).assert_code(0);
    run.assert_nothing_left();
}

#[test]
fn the_guardian_leaves_a_record() {
    let _host = OwnHost::enter();
    let run = running();
    let owner = run.pid().as_raw();
    let id = run.cgrun(&["sessions", "--json"]).json()["sessions"][0]["id"].clone();
    run.signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL).assert_nothing_left();
    let ended = &run.cgrun(&["sessions", "--json"]).json()["ended"][0];
    assert_eq!(ended["id"], id);
    assert_eq!(ended["supervisor_pid"], owner);
    assert_eq!(
        (ended["ended_by"].as_str(), ended["verified_empty"].as_bool()),
        (Some("guardian"), Some(true))
    );
    assert!(ended["command"].as_str().unwrap().contains("sleep 900"), "{ended}");
    let table = run.cgrun(&["sessions"]).stdout;
    assert!(table.contains("by guardian, clean") && table.contains(id.as_str().unwrap()), "{table}");
}

#[test]
fn a_stopped_supervisor_is_not_mistaken_for_dead() {
    let _host = OwnHost::enter();
    let run = Session::new().sh("echo $$ >pid; until [ -e go ]; do sleep 0.01; done; exit 4").start();
    let command = pid_in(&run, "pid");
    run.signal(SIGSTOP);
    std::thread::sleep(Duration::from_millis(300));
    run.cgrun(&["sweep"]).assert_code(0).assert_silent();
    run.cgrun(&["true"]).assert_code(0).assert_silent();
    assert_eq!(run.cgrun(&["sessions", "--json"]).json()["sessions"][0]["state"], "live");
    assert!(is_alive(command));
    fs::write(run.path().join("go"), "").unwrap();
    run.signal(SIGCONT);
    run.finish().assert_code(4).assert_nothing_left();
}

#[test]
fn the_guardian_does_not_keep_a_pipeline_waiting() {
    let script = "$CGRUN sh -c 'echo $PPID >supervisor; echo $$ >command; exec sleep 900' | cat; touch over";
    let run = Session::new().start_through(&["sh", "-c", script]);
    let victims = [pid_in(&run, "supervisor"), pid_in(&run, "command")];
    let guardian = guardian(&run);
    for fd in fs::read_dir(format!("/proc/{guardian}/fd")).unwrap() {
        let fd = fd.unwrap().path();
        let target = fs::read_link(&fd).unwrap_or_default();
        assert!(!target.starts_with("pipe:") && !target.starts_with(run.path()), "{fd:?} -> {target:?}");
    }
    // This is true even if the guardian is stopped.
    kill(guardian, SIGSTOP).unwrap();
    victims.iter().for_each(|&pid| kill(pid, SIGKILL).unwrap());
    run.until_file("over");
    assert!(is_alive(guardian));
    kill(guardian, SIGCONT).unwrap();
    run.finish().assert_code(0).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn the_guardian_is_protected_from_the_oom_killer_if_that_is_allowed() {
    let score = |pid: Pid| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let may = ["-c", "echo -1000 >/proc/self/oom_score_adj"];
    let may = Command::new("sh").args(may).stderr(Stdio::null()).status().unwrap().success();
    let own = score(nix::unistd::getpid());
    let wanted = if may { "-1000\n" } else { &*own };
    let run = running();
    let guardian = guardian(&run);
    until("the guardian is protected", || score(guardian) == wanted);
    let others = run.members().into_iter().map(Pid::from_raw).filter(|pid| *pid != guardian);
    assert!(others.into_iter().all(|pid| score(pid) == own), "only the guardian is");
    run.signal(SIGKILL);
    run.finish().assert_signal(SIGKILL).assert_nothing_left();
}

/// A session in which a process has moved to another cgroup, with the session's marker.
fn start_moving_to(elsewhere: &TestCgroup) -> Running {
    let script = "python3 $HELPERS/leak.py elsewhere \"$0\" polite; touch running; exec sleep 900";
    let run = Session::new().command(["sh", "-c", script, elsewhere.path().to_str().unwrap()]).start();
    run.until_file("running");
    run
}

#[test]
fn a_process_that_moved_to_another_cgroup_is_found_by_its_marker() {
    let elsewhere = TestCgroup::create("elsewhere");
    let run = start_moving_to(&elsewhere);
    run.signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL);
    // The guardian must do it: the search for survivors would kill it too.
    until("the escapee is dead", || elsewhere.members().is_empty());
    run.assert_nothing_left();
}

#[test]
fn a_process_that_moved_to_another_cgroup_is_found_by_a_sweep() {
    let _host = OwnHost::enter();
    let elsewhere = TestCgroup::create("elsewhere");
    let run = start_moving_to(&elsewhere);
    let run = run.kill_with_guardian();
    assert_eq!(elsewhere.members().len(), 1);
    run.cgrun(&["sweep"]).assert_code(0);
    until("the escapee is dead", || elsewhere.members().is_empty());
    run.assert_nothing_left();
}

#[test]
fn a_sweep_needs_no_more_descriptors_than_a_shell_allows() {
    let _host = OwnHost::enter();
    let elsewhere = TestCgroup::create("elsewhere");
    let run = start_moving_to(&elsewhere);
    let run = run.kill_with_guardian();
    let swept = Command::new("sh")
        .args(["-c", "ulimit -Sn 6; exec \"$0\" sweep"])
        .arg(cgrun_program())
        .env("XDG_STATE_HOME", run.path().join("state"))
        .output()
        .unwrap();
    assert_eq!(swept.status.code(), Some(0), "{}", String::from_utf8_lossy(&swept.stderr));
    assert!(elsewhere.members().is_empty());
    run.assert_nothing_left();
}

#[test]
fn a_process_that_keeps_forking_in_another_cgroup_is_found_by_its_marker() {
    let elsewhere = TestCgroup::create("elsewhere");
    // Each process of the chain exits as soon as it has forked the next.
    let chain = "import os, sys, time\n\
        open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n\
        open('running', 'w')\n\
        for _ in range(500): os.fork() and os._exit(0)\n\
        time.sleep(900)";
    let script = "python3 -c \"$0\" \"$1\" & exec sleep 900";
    Session::new();
    for _ in 0..5 {
        let elsewhere = elsewhere.path().to_str().unwrap();
        let run = Session::again().command(["sh", "-c", script, chain, elsewhere]).start();
        run.until_file("running").signal(SIGKILL);
        let run = run.finish();
        run.assert_signal(SIGKILL).assert_nothing_left();
    }
}

/// Moves to another cgroup, clears its environment, and writes its pid to `outside`.
const LEAVE_CGROUP: &str = "env -i sh -c 'echo 0 >'$0'/cgroup.procs; echo $$ >outside; exec sleep 900'";

fn start_leaving(script: &str, elsewhere: &TestCgroup) -> (Running, Pid) {
    let run = Session::again().command(["sh", "-c", script, elsewhere.path().to_str().unwrap()]).start();
    let outside = pid_in(&run, "outside");
    (run, outside)
}

/// Kills cgrun. Its guardian has to kill what is in the other cgroup, and to call that clean.
fn assert_guardian_cleans_up(run: Running, elsewhere: &TestCgroup) {
    run.signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL);
    assert_eq!(record_of(&run)["verified_empty"], true, "{}", record_of(&run));
    assert!(elsewhere.members().is_empty(), "the guardian has to kill it: {:?}", elsewhere.members());
    run.assert_nothing_left();
}

/// A session whose orphan is in another cgroup and has cleared its environment. The guardian has seen it.
fn start_losing_an_orphan(elsewhere: &TestCgroup) -> (Running, Pid) {
    let (run, outside) = start_leaving(&format!("setsid -f {LEAVE_CGROUP}; exec sleep 900"), elsewhere);
    until_guardian_has_seen(&run, outside);
    (run, outside)
}

/// The guardian looks for children of cgrun in other cgroups twice a second, and notes them on the session's cgroup.
fn until_guardian_has_seen(run: &Running, outside: Pid) {
    let read = "import os, sys; print(os.getxattr(sys.argv[1], 'trusted.cgrun.outside').decode())";
    let noted = || {
        let note = Command::new("python3").args(["-c", read]).arg(run.session_path()).output().unwrap();
        String::from_utf8_lossy(&note.stdout).contains(&format!("{outside}:"))
    };
    run.until("the guardian has seen it", noted);
}

fn record_of(run: &Finished) -> serde_json::Value {
    let records = run.path().join("state/cgrun/ended");
    let read = || {
        fs::read_dir(&records)
            .ok()?
            .next()?
            .ok()
            .filter(|it| it.path().extension().is_some_and(|it| it == "json"))
    };
    until("a record", || read().is_some());
    serde_json::from_slice(&fs::read(read().unwrap().path()).unwrap()).unwrap()
}

#[test]
fn a_process_outside_the_cgroup_without_an_environment_is_killed_with_its_living_parent() {
    Session::new();
    for _ in 0..5 {
        let elsewhere = TestCgroup::create("elsewhere");
        let script = format!("{LEAVE_CGROUP} & exec sleep 900");
        let (run, _) = start_leaving(&script, &elsewhere);
        assert_guardian_cleans_up(run, &elsewhere);
    }
}

#[test]
fn an_orphan_outside_the_cgroup_without_an_environment_is_killed_as_a_child_of_the_supervisor() {
    Session::new();
    let elsewhere = TestCgroup::create("elsewhere");
    let (run, _) = start_losing_an_orphan(&elsewhere);
    assert_guardian_cleans_up(run, &elsewhere);
}

#[test]
fn a_guardian_that_replaces_another_knows_the_orphans_outside_the_cgroup() {
    Session::new();
    let elsewhere = TestCgroup::create("elsewhere");
    let (run, _) = start_losing_an_orphan(&elsewhere);
    kill(guardian(&run), SIGKILL).unwrap();
    run.until_said("the guardian was killed; another one takes its place");
    assert_guardian_cleans_up(run, &elsewhere);
}

#[test]
fn an_orphan_outside_the_cgroup_that_the_guardian_cannot_know_is_not_called_clean() {
    Session::new();
    let elsewhere = TestCgroup::create("elsewhere");
    let script = format!(
        "touch running; until [ -e go ]; do sleep 0.01; done; setsid -f {LEAVE_CGROUP}; exec sleep 900"
    );
    let run = Session::again().command(["sh", "-c", &script, elsewhere.path().to_str().unwrap()]).start();
    let guardian = guardian(run.until_file("running"));
    kill(guardian, SIGSTOP).unwrap();
    fs::write(run.path().join("go"), "").unwrap();
    let outside = pid_in(&run, "outside");
    let child = || {
        fs::read_to_string(format!("/proc/{outside}/stat"))
            .is_ok_and(|it| it.contains(&format!(" S {} ", run.pid())))
    };
    run.until("it is a child of the supervisor", child);
    run.signal(SIGKILL);
    let run = run.finish();
    kill(guardian, SIGCONT).unwrap();
    let record = record_of(&run);
    assert_eq!(record["verified_empty"], false, "{record}");
    assert!(record["problems"][0].as_str().unwrap().contains(&format!("pid {outside} ")), "{record}");
    assert_eq!(elsewhere.members(), [outside.as_raw()], "it may be a stranger");
    elsewhere.kill();
    run.assert_nothing_left();
}

#[test]
fn a_service_that_starts_during_the_session_is_not_mistaken_for_an_orphan_of_it() {
    let run = running();
    // The test process inherits the orphans of cgrun, as systemd does on a host.
    let mut service = Command::new("sleep").arg("900").env("INVOCATION_ID", "0").spawn().unwrap();
    run.signal(SIGKILL);
    let run = run.finish();
    let record = record_of(&run);
    assert!(service.try_wait().unwrap().is_none(), "the guardian must not touch it");
    service.kill().unwrap();
    service.wait().unwrap();
    assert_eq!(record["verified_empty"], true, "{record}");
    run.assert_nothing_left();
}

#[test]
fn a_sweep_kills_an_orphan_outside_the_cgroup_that_the_guardian_has_seen() {
    Session::new();
    let _host = OwnHost::enter();
    let elsewhere = TestCgroup::create("elsewhere");
    let (run, outside) = start_losing_an_orphan(&elsewhere);
    let run = run.kill_with_guardian();
    assert_eq!(elsewhere.members(), [outside.as_raw()]);
    run.cgrun(&["sweep"]).assert_code(0);
    assert!(elsewhere.members().is_empty(), "the sweep has to kill it: {:?}", elsewhere.members());
    assert_eq!(record_of(&run)["verified_empty"], true, "{}", record_of(&run));
    run.assert_nothing_left();
}

#[test]
fn a_sweep_does_not_kill_a_stranger_that_a_note_on_the_cgroup_names() {
    Session::new();
    let _host = OwnHost::enter();
    let mut stranger = Command::new("sleep").arg("900").spawn().unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", stranger.id())).unwrap();
    let started = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap();
    // Start times are in ticks of 10 ms, as is this.
    let ticks = || fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().replace('.', "");
    until("the session can be younger", || ticks().parse::<u64>().unwrap() > started.parse().unwrap());
    let run = Session::again().sh("touch running; exec sleep 900").start();
    run.until_file("running");
    let cgroup = run.session_path();
    let run = run.kill_with_guardian();
    let write = "import os, sys\n\
        for name in ('trusted', 'user'): os.setxattr(sys.argv[1], name + '.cgrun.outside', sys.argv[2].encode())";
    let key = format!("{}:{started}", stranger.id());
    assert!(Command::new("python3").args(["-c", write]).arg(cgroup).arg(key).status().unwrap().success());
    run.cgrun(&["sweep"]).assert_code(0);
    assert!(stranger.try_wait().unwrap().is_none(), "the sweep killed a stranger");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    run.assert_nothing_left();
}
