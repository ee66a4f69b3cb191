//! Processes outside the session are left alone, and what cgrun inherits does not mislead it.

use std::time::Duration;

use crate::harness::{Session, Stranger};

#[test]
fn an_inherited_ignored_sigchld_does_not_hide_an_exit() {
    let launcher = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); \
                    os.execv(os.environ['CGRUN'], ['cgrun'] + sys.argv[1:])";
    let run = Session::new().sh("exit 3").start_through(&["python3", "-c", launcher]).finish();
    run.assert_code(3).assert_silent().assert_nothing_left();
}

#[test]
fn a_preexisting_child_is_left_alone() {
    // An entrypoint script that ends with `exec cgrun` does this.
    let script = "sleep 1000 & echo $! >before; exec \"$CGRUN\" \"$@\"";
    let run = Session::new().sh("sleep 1000 & exit 3").start_through(&["sh", "-c", script, "sh"]).finish();
    run.assert_code(3).assert_said("leaked 1 process");
    let before = run.read("before").trim().parse().unwrap();
    // It is now a child of this test: if it had been killed, it would be a zombie.
    let stat = std::fs::read_to_string(format!("/proc/{before}/stat")).unwrap();
    assert!(stat.contains(") S "), "{stat}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before), nix::sys::signal::Signal::SIGKILL).unwrap();
    run.assert_nothing_left();
}

#[test]
fn reclaiming_ports_spares_a_holder_that_appears_after_the_start() {
    let config = "[services.web]\ncommand = ['python3', '{helpers}/server.py', '8000']\nport = 8000\n";
    let session = Session::new().config(config).options(["--reclaim-ports"]);
    let path = session.path().to_path_buf();
    let run = session.sh("touch running; until [ -e go ]; do sleep 0.01; done").start();
    run.until_file("running");
    // An unrelated server starts on a watched port while the tests run.
    let mut stranger = Stranger::serve(&path, 3000, &[]);
    std::fs::write(path.join("go"), "").unwrap();
    let run = run.finish();
    run.assert_code(0).assert_said("was left alone");
    assert!(stranger.is_alive());
    drop(stranger);
    run.assert_nothing_left();
}

#[test]
fn a_session_with_a_service_uses_no_cpu_time_while_idle() {
    let config = "[services.one]\ncommand = ['sleep', '1000']\n";
    let run = Session::new().config(config).command(["sleep", "2"]).start();
    let stat = format!("/proc/{}/stat", run.pid());
    let mut ticks = 0;
    while let Ok(text) = std::fs::read_to_string(&stat) {
        let fields: Vec<_> = text.rsplit(") ").next().unwrap().split(' ').collect();
        if fields[0] == "Z" {
            break;
        }
        ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    run.finish().assert_code(0).assert_nothing_left();
    assert!(ticks <= 10, "{ticks} clock ticks in 2 s");
}

#[test]
fn a_sweep_at_the_start_spares_a_preexisting_child() {
    let dead = Session::new().sh("touch running; exec sleep 1000").start();
    dead.until_file("running").kill_everything();
    dead.until("everything is dead", || dead.members().is_empty());
    let script = "sleep 1000 & echo $! >before; exec \"$CGRUN\" \"$@\"";
    let next = Session::beside(&dead).sh("nice >nice").start_through(&["sh", "-c", script, "sh"]).finish();
    next.assert_code(0).assert_said("left behind by a cgrun process that died");
    let before = next.read("before").trim().parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{before}/stat")).unwrap();
    assert!(stat.contains(") S "), "{stat}");
    assert_eq!(next.read("nice").trim(), "0", "the session runs at the priority of the sweep");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before), nix::sys::signal::Signal::SIGKILL).unwrap();
    dead.finish();
    next.assert_nothing_left();
}

#[test]
fn a_session_ends_clean_if_cgrun_is_pid_1() {
    let launcher = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", "exec \"$CGRUN\" \"$@\"", "sh"];
    let session = Session::new().options(["--on-leak", "fail", "--grace", "60s"]);
    let run = session.sh("exit 0").start_through(&launcher).finish();
    run.assert_code(0).assert_silent().assert_nothing_left().assert_faster_than(Duration::from_secs(20));
}
