//! cgrun exits in time, whatever its processes and the readers of its output do.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::fixtures::{LONG, SOON};
use crate::harness::{Finished, Running, Session};

fn with_service(arguments: &str) -> Session {
    let config = format!(
        "[services.bad]\ncommand = ['python3', '{{helpers}}/leak.py', 'service', {arguments}]\n\
         ready = {{ log = 'ready$' }}\n"
    );
    Session::new().config(&config)
}

fn launched(how: &[&str], mode: &[&str]) -> Finished {
    Session::new().options(LONG).helper("leak.py", mode).start_launched(how).finish()
}

#[test]
fn a_service_that_ignores_every_signal_is_killed() {
    let run = with_service("'deaf'").options(["--grace", "300ms"]).command(["true"]).run();
    run.assert_code(0).assert_said("service bad did not stop it within its grace").assert_nothing_left();
    run.assert_faster_than(SOON).assert_slower_than(Duration::from_millis(300));
}

#[test]
fn a_stopped_service_is_cleaned_up() {
    let run = with_service("'stopped'").options(LONG).command(["true"]).run();
    run.assert_code(0).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_service_that_freezes_itself_is_cleaned_up() {
    let run = with_service("'frozen'").options(["--grace", "300ms"]).command(["true"]).run();
    run.assert_code(0).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_session_frozen_from_within_is_cleaned_up() {
    let run = with_service("'freezes-session'").command(["true"]).start();
    until_frozen(&run);
    // The frozen process cannot report this itself.
    std::fs::OpenOptions::new()
        .append(true)
        .open(run.log_path("bad"))
        .unwrap()
        .write_all(b"ready\n")
        .unwrap();
    let run = run.finish();
    run.assert_code(125).assert_said("did not start within 30 s").assert_nothing_left();
    run.assert_faster_than(2 * SOON);
}

/// Waits until the cgroup named in the file `freezing` is frozen.
fn until_frozen(run: &Running) {
    run.until_file("freezing");
    let cgroup = std::fs::read_to_string(run.path().join("freezing")).unwrap();
    let events = Path::new(&cgroup).join("cgroup.events");
    run.until("frozen", || std::fs::read_to_string(&events).unwrap().contains("frozen 1"));
}

#[test]
fn a_leak_that_freezes_its_own_leaf_is_cleaned_up() {
    let run = Session::new().options(["--grace", "300ms"]).helper("leak.py", &["frozen", "leak"]).run();
    run.assert_code(0).assert_said(&format!("pid {} (", run.read("leak"))).assert_nothing_left();
    assert!(run.path().join("freezing").exists());
    run.assert_faster_than(SOON);
}

#[test]
fn a_frozen_command_is_cleaned_up() {
    let run = Session::new().options(["--grace", "300ms"]).helper("leak.py", &["frozen", "command"]).start();
    until_frozen(&run);
    run.signal(Signal::SIGTERM);
    let run = run.finish();
    run.assert_signal(Signal::SIGTERM).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_full_pipe_on_stderr_does_not_block() {
    let run = launched(&["full-stderr"], &["background"]);
    run.assert_code(0).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_full_pipe_on_stderr_does_not_block_even_a_long_report() {
    let run = launched(&["full-stderr"], &["sleepers", "100"]);
    run.assert_code(0).assert_nothing_left().assert_faster_than(Duration::from_secs(4));
}

#[test]
fn a_stderr_without_a_reader_does_not_block() {
    launched(&["no-stderr-reader"], &["background"]).assert_code(0).assert_nothing_left();
}

#[test]
fn a_closed_stderr_does_not_matter() {
    launched(&["no-stderr"], &["background"]).assert_code(0).assert_nothing_left();
}

#[test]
fn a_service_can_write_50_mb_of_log() {
    let run =
        with_service("'flood', '50'").options(LONG).sh("until [ -e flooded ]; do sleep 0.01; done").run();
    run.assert_code(0).assert_nothing_left().assert_faster_than(SOON);
    assert!(run.log("bad").len() > 50_000_000);
}

/// The log grows faster than it can be searched, and the expected line never comes.
#[test]
fn a_service_that_never_stops_writing_is_not_ready_in_time() {
    let config = "[services.bad]\ncommand = ['python3', '{helpers}/leak.py', 'service', 'chatter']\n\
                  ready = { log = 'never', timeout = '500ms' }\n";
    let run = Session::new().config(config).command(["true"]).run();
    run.assert_code(125).assert_said("was not ready").assert_said("within 0.5 s").assert_nothing_left();
    run.assert_faster_than(SOON);
}

#[test]
fn a_service_that_forks_while_the_session_ends_is_cleaned_up() {
    let run = with_service("'forks', '300'").options(["--grace", "300ms"]).command(["true"]).run();
    run.assert_code(0).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_leak_with_a_hundred_zombies_is_cleaned_up() {
    let run = Session::new().options(LONG).helper("leak.py", &["zombies"]).run();
    run.assert_code(0).assert_said("leaked 1 process, found").assert_nothing_left();
    run.assert_said(&format!("pid {} (", run.read("leak"))).assert_faster_than(SOON);
}

#[test]
fn a_command_that_closes_its_stdio_and_daemonizes_at_once_is_cleaned_up() {
    let script = "exec >&- 2>&- <&-; setsid sleep 900 & exit 0";
    let run = Session::new().options(LONG).sh(script).run();
    run.assert_code(0).assert_said("leaked 1 process, found").assert_nothing_left();
    run.assert_faster_than(SOON);
}

/// The name looks like the fields that follow it in /proc/PID/stat.
#[test]
fn a_process_name_cannot_mislead_the_reader_of_stat() {
    let run = named(b"a) R 1 (b", &[b"a) Z 1 (b"]);
    run.assert_said("(a) Z 1 (b)");
}

#[test]
fn a_command_line_cannot_draw_on_the_terminal() {
    let run = named(b"cat", &[b"\x1b[2J\x07\r\n\xff\xc2\x9b31m", b"-", b"\x1b]0;title\x07"]);
    run.assert_said(r"\u{1b}[2J\u{7}\r\n").assert_said(r"\u{1b}]0;title\u{7}").assert_said(r"\u{9b}31m");
}

#[test]
fn a_process_name_without_a_command_line_cannot_draw_on_the_terminal() {
    let run = named(b"\xff\x1b[2J) Z 1 (", &[b""]);
    run.assert_said(r"\u{1b}[2J) Z 1 (]");
}

/// Leaks a process with this name (the kernel's `comm`) and command line.
fn named(name: &[u8], words: &[&[u8]]) -> Finished {
    let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    let words: Vec<_> = [name].iter().chain(words).map(|it| hex(it)).collect();
    let arguments: Vec<_> = ["names"].into_iter().chain(words.iter().map(String::as_str)).collect();
    let run = Session::new().options(LONG).helper("leak.py", &arguments).run();
    run.assert_code(0).assert_said("leaked 1 process, found").assert_nothing_left();
    run.assert_said(&format!("pid {} (", run.read("leak"))).assert_faster_than(SOON);
    let stderr = std::fs::read(run.path().join("stderr")).unwrap();
    assert!(stderr.iter().all(|&it| it == b'\n' || !it.is_ascii_control()), "{:?}", run.stderr());
    run
}

#[test]
fn cgrun_works_on_a_kernel_without_clone3() {
    let run = launched(&["without-clone3", "ENOSYS"], &["background"]);
    assert_worked(&run);
}

#[test]
fn cgrun_works_in_a_sandbox_that_forbids_clone3() {
    let run = launched(&["without-clone3", "EPERM"], &["background"]);
    assert_worked(&run);
}

#[test]
fn a_session_works_in_a_cgroup_that_was_killed_once() {
    let run = launched(&["in-killed-cgroup"], &["background"]);
    assert_worked(&run);
}

#[test]
fn a_session_within_a_session_works_in_a_cgroup_that_was_killed_once() {
    let inner = ["sh", "-c", "$CGRUN sh -c 'sleep 901 & exit 3'; echo $? >code; sleep 902 & exit 4"];
    let run = Session::new().command(inner).start_launched(&["in-killed-cgroup"]).finish();
    run.assert_code(4).assert_said("(sleep 901)").assert_said("(sleep 902)").assert_nothing_left();
    assert_eq!(run.read("code"), "3\n");
    run.assert_faster_than(SOON);
}

#[track_caller]
fn assert_worked(run: &Finished) {
    run.assert_code(0).assert_said("leaked 1 process, found and stopped:").assert_nothing_left();
    run.assert_said(&format!("pid {} (", run.read("leak"))).assert_faster_than(SOON);
}
