//! Monitors of podman's containers whose clean-up never ends: cgrun waits for them only for a moment, and hears signals meanwhile.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal::SIGINT;

use crate::harness::{Running, Session};

/// How long monitors have at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// Notes each time that it is continued, which happens again and again while it is waited for.
const CONMON: &str = "#!/bin/sh\ntrap 'echo >>continued' CONT\ntrap '' TERM INT\ntouch conmon-runs\nwhile :; do sleep 0.01; done\n";
/// The id of the container is the directory: a new conmon with the id of one that a session waits for would be taken for its
/// successor, and other tests run too.
const START: &str = "chmod 755 conmon; ./conmon -c \"$PWD\" -u \"$PWD\" -p /nonexistent & \
                     until [ -e conmon-runs ]; do sleep 0.01; done; touch running;";

/// Notes that it was asked, and stays.
const STUBBORN: &str = "trap 'echo >>asked' INT; while :; do sleep 0.1; done";

fn start(options: &[&str], then: &str) -> Running {
    Session::new().file("conmon", CONMON).options(options).sh(&format!("{START} {then}")).start()
}

fn until_waited_for(run: &Running) {
    let count = || std::fs::read_to_string(run.path().join("continued")).unwrap_or_default().len();
    let before = count();
    run.until("its clean-up is waited for", || count() > before + 5);
}

/// What cgrun hears within 20 ms of another one would be the same request.
fn press(run: &Running) {
    let last = Instant::now();
    run.until("this is another request", || last.elapsed() > Duration::from_millis(50));
    run.signal(SIGINT);
}

#[test]
fn the_wait_for_a_monitor_ends_at_the_third_signal() {
    let run = start(&["--grace", "60s"], STUBBORN);
    run.until_file("running");
    press(&run);
    run.until_file("asked");
    let began = Instant::now();
    press(&run);
    until_waited_for(&run);
    press(&run);
    let run = run.finish();
    assert!(began.elapsed() < PATIENCE, "{:?}: {}", began.elapsed(), run.stderr());
    run.assert_nothing_left();
}

#[test]
fn signals_are_heard_while_a_monitor_that_leaked_is_waited_for() {
    let run = start(&["--grace", "200ms"], "");
    run.until_file("running");
    until_waited_for(&run);
    run.signal(SIGINT).until_said("send it again to kill everything now");
    until_waited_for(&run);
    run.finish().assert_nothing_left();
}

/// An orphan of a background job becomes a child of cgrun, which a shell has executed.
#[test]
fn the_container_of_a_stranger_is_left_alone() {
    let conmon = "#!/bin/sh\nsleep 1000 & echo $! >pid-file; echo $$ >new; mv new monitor; wait\n";
    let script = "chmod 755 conmon\n\
                  (until [ -e running ]; do sleep 0.01; done; ./conmon -c \"$PWD\" -u \"$PWD\" -p \"$PWD/pid-file\" &) &\n\
                  exec \"$CGRUN\" \"$@\"";
    let session = Session::new().file("conmon", conmon).options(["--grace", "60s"]);
    let command = "trap '' INT; touch running; while :; do sleep 0.1; done";
    let run = session.sh(command).start_through(&["sh", "-c", script, "sh"]);
    run.until_file("monitor");
    let stat = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let pid = |name: &str| std::fs::read_to_string(run.path().join(name)).unwrap().trim().parse().unwrap();
    let (monitor, container): (i32, i32) = (pid("monitor"), pid("pid-file"));
    let orphaned = format!(") S {} ", run.pid());
    run.until("cgrun is its parent", || stat(monitor).contains(&orphaned));
    press(&run);
    press(&run);
    let run = run.finish();
    let alive = [monitor, container].map(|pid| stat(pid).contains(") S "));
    for pid in [container, monitor] {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    assert_eq!(alive, [true; 2], "{}", run.stderr());
    run.assert_said("it was left alone").assert_nothing_left();
}

#[test]
fn a_monitor_that_never_finishes_is_killed_after_a_moment() {
    let run = start(&["--grace", "60s"], STUBBORN);
    run.until_file("running");
    press(&run);
    run.until_file("asked");
    press(&run);
    run.finish().assert_faster_than(Duration::from_secs(20)).assert_nothing_left();
}
