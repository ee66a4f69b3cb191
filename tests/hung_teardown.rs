//! A process that even SIGKILL does not end, because it waits for a file system that does not answer.

use std::cell::RefCell;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fixtures::JSON;
use crate::harness::{Running, Session, Stranger, until};

/// A signal turns the wait for the first answer into one that no signal interrupts.
const CLIENT: &str = "import os, signal\n\
    with open('new-id', 'w') as file: file.write(os.environ['CGRUN_SESSION'])\n\
    os.rename('new-id', 'id')\n\
    signal.signal(signal.SIGALRM, lambda *_: None)\n\
    signal.setitimer(signal.ITIMER_REAL, 0.1)\n\
    open('frozen/file')";

const HANGS: &str = "is uninterruptible in the kernel (request_wait_answer";

/// A mount that only this test sees. Its end releases what waits for it.
fn frozen_mount(session: &Session) -> Stranger {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    assert!(Command::new("mount").args(["--make-rprivate", "/"]).status().unwrap().success());
    let directory = session.path().join("frozen");
    std::fs::create_dir(&directory).unwrap();
    let server = Stranger::start(session.path(), "frozen_fuse.py", &[directory.to_str().unwrap()]);
    let mounted = session.path().join("mounted");
    until("the mount", || mounted.exists());
    server
}

/// Waits until `cgrun why` names the process, and returns the session's id.
fn until_it_hangs(run: &Running) -> String {
    run.until_file("id");
    let id = std::fs::read_to_string(run.path().join("id")).unwrap();
    let said = RefCell::new(String::new());
    run.until("an uninterruptible process", || {
        *said.borrow_mut() = run.cgrun(&["why", &id]).stdout;
        said.borrow().lines().last().is_some_and(|last| last.contains(HANGS))
    });
    assert!(said.borrow().lines().last().unwrap().starts_with("look at pid "), "{}", said.borrow());
    id
}

/// Until a signal arrives, the wait for the answer can be interrupted, as can that for the other end of a FIFO.
#[test]
fn why_takes_no_file_system_that_does_not_answer_for_a_fifo() {
    let session = Session::new();
    let server = frozen_mount(&session);
    let name = ["sh", "-c", "echo $CGRUN_SESSION >new-id; mv new-id id; cat frozen/file; :"];
    let run = session.command(name).start();
    run.until_file("id");
    let id = std::fs::read_to_string(run.path().join("id")).unwrap();
    let said = RefCell::new(String::new());
    run.until("what cat waits for", || {
        *said.borrow_mut() = run.cgrun(&["why", id.trim()]).stdout;
        said.borrow().contains("(cat frozen/file)") && said.borrow().contains("frozen/file is open")
    });
    // Whatever fails below, the server ends first: else the cgroup could never be removed.
    drop(server);
    run.finish().assert_nothing_left();
    let said = said.into_inner();
    assert!(
        said.contains(": it waits until frozen/file is open, in the kernel (request_wait_answer)"),
        "{said}"
    );
}

#[test]
fn a_process_that_survives_sigkill_is_named_with_the_function_of_the_kernel() {
    let options = ["--kill-wait", "300ms", "--grace", "300ms"];
    let session = Session::new().file("client.py", CLIENT).options(options).options(JSON);
    let server = frozen_mount(&session);
    let run = session.command(["python3", "client.py"]).start();
    let id = until_it_hangs(&run);
    let begin = Instant::now();
    run.signal(Signal::SIGTERM);
    // Whatever fails below, the server ends first: else the cgroup could never be removed.
    let (run, server) = (run.finish(), server);
    let took = begin.elapsed();
    run.assert_code(122).assert_matches(r"SURVIVED: pid \d+ \(.*client.py.* was killed but has not exited");
    run.assert_said(HANGS).assert_said("called by __fuse_simple_request");
    assert_eq!(run.stderr().matches("SURVIVED").count(), 1, "{}", run.stderr());
    assert!(took < Duration::from_secs(10), "{took:?}");
    let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
    assert!(report["survivors"][0].as_str().unwrap().contains(HANGS), "{report:#}");
    for command in [&["stop", &id][..], &["sweep"]] {
        run.cgrun(command).assert_code(122).assert_said(HANGS);
    }
    drop(server);
    until("the exit of what hung", || run.members().is_empty());
    run.cgrun(&["stop", &id]).assert_code(0);
    run.assert_nothing_left();
}
