//! `cgrun why` changes nothing, and is not disturbed by a session that ends meanwhile.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Session, cgrun_program};
use crate::why::{explained, id, named, script};

/// What could send a signal to a process, stop it, or write to its memory or to a file.
const CHANGING: &str = "kill,tkill,tgkill,rt_sigqueueinfo,rt_tgsigqueueinfo,pidfd_send_signal,ptrace,\
    process_vm_writev,process_madvise,?open,openat,openat2,?creat";

/// The system calls of this run of cgrun that change something: a cgroup is frozen by writing to a file.
fn changes(directory: &Path, arguments: &[&str]) -> Vec<String> {
    let log = directory.join("calls");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "signal=none", "-e", &format!("trace={CHANGING}"), "-o"])
        .arg(&log)
        .arg(cgrun_program())
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}: {status}");
    let calls = std::fs::read_to_string(log).unwrap();
    assert!(calls.contains("/proc/"), "strace saw nothing:\n{calls}");
    let only_looks = |call: &&str| {
        let opens =
            call.contains("open") && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|it| call.contains(it));
        // Signal 0 only asks whether a process exists.
        let asks = call.contains("kill(") && call.contains(", 0)")
            || call.contains("pidfd_send_signal(") && call.contains(", 0, NULL, 0)");
        opens || asks
    };
    calls.lines().filter(|call| !only_looks(call)).map(String::from).collect()
}

/// Pipes, sockets, locks, a stopped process and a busy one.
#[test]
fn why_sends_no_signal_and_writes_to_no_file() {
    let text = "exec 9>lock; flock 9; sleep 931 & flock lock true & sleep 932 | cat & kill -STOP $!\n\
        python3 -c 'import socket; a, b = socket.socketpair(); a.recv(1)' & while :; do :; done & wait";
    let run = script(text).start();
    explained(&run, &["these two wait for each other"], &["is stopped by SIGSTOP", "wants the lock on "]);
    for arguments in [&["why", &id(&run)][..], &["why", &id(&run), "--json"]] {
        let changes = changes(run.path(), arguments);
        assert!(changes.is_empty(), "{changes:#?}");
    }
    // What does end the session would be seen.
    let stop = changes(run.path(), &["stop", &id(&run)]);
    assert!(stop.iter().any(|call| call.contains("SIGTERM")), "{stop:#?}");
    run.finish().assert_nothing_left();
}

/// Exits with 124 if it hangs.
fn start_why(id: &str) -> Child {
    let mut command = Command::new("timeout");
    command.arg("20").arg(cgrun_program()).args(["why", id]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn why_of_a_session_that_ends_meanwhile_explains_it_or_says_that_it_is_gone() {
    let mut explained = 0;
    for round in 0..5 {
        let session = if round == 0 { Session::new() } else { Session::again() };
        let text =
            "trap 'sleep 0.1; exit' TERM; for n in $(seq 20); do sleep 933 | cat & done; echo >all; wait";
        let run = named(session, &["sh", "-c", text]).start();
        run.until_file("all");
        let id = id(&run);
        let before: Vec<Child> = (0..8).map(|_| start_why(&id)).collect();
        run.signal(Signal::SIGTERM);
        let during: Vec<Child> = (0..8).map(|_| start_why(&id)).collect();
        let ended = run.finish();
        for why in before.into_iter().chain(during) {
            let output = why.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => {
                    assert!(!output.stdout.is_empty() && said.is_empty(), "{output:?}");
                    explained += 1;
                }
                Some(125) => assert!(said.contains(&format!("there is no session {id}")), "{output:?}"),
                _ => panic!("{output:?}"),
            }
        }
        ended.cgrun(&["why", &id]).assert_code(125);
        ended.assert_nothing_left();
    }
    assert!(explained > 0, "each began too late");
}
