//! `--private`: what a session has of its own, instead of sharing it with the host.

use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use crate::containments::Host;
use crate::fixtures::NOBODY;
use crate::harness::{Finished, Place, Running, Session, Stranger, cgrun_program, is_listening};

const NET: [&str; 2] = ["--private", "net"];
const SERVER: &str = "[services.backend]\nport = 8000\n\
    command = ['python3', '{helpers}/server.py', '8000', '--name', 'backend']\n";
const SHORT: [&str; 2] = ["--grace", "300ms"];
const UNTIL_GO: &str = "touch running; until [ -e go ]; do sleep 0.02; done";

everywhere!(
    sessions_on_the_same_port_run_side_by_side,
    a_port_that_is_taken_on_the_host_is_free_inside,
    a_leak_inside_is_found_with_its_port,
    nothing_is_left_of_a_killed_session,
    what_processes_leave_in_shared_memory_and_queues_goes_with_the_session,
);

fn private() -> Session {
    Session::again().options(NET)
}

fn let_go(run: Running) -> Finished {
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish()
}

fn sessions_on_the_same_port_run_side_by_side(host: Host) {
    Session::new();
    let start = || host.start(private().config(SERVER).sh(UNTIL_GO));
    let runs = [start(), start(), start()];
    runs.iter().for_each(|run| _ = run.until_file("running"));
    let runs = runs.map(let_go);
    runs.iter().for_each(|run| _ = run.assert_code(0).assert_nothing_left());
}

fn a_port_that_is_taken_on_the_host_is_free_inside(host: Host) {
    let elsewhere = Session::new();
    let mut stranger = Stranger::serve(elsewhere.path(), 8000, &[]);
    let run = host.run(private().config(SERVER).options(["--reclaim-ports"]).command(["true"]));
    run.assert_code(0);
    assert!(!run.stderr().contains("8000"), "{}", run.stderr());
    assert!(stranger.is_alive() && is_listening(8000));
}

fn a_leak_inside_is_found_with_its_port(host: Host) {
    Session::new();
    let script = "python3 $HELPERS/server.py 8000 --journal journal & until grep -q listens journal; do sleep 0.02; done";
    let run = host.run(private().options(SHORT).sh(script));
    run.assert_code(0).assert_said("leaked 1 process").assert_said("8000").assert_nothing_left();
}

fn nothing_is_left_of_a_killed_session(host: Host) {
    Session::new();
    let run = host.start(private().options(SHORT).config(SERVER).sh(UNTIL_GO));
    run.until_file("running").signal(SIGKILL);
    run.finish().assert_signal(SIGKILL).assert_nothing_left();
}

fn what_processes_leave_in_shared_memory_and_queues_goes_with_the_session(host: Host) {
    let script = "(ipcmk -M 4096 && ipcmk -S 1 && ipcmk -Q) >&2
        for kind in shm sem msg; do awk 'FNR > 1 { print $1 }' /proc/sysvipc/$kind; done";
    let run = host.run(Session::new().options(["--private", "ipc"]).sh(script));
    run.assert_code(0).assert_nothing_left();
    let keys: Vec<_> = run.stdout().lines().map(str::to_owned).collect();
    assert_eq!(keys.len(), 3, "others' objects are seen: {keys:?}");
    for kind in ["shm", "sem", "msg"] {
        let on_host = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap();
        let mut words = on_host.lines().filter_map(|line| line.split_whitespace().next());
        assert!(!words.any(|key| keys.iter().any(|it| it == key)), "{on_host}");
    }
}

#[test]
fn fifty_private_sessions_run_side_by_side() {
    Session::new();
    let start = |_| {
        let script = format!("ipcmk -M 4096 >/dev/null; touch /tmp/mine /dev/shm/mine; {UNTIL_GO}");
        Session::again().options(["--private", "all"]).config(SERVER).sh(&script).start()
    };
    let runs: Vec<_> = (0..50).map(start).collect();
    runs.iter().for_each(|run| _ = run.until_file("running"));
    let runs: Vec<_> = runs.into_iter().map(let_go).collect();
    runs.iter().for_each(|run| _ = run.assert_code(0).assert_nothing_left());
}

#[test]
fn a_cgroup_and_a_pid_namespace_can_have_it_together() {
    let session = Session::new().options(["--private", "all", "--require", "cgroup+pidns"]).config(SERVER);
    let run = session.options(SHORT).sh("setsid -f sleep 1000; test $$ -lt 50").run();
    run.assert_code(0).assert_said("leaked 1 process").assert_nothing_left();
}

#[test]
fn a_sweep_ends_what_a_killed_cgrun_and_guardian_left() {
    let run = Session::new().options(NET).config(SERVER).sh(UNTIL_GO).start();
    run.until_file("running");
    let run = run.kill_with_guardian();
    run.cgrun(&["sweep"]).assert_said("ended session");
    run.assert_nothing_left();
}

#[test]
fn there_is_only_a_loopback_interface_with_both_addresses() {
    let session = Session::new().options(NET).sh("ip -o address show | awk '{ print $2, $4 }'");
    let more = Command::new("ip").args(["address", "add", "127.0.0.5/8", "dev", "lo"]).status().unwrap();
    assert!(more.success());
    let run = session.run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(run.stdout(), "lo 127.0.0.1/8\nlo ::1/128\n");
}

#[test]
fn the_host_cannot_reach_a_service() {
    let run = Session::new().options(NET).config(SERVER).sh(UNTIL_GO).start();
    run.until_file("running");
    assert!(!is_listening(8000));
    let_go(run).assert_code(0).assert_nothing_left();
}

#[test]
fn it_can_be_set_in_the_config_and_by_a_variable() {
    let script = "readlink /proc/self/ns/net";
    let ours = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
    let shared = format!("net:[{ours}]\n");
    let by_config = || Session::new().config("[private]\nnet = true\n");
    let said = by_config().options(["-v"]).command(["true"]).run();
    said.assert_code(0).assert_said("cgrun: private to this session: net\n");
    for session in [by_config(), Session::new().env("CGRUN_PRIVATE", "net")] {
        let run = session.sh(script).run();
        run.assert_code(0).assert_silent().assert_nothing_left();
        assert_ne!(run.stdout(), shared);
    }
}

#[test]
fn an_ordinary_user_can_have_it_with_every_port() {
    let config = "[services.web]\nport = 80\ncommand = ['python3', '{helpers}/server.py', '80']\n";
    let session = Session::new().options(NET).config(config).sh("id -u; grep CapEff /proc/self/status");
    let run = session.start_launched(&["unprivileged"]).finish();
    run.assert_code(0).assert_said("web is ready").assert_nothing_left();
    assert_eq!(run.stdout(), "65534\nCapEff:\t0000000000000000\n");
}

#[test]
fn a_user_that_root_chooses_can_have_every_port() {
    let config = "[services.web]\nport = 80\ncommand = ['/usr/bin/python3', '{helpers}/server.py', '80']\n";
    let session = Session::new().options(NET).options(["--user", "nobody"]).config(config);
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    session.command(["true"]).run().assert_code(0).assert_nothing_left();
}

#[test]
fn an_ordinary_user_without_cgroups_can_have_it() {
    let session = Session::new().options(NET).config(SERVER).command(["true"]);
    let run = session.start_launched(&["unprivileged-without-cgroups"]).finish();
    run.assert_code(0).assert_said("only by a PID namespace").assert_nothing_left();
}

#[test]
fn nothing_is_started_where_there_can_be_no_namespace() {
    let cgrun = cgrun_program();
    let session = Session::new().options(NET).command(["touch", "ran"]);
    let run = session.start_launched(&["without-any-namespace", cgrun.to_str().unwrap()]).finish();
    run.assert_code(125)
        .assert_said("the session cannot be private: the kernel refuses to create its namespaces: ");
    run.assert_nothing_left();
    assert!(!run.path().join("ran").exists());
}

#[test]
fn an_unknown_kind_is_refused() {
    let run = Session::new().options(["--private", "network"]).command(["touch", "ran"]).run();
    run.assert_code(125)
        .assert_said(
            "unknown kind \"network\"; use all, none, or a list of net (or net=outbound), ipc, shm and tmp",
        )
        .assert_nothing_left();
    assert!(!run.path().join("ran").exists());
}

#[test]
fn a_signal_ends_it_as_any_other() {
    let run = Session::new().options(NET).config(SERVER).sh(UNTIL_GO).start();
    run.until_file("running").signal(SIGTERM);
    run.finish().assert_signal(SIGTERM).assert_nothing_left();
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn it_can_be_had_in_every_place_of_a_host_with_systemd() {
    let config = "[services.web]\nport = 80\ncommand = ['python3', '{helpers}/server.py', '80']\n";
    for place in Place::ALL {
        let session = Session::at(place).options(["--private", "all"]).config(config);
        let run = session.sh("touch /tmp/left-inside && ipcmk -Q >&2").run();
        run.assert_code(0).assert_said("web is ready").assert_nothing_left();
        assert!(!std::path::Path::new("/tmp/left-inside").exists());
    }
}
