//! What cgrun finds around it, which others prepared: a preloaded library, ignored signals, tight limits.

use std::time::Duration;

use nix::sys::signal::Signal::{SIGHUP, SIGTERM};

use crate::fixtures::{LONG, SOON};
use crate::harness::Session;

/// A clock that stands still for every program that asks libc for the time.
fn with_frozen_clock(session: Session) -> Session {
    let library = std::fs::read_dir("/usr/lib").unwrap().map(|it| it.unwrap().path());
    let library = library.map(|it| it.join("faketime/libfaketime.so.1")).find(|it| it.exists());
    let library = library.expect("libfaketime (Debian's package faketime)");
    session.env("LD_PRELOAD", library).env("FAKETIME", "2020-01-01 00:00:00")
}

/// cgrun has it as well, as it has a library from `/etc/ld.so.preload`: it takes itself for executed again without.
fn with_frozen_clock_of_its_own() -> Session {
    with_frozen_clock(Session::new()).env("CGRUN_KEPT_LD_PRELOAD", "")
}

// --- a clock that stands still ---------------------------------------------------------------

#[test]
fn the_grace_passes_although_the_clock_stands_still() {
    let run = with_frozen_clock_of_its_own();
    let run = run.options(["--grace", "300ms"]).helper("ignore.py", &["TERM"]).start();
    run.until_file("ignoring").signal(SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_said("did not stop when asked").assert_nothing_left();
    run.assert_slower_than(Duration::from_millis(300)).assert_faster_than(SOON);
}

#[test]
fn the_time_to_settle_passes_although_the_clock_stands_still() {
    let run = with_frozen_clock_of_its_own().options(["--on-leak", "fail"]).sh("sleep 1000 &").run();
    run.assert_code(121).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn the_timeout_passes_although_the_clock_stands_still() {
    let run = with_frozen_clock_of_its_own().options(["--timeout", "300ms"]).sh("exec sleep 1000").run();
    run.assert_code(124).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_service_is_waited_for_although_the_clock_stands_still() {
    let config =
        "[services.slow]\ncommand = ['sleep', '1000']\nready = { log = 'never', timeout = '300ms' }\n";
    let run = with_frozen_clock_of_its_own().config(config).command(["true"]).run();
    run.assert_code(125).assert_said("within 0.3 s").assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_preloaded_library_is_in_the_session_and_not_in_cgrun() {
    let script = "grep -c faketime /proc/$PPID/maps; env | grep -c ^CGRUN_KEPT; date +%Y";
    let run = with_frozen_clock(Session::new()).sh(script).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(run.stdout(), "0\n0\n2020\n");
}

// --- who asks, and how often -----------------------------------------------------------------

/// systemd does this to a unit with `SendSIGHUP=yes`.
#[test]
fn a_sigterm_and_a_sighup_are_one_request() {
    let save =
        "trap 'sleep 1; touch saved; exit 0' TERM HUP; touch running; while :; do sleep 1000 & wait; done";
    Session::new();
    for pair in [[SIGTERM, SIGHUP], [SIGHUP, SIGTERM]] {
        let run = Session::again().options(LONG).sh(save).start();
        run.until_file("running").signal(pair[0]);
        // That the second one comes after the first was read, and long before the command has ended.
        std::thread::sleep(Duration::from_millis(30));
        run.signal(pair[1]);
        let run = run.finish();
        run.assert_code(0).assert_nothing_left().assert_faster_than(SOON);
        assert!(run.path().join("saved").exists(), "the command was not given its grace");
    }
}
