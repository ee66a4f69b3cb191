//! `cgrun why` names the process that a session hangs at, and its test, by what the kernel tells of each process.

use std::cell::RefCell;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::containments::Host;
use crate::fixtures::LONG;
use crate::harness::{Running, Session, python_program};

macro_rules! everywhere {
    ($($scenario:ident),* $(,)?) => {
        mod cgroup { $(#[test] fn $scenario() { super::$scenario(super::Host::Cgroups) })* }
        mod pidns { $(#[test] fn $scenario() { super::$scenario(super::Host::NoCgroups) })* }
        mod tree { $(#[test] fn $scenario() { super::$scenario(super::Host::NoNamespaces) })* }
    };
}

everywhere!(why_follows_pipes_and_children_to_a_stopped_process);

/// A session whose command writes the session's id to a file first.
pub(crate) fn session(command: &[&str]) -> Session {
    named(Session::new(), command)
}

pub(crate) fn named(session: Session, command: &[&str]) -> Session {
    let name = ["sh", "-c", "echo $CGRUN_SESSION >new-id; mv new-id id; exec \"$@\"", "sh"];
    session.options(LONG).command([&name, command].concat())
}

pub(crate) fn script(text: &str) -> Session {
    session(&["sh", "-c", text])
}

pub(crate) fn id(run: &Running) -> String {
    run.until_file("id");
    std::fs::read_to_string(run.path().join("id")).unwrap().trim().to_string()
}

/// Waits until `cgrun why` prints these, the first of them in its last line.
pub(crate) fn explained(run: &Running, verdict: &[&str], elsewhere: &[&str]) -> String {
    let id = id(run);
    let said = RefCell::new(String::new());
    let is_explained = || {
        let why = run.cgrun(&["why", &id]);
        why.assert_code(0).assert_silent();
        *said.borrow_mut() = why.stdout;
        let last = said.borrow().lines().last().unwrap_or_default().to_string();
        verdict.iter().all(|part| last.contains(part))
            && elsewhere.iter().all(|part| said.borrow().contains(part))
    };
    let begin = std::time::Instant::now();
    while !is_explained() {
        assert!(
            begin.elapsed().as_secs() < 30,
            "no {verdict:?} in the last line, or no {elsewhere:?}, of:\n{}",
            said.borrow()
        );
    }
    said.into_inner()
}

pub(crate) fn end(run: Running) {
    run.signal(Signal::SIGTERM);
    run.finish().assert_nothing_left();
}

pub(crate) fn json(run: &Running) -> Value {
    run.cgrun(&["why", &id(run), "--json"]).assert_code(0).json()
}

fn why_follows_pipes_and_children_to_a_stopped_process(host: Host) {
    let text =
        "cat <&3 & sleep 901 & until grep -q sleep /proc/$!/comm; do :; done; kill -STOP $!; exec 3<&-; wait";
    let run = host.start(script(&format!("mkfifo f; exec 3<>f; {text}")));
    explained(&run, &["look at ", "(sleep 901): it is stopped"], &["waits for a", " child"]);
    end(run);
}

#[test]
fn why_names_the_grandchild_that_holds_a_pipe_open_and_its_test() {
    let test = "import subprocess\ndef test_b():\n    \
        subprocess.run('sleep 903 & exit 0', shell=True, capture_output=True)\n";
    let pytest = python_program("pytest");
    let run =
        session(&[&pytest, "-q", "-p", "no:cacheprovider", "test_a.py"]).file("test_a.py", test).start();
    explained(
        &run,
        &["(sleep 903), started during test_a.py::test_b (call)", "it sleeps for 15 min"],
        &["runs test_a.py::test_b (call)", "among them data or the exit of "],
    );
    end(run);
}

#[test]
fn why_finds_two_processes_that_wait_for_each_others_locks() {
    let lock = |own: &str, other: &str| {
        format!(
            "flock {own} sh -c 'echo >has-{own}; until [ -e has-{other} ]; do :; done; exec flock {other} true'"
        )
    };
    let run = script(&format!("{} & {} & wait", lock("a", "b"), lock("b", "a"))).start();
    explained(&run, &["wait for each other"], &["wants the lock on ", "/a, held by ", "/b, held by "]);
    let document = json(&run);
    assert!(document["circle"].as_array().is_some_and(|circle| circle.len() >= 2), "{document:#}");
    end(run);
}

#[test]
fn why_names_a_process_that_has_inherited_a_lock() {
    let text = "exec 9>lock; flock 9; sleep 904 & exec 9>&-; flock lock true";
    let run = script(text).start();
    explained(&run, &["(sleep 904): it sleeps for 15 min"], &["wants the lock on ", "/lock, held by "]);
    end(run);
}

#[test]
fn why_finds_a_busy_loop() {
    let run =
        session(&["sh", "-c", "CGRUN_TEST='cart empties' python3 -c 'while True: pass' & wait"]).start();
    explained(&run, &["while True: pass), started during cart empties: it is busy: ", " % CPU"], &[]);
    end(run);
}

#[test]
fn why_says_that_a_fifo_has_no_writer() {
    let run = script("mkfifo data; cat data; :").start();
    explained(
        &run,
        &["(cat data): it opens the FIFO data to read; no process opens it to write"],
        &["waits for its child "],
    );
    end(run);
}

#[test]
fn why_says_that_a_process_waits_for_itself() {
    let text = "import os; reader, writer = os.pipe(); os.read(reader, 1)";
    let run = session(&["python3", "-c", text]).start();
    explained(&run, &["reads a pipe that only it itself can write to"], &[]);
    end(run);
}

#[test]
fn why_leaves_the_processes_alone() {
    let run = script("trap 'echo >got-a-signal' CONT STOP TSTP; sleep 905 & wait").start();
    explained(&run, &["(sleep 905): it sleeps"], &[]);
    let document = json(&run);
    let rows = document["processes"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{document:#}");
    assert!(rows.iter().all(|row| row["state"] == "sleeping"), "{document:#}");
    assert!(!run.path().join("got-a-signal").exists());
    end(run);
}

#[test]
fn why_in_its_own_session_looks_past_itself() {
    let text = "sleep 906 & until [ -e x ]; do $CGRUN why >out; grep -q 'sleep 906): it sleeps' out && touch x; done";
    let run = Session::new().options(LONG).sh(&format!("{text}; kill $!")).run();
    let said = run.read("out");
    assert!(said.lines().last().is_some_and(|last| last.starts_with("look at ")), "{said}");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn a_timeout_says_why_in_all_reports() {
    let reports = ["--report", "json=r.json", "--report", "junit=r.xml", "--report", "html=r.html"];
    let session = Session::new().options(LONG).options(["--timeout", "2s"]).options(reports);
    let run = session.sh("mkfifo data; CGRUN_TEST='cart empties' cat data; :").run();
    let verdict = "(cat data), started during cart empties: it opens the FIFO data to read; no process opens it to write";
    run.assert_code(124).assert_said("timed out after 2s; still running:").assert_said(verdict);
    let report: Value = serde_json::from_str(&run.read("r.json")).unwrap();
    let why = report["why"].as_array().unwrap();
    assert!(why.last().unwrap().as_str().unwrap().contains(verdict), "{why:?}");
    assert!(run.read("r.xml").contains(verdict) && run.read("r.html").contains(verdict));
    run.assert_nothing_left();
}

#[test]
fn why_names_the_holder_of_an_fcntl_lock() {
    let program = "import fcntl, time\n\
        with open('lock', 'w') as lock:\n    \
            fcntl.lockf(lock, fcntl.LOCK_EX)\n    \
            time.sleep(1000)";
    let run = script("python3 lock.py & python3 lock.py & wait").file("lock.py", program).start();
    explained(&run, &["(python3 lock.py): it sleeps"], &["wants the lock on ", "/lock, held by "]);
    end(run);
}

#[test]
fn why_follows_a_connection_to_the_server_that_does_not_answer() {
    let server = "import http.server, time\n\
        class Handler(http.server.BaseHTTPRequestHandler):\n    \
            def do_GET(self): time.sleep(1000)\n\
        http.server.ThreadingHTTPServer(('127.0.0.1', 8000), Handler).serve_forever()";
    let config = "[services.web]\ncommand = ['python3', 'server.py']\nport = 8000\nready = { tcp = 8000 }\n";
    let client = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/')";
    let run = session(&["python3", "-c", client]).file("server.py", server).config(config).start();
    explained(
        &run,
        &["(python3 server.py), of service web: it sleeps for 16 min"],
        &["reads from 127.0.0.1:8000, held by "],
    );
    end(run);
}

#[test]
fn why_says_that_a_connect_gets_no_answer() {
    // A full backlog: the kernel drops what else wants to connect.
    let program = "import socket\n\
        listener = socket.create_server(('127.0.0.1', 0), backlog=0)\n\
        clients = [socket.socket() for _ in range(3)]\n\
        for client in clients: client.connect(listener.getsockname())";
    let run = session(&["python3", "-c", program]).start();
    explained(&run, &["it connects to 127.0.0.1:"], &[]);
    end(run);
}

#[test]
fn why_names_the_hung_worker_of_four() {
    let tests = "import pytest, subprocess\n\
        @pytest.mark.parametrize('n', range(8))\n\
        def test_n(n):\n    \
            if n == 3: subprocess.run(['sleep', '907'])\n";
    let pytest = python_program("pytest");
    let run = session(&[&pytest, "-q", "-n", "4", "-p", "no:cacheprovider", "test_n.py"])
        .file("test_n.py", tests)
        .start();
    explained(&run, &["(sleep 907), started during test_n.py::test_n[3] (call): it sleeps"], &[]);
    end(run);
}

#[test]
fn why_shows_a_pool_whose_worker_has_died() {
    let program = "import multiprocessing, os\n\
        def die(): os.kill(os.getpid(), 9)\n\
        if __name__ == '__main__':\n    \
            with multiprocessing.Pool(2) as pool: pool.apply(die)";
    let run = session(&["python3", "pool.py"]).file("pool.py", program).start();
    let verdict = [
        "(python3 pool.py): it waits for pid ",
        "which waits for its orders; perhaps another worker was killed",
    ];
    explained(&run, &verdict, &[]);
    end(run);
}

#[test]
fn why_works_for_the_processes_of_another_user() {
    let session = named(Session::new(), &["sh", "-c", "sleep 908 & wait"]).options(["--user", "nobody"]);
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(session.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let run = session.start();
    explained(&run, &["(sleep 908): it sleeps for 15 min"], &[]);
    end(run);
}

#[test]
fn why_of_many_processes_is_fast_and_fits_one_screen() {
    let run = script("for n in $(seq 480); do sleep 909 & done; echo >all; wait").start();
    run.until_file("all");
    let said = explained(&run, &["(sleep 909): it sleeps"], &["479 × sleep 909"]);
    let begin = std::time::Instant::now();
    json(&run);
    assert!(begin.elapsed().as_secs() < 2, "{:?}", begin.elapsed());
    assert!(said.lines().count() <= 24, "{said}");
    end(run);
}
