//! Sessions can be listed, stopped and swept from outside, and any number can run side by side or nested.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGKILL, SIGSTOP, SIGTERM};

use crate::fixtures::NOBODY;
use crate::harness::{Finished, OwnHost, Running, Session, TestCgroup, helpers, until};

const CGRUN: &str = env!("CARGO_BIN_EXE_cgrun");
const SOON: Duration = Duration::from_secs(4);

/// A service that creates a file when it is asked to exit.
const POLITE: &str = "[services.polite]\nready = { log = 'ready' }\n\
    command = ['sh', '-c', 'trap \"touch asked; exit\" TERM; echo ready; while :; do sleep 900 & wait; done']\n";

/// A command that waits until it is released, and exits with code 5.
const WAITING: &str = "mkfifo go; echo $CGRUN_SESSION >id; read line <go; exit 5";

fn waiting(session: Session) -> Running {
    let run = session.sh(WAITING).start();
    until_running(&run);
    run
}

/// Releases the command of [`waiting`].
fn let_go(run: Running) -> Finished {
    fs::write(run.path().join("go"), "\n").unwrap();
    run.finish()
}

fn id(directory: &Path) -> String {
    fs::read_to_string(directory.join("id")).unwrap_or_default().trim().to_string()
}

#[test]
fn an_idle_host_lists_no_sessions() {
    let _host = OwnHost::enter();
    let run = Session::new().command(["true"]).run();
    assert_eq!(run.cgrun(&["sessions"]).assert_code(0).stdout, "no sessions\n");
    assert_eq!(run.cgrun(&["sessions", "--json"]).json()["sessions"].as_array().unwrap().len(), 0);
    run.cgrun(&["sweep"]).assert_code(0).assert_silent();
}

#[test]
fn live_and_stale_sessions_are_listed() {
    let _host = OwnHost::enter();
    let live = waiting(Session::new().options(["-p", "4321"]));
    let stale = waiting(Session::again());
    let stale_owner = stale.pid().as_raw();
    let stale = stale.kill_with_guardian();

    let mut listed = live.cgrun(&["sessions", "--json"]).assert_code(0).json();
    let sessions = listed["sessions"].as_array_mut().unwrap();
    sessions.sort_by_key(|session| session["state"].to_string());
    let [first, second] = &sessions[..] else { panic!("{sessions:?}") };
    assert_eq!((first["id"].as_str(), first["state"].as_str()), (Some(&*id(live.path())), Some("live")));
    assert_eq!((second["id"].as_str(), second["state"].as_str()), (Some(&*id(stale.path())), Some("stale")));
    assert_eq!(first["supervisor_pid"], live.pid().as_raw());
    assert_eq!(second["supervisor_pid"], stale_owner);
    assert_eq!(first["command"], format!("sh -c {WAITING}"));
    assert_eq!(first["ports"][0], 4321);
    assert_eq!(first["user"], "root");
    assert!(Path::new(first["cgroup"].as_str().unwrap()).is_dir());

    let table = live.cgrun(&["sessions"]).assert_code(0).stdout.clone();
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "STATE", "PID", "USER", "COMMAND"]);
    let row = |id: &str| rows.iter().find(|row| row[0] == id).unwrap()[1..6].join(" ");
    assert_eq!(row(&id(live.path())), format!("live {} root sh -c", live.pid()));
    assert_eq!(row(&id(stale.path())), format!("stale {stale_owner} root sh -c"));

    stale.cgrun(&["sweep"]).assert_code(0).assert_said(&id(stale.path()));
    let_go(live).assert_code(5).assert_nothing_left();
    stale.assert_nothing_left();
}

#[test]
fn stop_asks_services_and_command_to_exit() {
    let run = waiting(Session::new().config(POLITE));
    run.cgrun(&["stop", &id(run.path())]).assert_code(0).assert_silent();
    // `cgrun stop` has waited for the end of the session.
    let run = run.finish();
    assert!(run.path().join("asked").exists());
    run.assert_signal(SIGTERM).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn stop_kills_a_stubborn_command_after_the_grace() {
    let script = "echo $CGRUN_SESSION >id; exec python3 $HELPERS/ignore.py INT TERM";
    let run = Session::new().options(["--grace", "60s"]).sh(script).start();
    run.until_file("ignoring").cgrun(&["stop", "--grace", "300ms", &id(run.path())]).assert_code(0);
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_nothing_left().assert_slower_than(Duration::from_millis(300));
    run.assert_faster_than(SOON);
}

#[test]
fn stop_ends_a_stopped_session() {
    let run = waiting(Session::new());
    run.signal(SIGSTOP).cgrun(&["stop", "--grace", "200ms", &id(run.path())]).assert_code(0);
    assert_eq!(run.sessions(), 0);
    run.finish().assert_signal(SIGTERM).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn stop_refuses_an_unknown_session() {
    let run = let_go(waiting(Session::new()));
    run.assert_code(5).cgrun(&["stop", &id(run.path())]).assert_code(125).assert_said("there is no session");
    run.cgrun(&["stop", "zzzzzzzz"]).assert_code(125).assert_said("there is no session zzzzzzzz");
    run.cgrun(&["stop", "../x"]).assert_code(125).assert_said("invalid session ID");
}

#[test]
fn a_sweep_touches_no_live_session() {
    let _host = OwnHost::enter();
    let first = waiting(Session::new());
    let second = waiting(Session::beside(&first));
    let dead = waiting(Session::again()).kill_with_guardian();
    for _ in 0..3 {
        dead.cgrun(&["sweep"]).assert_code(0);
    }
    first.cgrun(&["true"]).assert_code(0).assert_silent();
    let runs = [let_go(first), let_go(second)];
    runs.iter().for_each(|run| _ = run.assert_code(5).assert_nothing_left());
    dead.assert_nothing_left();
}

#[test]
fn a_session_of_another_user_is_left_alone() {
    let _host = OwnHost::enter();
    let run = waiting(Session::new()).kill_with_guardian();
    let listed = run.cgrun(&["sessions", "--json"]).json();
    let cgroup = Path::new(listed["sessions"][0]["cgroup"].as_str().unwrap());
    chown(cgroup, Some(NOBODY), None).unwrap();
    run.cgrun(&["sweep"])
        .assert_code(0)
        .assert_said("belongs to another user; end it as nobody: cgrun sweep");
    run.cgrun(&["true"]).assert_code(0).assert_silent();
    assert!(fs::read_to_string(cgroup.join("cgroup.events")).unwrap().contains("populated 1"));
    let check = run.cgrun(&["check"]);
    check.assert_code(1).assert_said(&id(run.path())).assert_said("end it as nobody: cgrun sweep");

    chown(cgroup, Some(0), None).unwrap();
    run.cgrun(&["sweep"]).assert_code(0).assert_said("ended session");
    run.assert_nothing_left();
}

/// cgrun in cgrun in cgrun, around a command that leaves a process behind.
fn three_nested() -> Session {
    Session::new().command([CGRUN, CGRUN, "sh", "-c", &format!("sleep 900 & {WAITING}")])
}

/// Waits until the command of [`WAITING`] runs.
fn until_running(run: &Running) {
    run.until("an id", || !id(run.path()).is_empty());
}

#[test]
fn three_nested_sessions_pass_on_the_exit_code() {
    let run = three_nested().start();
    until_running(&run);
    let run = let_go(run);
    run.assert_code(5).assert_said("(sleep 900)").assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn three_nested_sessions_end_when_the_outermost_is_killed() {
    let run = three_nested().start();
    until_running(&run);
    run.signal(SIGKILL);
    run.finish().assert_signal(SIGKILL).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn three_nested_sessions_end_when_the_outermost_is_asked_to() {
    let run = three_nested().start();
    until_running(&run);
    run.signal(SIGTERM);
    run.finish().assert_signal(SIGTERM).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn three_nested_sessions_are_swept_when_the_outermost_and_its_guardian_are_killed() {
    let _host = OwnHost::enter();
    let run = three_nested().start();
    until_running(&run);
    let run = run.kill_with_guardian();
    run.cgrun(&["sweep"]).assert_code(0).assert_said("ended session");
    run.assert_nothing_left();
    run.cgrun(&["check"]).assert_code(0).assert_silent();
}

#[test]
fn a_process_that_escaped_from_an_inner_session_ends_with_the_outer_one() {
    let elsewhere = TestCgroup::create("elsewhere");
    let script = "python3 $HELPERS/leak.py elsewhere \"$0\" polite; touch running; exec sleep 900";
    let run = Session::new().command([CGRUN, "sh", "-c", script, elsewhere.path().to_str().unwrap()]).start();
    run.until_file("running").signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL);
    // It carries the marker of the inner session, whose supervisor and guardian died with the outer one.
    until("the escapee is dead", || elsewhere.members().is_empty());
    run.assert_nothing_left();
}

#[test]
fn three_nested_sessions_work_in_a_cgroup_that_was_killed_once() {
    let launcher = helpers().join("launch.py");
    let run = three_nested().start_through(&["python3", launcher.to_str().unwrap(), "in-killed-cgroup"]);
    until_running(&run);
    let_go(run).assert_code(5).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_cgroup_without_an_owner_is_swept_after_a_moment() {
    let _host = OwnHost::enter();
    let run = Session::new().command(["true"]).run();
    let cgroup = TestCgroup::create("other");
    let unsigned = cgroup.path().join("cgrun-bcdfghjk");
    fs::create_dir(&unsigned).unwrap();
    run.cgrun(&["sweep"]).assert_code(0).assert_silent();
    assert!(unsigned.exists(), "its supervisor may be about to sign it");
    std::thread::sleep(Duration::from_millis(1500));
    run.cgrun(&["check"]).assert_code(1).assert_said("session bcdfghjk is left over");
    run.cgrun(&["sweep"]).assert_code(0);
    assert!(!unsigned.exists());
}

/// Between two reads of `check`, a session that starts signs its cgroup, and one that ends removes it.
#[test]
fn check_does_not_mistake_a_session_that_starts_or_ends_for_a_leftover() {
    let _host = OwnHost::enter();
    let busy = "touch busy; for n in 1 2 3; do while [ -e busy ]; do $CGRUN true; done & done; wait";
    let launcher = ["sh", "-c", busy];
    let observer = Session::new().command(["true"]).run();
    let sessions = Session::again();
    let directory = sessions.path().to_path_buf();
    let run = sessions.command(["true"]).start_through(&launcher);
    run.until_file("busy");
    let checks: Vec<_> = (0..120).map(|_| observer.cgrun(&["check", "-c", "/dev/null", "-p", "1"])).collect();
    fs::remove_file(directory.join("busy")).unwrap();
    run.finish().assert_code(0).assert_nothing_left();
    let wrong: Vec<_> = checks.iter().filter(|it| it.code != Some(0)).map(|it| &it.stderr).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), checks.len());
}

#[test]
fn check_waits_until_a_new_session_is_signed_or_gone() {
    let _host = OwnHost::enter();
    let run = Session::new().command(["true"]).run();
    let cgroup = TestCgroup::create("other");
    let unsigned = cgroup.path().join("cgrun-bcdfghjk");
    fs::create_dir(&unsigned).unwrap();
    let remover = {
        let unsigned = unsigned.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            fs::remove_dir(unsigned).unwrap();
        })
    };
    run.cgrun(&["check"]).assert_code(0).assert_silent();
    remover.join().unwrap();
}

#[test]
fn fifty_sessions_run_side_by_side() {
    let _host = OwnHost::enter();
    let begin = Instant::now();
    let first = Session::new().sh(WAITING).start();
    let mut runs: Vec<_> = (1..50).map(|_| Session::beside(&first).sh(WAITING).start()).collect();
    runs.insert(0, first);
    runs.iter().for_each(until_running);
    let sessions = runs[0].cgrun(&["sessions", "--json"]).json();
    let mut ids: Vec<_> = sessions["sessions"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    ids.sort_by_key(|id| id.to_string());
    ids.dedup();
    assert_eq!(ids.len(), 50);
    assert!(sessions["sessions"].as_array().unwrap().iter().all(|it| it["state"] == "live"), "{sessions}");

    // Killing one of them stops only that one.
    let victim = runs.swap_remove(17);
    let ended = victim.signal(SIGKILL).until("its end", || victim.sessions() == 49);
    ended.cgrun(&["sweep"]).assert_code(0).assert_silent();
    let victim = victim.finish();
    victim.assert_signal(SIGKILL);
    // Another one is asked to stop; the others exit by themselves.
    let stopped = runs.swap_remove(3);
    stopped.cgrun(&["stop", &id(stopped.path())]).assert_code(0).assert_silent();
    let stopped = stopped.finish();
    stopped.assert_signal(SIGTERM);

    for run in &runs {
        fs::write(run.path().join("go"), "\n").unwrap();
    }
    let runs: Vec<_> = runs.into_iter().map(Running::finish).collect();
    runs.iter().for_each(|run| _ = run.assert_code(5).assert_silent());
    stopped.assert_nothing_left();
    victim.assert_nothing_left();
    eprintln!("{:?}", begin.elapsed());
}

/// There it is beside the task's cgroup, and one without limits below it.
#[test]
fn a_stale_session_with_limits_in_a_task_of_slurm_is_ended_by_the_next_one() {
    let script = "own=$(sed -n 's/^0:://p' /proc/self/cgroup)
        for mount in /sys/fs/cgroup/unified /sys/fs/cgroup; do [ -e $mount$own/cgroup.procs ] && break; done
        task=$mount$own/job_7/step_0/user/task_0
        mkdir -p $task && echo $$ >$task/cgroup.procs
        CGRUN_FAILPOINT='kill:cgroup made' $CGRUN --pids 50 --limits-best-effort true
        [ $? = 137 ] && $CGRUN true && echo $$ >$mount$own/cgroup.procs &&
        cd $mount$own && rmdir -p job_7/step_0/user/task_0";
    let run = Session::new().start_through(&["sh", "-c", script]).finish();
    run.assert_code(0).assert_said("ended session").assert_nothing_left();
}
