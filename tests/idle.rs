//! `--idle-timeout` ends a command that does nothing, and only such a command. `--warn-after` ends nothing.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fixtures::{JSON, SOON};
use crate::harness::terminal::CTRL_Z;
use crate::harness::{Finished, Session, python_program};

const IDLE: [&str; 2] = ["--idle-timeout", "1s"];
/// Long enough for a runtime to start in, on a busy machine.
const PATIENT: [&str; 2] = ["--idle-timeout", "3s"];

fn assert_ended_as_idle(run: &Finished, limit: &str) {
    run.assert_code(124).assert_said(&format!("the command was idle for {limit}; still running:"));
    run.assert_nothing_left();
}

#[test]
fn an_idle_command_is_ended_with_words_of_its_own() {
    let run = Session::new().options(IDLE).options(JSON).sh("exec sleep 1000").run();
    assert_ended_as_idle(&run, "1s");
    run.assert_said("look at ")
        .assert_said("(sleep 1000): it sleeps for 16 min")
        .assert_slower_than(Duration::from_secs(1))
        .assert_faster_than(SOON);
    let report: serde_json::Value = serde_json::from_str(&run.read("report.json")).unwrap();
    assert_eq!(report["outcome"]["cause"], "idle", "{report:#}");
    assert_eq!(report["outcome"]["exit_code"], 124, "{report:#}");
}

#[test]
fn a_command_that_waits_for_a_read_is_idle() {
    assert_ended_as_idle(&Session::new().options(IDLE).sh("mkfifo pipe; exec cat pipe").run(), "1s");
}

#[test]
fn a_command_that_waits_for_a_lock_is_idle() {
    let script = "exec 9>lock; flock 9; flock lock true";
    assert_ended_as_idle(&Session::new().options(IDLE).sh(script).run(), "1s");
}

#[test]
fn a_command_that_is_stopped_is_idle() {
    assert_ended_as_idle(&Session::new().options(IDLE).sh("kill -STOP $$").run(), "1s");
}

macro_rules! does_a_little {
    ($($test:ident: $kind:literal,)*) => {
        $(#[test]
        fn $test() {
            let run = Session::new().options(PATIENT).helper("does_a_little.py", &[$kind, "1", "8"]).run();
            run.assert_code(0).assert_silent().assert_slower_than(Duration::from_secs(8)).assert_nothing_left();
        })*
    };
}

does_a_little!(
    a_command_that_attempts_to_connect_now_and_then_is_not_idle: "connect",
    a_command_that_talks_to_a_server_now_and_then_is_not_idle: "talk",
    a_command_that_reads_now_and_then_is_not_idle: "read",
    a_command_that_writes_now_and_then_is_not_idle: "write",
    a_command_that_starts_processes_now_and_then_is_not_idle: "spawn",
    a_command_that_computes_now_and_then_is_not_idle: "compute",
);

/// Another host, and a server on it that echoes.
struct OtherHost(std::process::Child);

impl OtherHost {
    fn start() -> Self {
        let server = "import socket\n\
            print('created', flush=True); input()\n\
            client, _ = socket.create_server(('10.9.8.7', 8000)).accept()\n\
            while data := client.recv(1): client.send(data)\n";
        let mut host = Command::new("unshare");
        let host = host.args(["--net", "python3", "-c", server]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut host = host.spawn().unwrap();
        let mut created = String::new();
        BufReader::new(host.stdout.take().unwrap()).read_line(&mut created).unwrap();
        let script = "ip link add near type veth peer name far netns $0
            ip address add 10.9.8.1/24 dev near && ip link set near up
            nsenter --net=/proc/$0/ns/net sh -c 'ip address add 10.9.8.7/24 dev far && ip link set far up'";
        let network = Command::new("sh").args(["-ec", script, &host.id().to_string()]).status().unwrap();
        assert!(network.success());
        host.stdin.take().unwrap().write_all(b"\n").unwrap();
        Self(host)
    }
}

impl Drop for OtherHost {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_command_that_talks_to_another_host_now_and_then_is_not_idle() {
    let session = Session::new().options(PATIENT).helper("does_a_little.py", &["remote", "1", "8"]);
    let _host = OtherHost::start();
    let run = session.run();
    run.assert_code(0).assert_silent().assert_slower_than(Duration::from_secs(8)).assert_nothing_left();
}

#[test]
fn the_timers_of_node_do_not_keep_a_session_alive() {
    let run = Session::new().options(PATIENT).command(["node", "-e", "setInterval(() => {}, 50)"]).run();
    assert_ended_as_idle(&run, "3s");
}

/// As timers do on a virtual machine whose CPUs are shared: each wake costs more than it should. Half a millisecond is enough here:
/// a process that is often kept from the CPU, as by other tests, counts as one that works.
#[test]
fn timers_whose_wakes_are_slow_do_not_keep_a_session_alive() {
    let timer = "import time\nwhile True:\n    end = time.process_time() + 0.0005\n    \
                 while time.process_time() < end: pass\n    time.sleep(0.02)";
    let run = Session::new().options(PATIENT).command(["python3", "-c", timer]).run();
    assert_ended_as_idle(&run, "3s");
}

#[test]
fn the_reloader_of_uvicorn_does_not_keep_a_session_alive() {
    let session = Session::new().file("app.py", "async def app(scope, receive, send): pass");
    let uvicorn = python_program("uvicorn");
    let run = session.options(PATIENT).command([&uvicorn, "app:app", "--port", "8123", "--reload"]).run();
    assert_ended_as_idle(&run, "3s");
}

/// Its user cannot be asked what it reads, but root can find out.
#[test]
fn the_timers_of_another_user_do_not_keep_a_session_alive() {
    let session = Session::new().options(PATIENT).options(["--user", "nobody"]);
    let run = session.command(["node", "-e", "setInterval(() => {}, 50)"]).run();
    assert_ended_as_idle(&run, "3s");
}

#[test]
fn pytest_with_one_hung_worker_of_four_is_idle() {
    let tests = "import pytest, time\n\
                 @pytest.mark.parametrize('n', range(20))\n\
                 def test_one(n): time.sleep(9999 if n == 7 else 0.01)\n";
    let session = Session::new().file("test_hung.py", tests).options(PATIENT);
    let run = session.command([&python_program("pytest"), "-p", "no:cacheprovider", "-n", "4"]).run();
    assert_ended_as_idle(&run, "3s");
}

#[test]
fn what_a_service_does_does_not_count() {
    let busy = "[services.busy]\ncommand = ['sh', '-c', 'while :; do echo working; done']\n";
    let run = Session::new().config(busy).options(IDLE).sh("exec sleep 1000").run();
    assert_ended_as_idle(&run, "1s");
}

#[test]
fn a_service_that_starts_slowly_does_not_make_the_command_idle() {
    let slow = "[services.slow]\ncommand = ['sh', '-c', 'sleep 2; echo ready; exec sleep 1000']\n\
                ready = { log = 'ready' }\n";
    let run = Session::new().config(slow).options(IDLE).sh("exit 3").run();
    run.assert_code(3).assert_nothing_left();
    assert!(!run.stderr().contains("idle"), "{}", run.stderr());
}

#[test]
fn a_session_stopped_by_ctrl_z_is_not_idle() {
    let terminal = Session::new().on_terminal();
    let script = "touch running; until [ -e go ]; do sleep 0.02; done; exit 5";
    terminal.enter(&format!("cgrun --idle-timeout 2s sh -c '{script}'")).until_file("running");
    terminal.press(CTRL_Z).shows("Stopped");
    terminal.prompt(128 + 20);
    std::thread::sleep(Duration::from_millis(2500));
    std::fs::write(terminal.path().join("go"), "").unwrap();
    terminal.enter("fg").prompt(5);
    terminal.leave().assert_nothing_left();
}

#[test]
fn the_idle_timeout_can_be_a_key_or_a_variable() {
    Session::new();
    let key = Session::again().config("[session]\nidle_timeout = '1s'");
    let variable = Session::again().env("CGRUN_IDLE_TIMEOUT", "1s");
    for session in [key, variable] {
        assert_ended_as_idle(&session.sh("exec sleep 1000").run(), "1s");
    }
}

#[test]
fn a_warning_names_what_still_runs_and_the_session_goes_on() {
    let script = "sleep 1000 & until [ -e go ]; do sleep 0.05; done; kill $!; exit 5";
    let run = Session::new().options(["--warn-after", "300ms"]).options(["-q"]).sh(script).start();
    run.until_said("the command still runs after 300ms:\n").until_said("(sleep 1000): it sleeps");
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(5).assert_nothing_left();
}

#[test]
fn a_warning_is_repeated_after_twice_the_time() {
    let script = "until [ -e go ]; do sleep 0.05; done";
    let run = Session::new().config("[session]\nwarn_after = '200ms'").sh(script).start();
    run.until_said("still runs after 800ms");
    std::fs::write(run.path().join("go"), "").unwrap();
    let run = run.finish();
    run.assert_code(0).assert_nothing_left();
    let said = run.stderr();
    let times: Vec<_> =
        said.lines().filter_map(|line| line.split_once(" runs after ")).map(|it| it.1).collect();
    assert_eq!(times[..3], ["200ms:", "400ms:", "800ms:"], "{said}");
}

#[test]
fn a_command_that_is_done_in_time_causes_no_warning() {
    Session::new().options(["--warn-after", "1h"]).sh("exit 3").run().assert_code(3).assert_silent();
}

/// Five hundred random ones take six minutes: `scripts/idle-proof`.
#[test]
fn no_random_suite_that_does_a_little_is_ended_as_idle() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/idle-proof");
    let output =
        Command::new(script).args(["30", "7"]).env("CGRUN", env!("CARGO_BIN_EXE_cgrun")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // A failed test shows this; it names the seeds that failed.
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    assert!(said.contains(" suites at work, 0 ended as idle or failed"));
    assert!(said.contains(" suites that hang, 0 not ended") && !said.contains(" 0 suites that hang"));
}
