//! `cgrun ps` shows the processes of a session with their tests, and ends what a test has left, in every containment.

use std::time::Duration;

use serde_json::Value;

use crate::containments::Host;
use crate::fixtures::LONG;
use crate::harness::{Finished, Running, Session, TestCgroup};

/// Nothing that a test here starts lives that long.
const FOREVER: &str = "900";

everywhere!(
    ps_lists_the_processes_of_its_session_with_their_tests,
    ps_lists_the_processes_of_a_session_from_outside,
    ps_ends_what_the_caller_has_left_and_nothing_else,
    ps_finds_a_daemon_that_cleared_its_environment,
);

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn processes(document: &Value) -> Vec<Value> {
    document["processes"].as_array().unwrap_or_else(|| panic!("{document:#}")).clone()
}

/// The process of which one argument is this.
fn process(document: &Value, word: &str) -> Value {
    let all = processes(document);
    let found = all.iter().find(|it| it["command_line"].as_array().unwrap().contains(&word.into()));
    found.unwrap_or_else(|| panic!("no {word} in {document:#}")).clone()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

fn ps_lists_the_processes_of_its_session_with_their_tests(host: Host) {
    let config = "[services.web]\ncommand = ['sleep', '901']\nready = { command = ['true'] }\n";
    let script = "CGRUN_TEST='cart empties' sleep 902 & sleep 903 & until [ $($CGRUN ps | grep -c '  sleep 90[0-9]$') = 3 ]; do :; done
        $CGRUN ps --json >ps.json; echo $?; $CGRUN ps";
    let run = host.run(Session::new().options(LONG).config(config).sh(script));
    let document = json(&run.read("ps.json"));
    assert_eq!(document["undescribed_process_count"], 0);
    assert_eq!(process(&document, "901")["component"], "service web");
    assert_eq!(process(&document, "901")["started_during"], Value::Null);
    let marked = process(&document, "902");
    assert_eq!((&marked["component"], &marked["allowed"]), (&"command".into(), &false.into()));
    assert_eq!(marked["started_during"]["test"], "cart empties");
    assert_eq!(process(&document, "903")["started_during"], Value::Null);
    // The shell is there too, and neither cgrun nor what it needs for itself.
    assert_eq!(processes(&document).len(), 4, "{document:#}");
    let stdout = run.stdout();
    assert_eq!(stdout.lines().next(), Some("0"));
    assert_eq!(words(stdout.lines().nth(1).unwrap()), ["PID", "AGE", "STATE", "TEST", "COMMAND"]);
    let row = stdout.lines().find(|line| line.ends_with("  sleep 902")).unwrap();
    assert!(row.ends_with("  cart empties    sleep 902"), "it is below the shell: {row}");
    assert!(
        stdout.lines().any(|line| line.contains("service web") && line.contains("sleep 901")),
        "{stdout}"
    );
    run.assert_code(0).assert_nothing_left();
}

/// A session that waits until its file `go` is written to.
fn waiting(host: Host) -> Running {
    let session = Session::new().options(LONG);
    let script = format!("mkfifo go; sleep {FOREVER} & echo $CGRUN_SESSION >id; mv id up; read line <go");
    let run = host.start(session.sh(&script));
    run.until_file("up");
    run
}

fn let_go(run: Running) -> Finished {
    std::fs::write(run.path().join("go"), "\n").unwrap();
    run.finish()
}

fn ps_lists_the_processes_of_a_session_from_outside(host: Host) {
    let run = waiting(host);
    let id = std::fs::read_to_string(run.path().join("up")).unwrap();
    let document = run.cgrun(&["ps", "--json", id.trim()]).assert_code(0).json();
    assert_eq!(document["session"], id.trim());
    assert_eq!(process(&document, FOREVER)["component"], "command");
    assert_eq!(processes(&document).len(), 2, "{document:#}");
    let_go(run).assert_code(0).assert_nothing_left();
}

fn ps_ends_what_the_caller_has_left_and_nothing_else(host: Host) {
    let script = "sleep 901 & old=$!
        token=$($CGRUN ps --token)
        $CGRUN ps --new-since $token --end || exit 10
        sleep 902 & sh -c 'sleep 903 & exec setsid -f sleep 904'
        until [ $($CGRUN ps | grep -c '  sleep 90[0-9]$') = 4 ]; do :; done
        $CGRUN ps --new-since $token --json >listed.json; echo $?
        $CGRUN ps --new-since $token --end; echo $?
        $CGRUN ps --new-since $token; echo $?
        kill -0 $old && kill $old; wait";
    let run = host.run(Session::new().options(LONG).sh(script));
    let listed = json(&run.read("listed.json"));
    assert_eq!(processes(&listed).len(), 3, "{listed:#}");
    let stdout = run.stdout();
    let lines: Vec<_> = stdout.lines().collect();
    let [first, headline, ended @ .., hint, last, none] = &lines[..] else { panic!("{stdout}") };
    assert_eq!((*first, *headline), ("1", "3 processes left running, and ended by cgrun:"));
    assert!(hint.trim().starts_with("hint: ") && (*last, *none) == ("1", "0"), "{stdout}");
    for seconds in ["902", "903", "904"] {
        assert!(ended.iter().any(|line| line.contains(&format!("(sleep {seconds})"))), "{stdout}");
    }
    run.assert_code(0).assert_code(0).assert_nothing_left();
}

fn ps_finds_a_daemon_that_cleared_its_environment(host: Host) {
    let script = "token=$($CGRUN ps --token); cgrun=$CGRUN
        env -i setsid -f sleep 901; until pidof_901; do :; done
        $cgrun ps --new-since $token --end; echo $?";
    let helper = "pidof_901() { $CGRUN ps --json | grep -q '\"901\"'; }\n";
    let run = host.run(Session::new().options(LONG).sh(&format!("{helper}{script}")));
    let stdout = run.stdout();
    assert!(stdout.contains("(sleep 901)") && stdout.ends_with("\n1\n"), "{stdout}");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn ps_ends_what_was_started_during_one_test() {
    let script = "CGRUN_TEST=one sh -c 'trap \"\" TERM; sleep 901 & echo >ready; wait' & CGRUN_TEST=two sleep 902 & two=$!
        until [ -e ready ]; do :; done
        $CGRUN ps --during three --end; echo $?
        $CGRUN ps --during one --end --grace 50ms; echo $?
        $CGRUN ps --during one --json >/dev/null; echo $?; kill $two";
    let run = Session::new().options(LONG).sh(script).run();
    let stdout = run.stdout();
    assert!(stdout.starts_with("0\n2 processes left running, and ended by cgrun:\n"), "{stdout}");
    assert!(stdout.contains("it did not exit when asked to, and was killed"), "{stdout}");
    assert!(stdout.ends_with("\n1\n0\n"), "{stdout}");
    assert_eq!(run.stderr(), "cgrun: 1 test leaked 2 processes, already ended by cgrun ps\n");
    run.assert_code(0).assert_nothing_left();
}

/// Of a test whose name is misspelt, it would otherwise look as if it had left nothing.
#[test]
fn ps_says_so_if_nothing_was_started_during_a_test_of_that_name() {
    let script = "CGRUN_TEST='cart empties' sleep 901 & until grep -q sleep /proc/$!/comm; do :; done
        $CGRUN ps --during 'cart fills'; echo $?; $CGRUN ps --during 'cart empties' 2>&1 >/dev/null; echo $?; kill $!";
    let run = Session::new().options(LONG).sh(script).run();
    assert_eq!(run.stdout(), "0\n1\n");
    run.assert_matches(
        "session [a-z0-9]+ runs nothing that was started during a test called cart fills; for all that it runs: cgrun ps ",
    );
    run.assert_code(0).assert_nothing_left();
}

/// Each process starts the next one before it exits.
#[test]
fn ps_says_so_if_processes_keep_appearing() {
    let relay = "import os, signal\n\
        def pass_on(*_):\n\
        \x20   signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n\
        \x20   if os.fork(): os._exit(0)\n\
        \x20   signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})\n\
        signal.signal(signal.SIGTERM, pass_on)\n\
        open('ready', 'w').close()\n\
        while True: signal.pause()\n";
    let script = "token=$($CGRUN ps --token); python3 relay.py & until [ -e ready ]; do :; done
        $CGRUN ps --new-since $token --end 2>said; echo $?; cat said";
    let run = Session::new().options(["--grace", "100ms"]).file("relay.py", relay).sh(script).run();
    let stdout = run.stdout();
    assert!(stdout.contains("20 processes left running"), "{stdout}");
    assert!(stdout.contains("\n122\n") && stdout.contains("processes keep appearing"), "{stdout}");
    run.assert_nothing_left();
}

/// Only root can do that.
#[test]
fn ps_lists_a_process_that_has_left_the_cgroup() {
    let away = TestCgroup::create("away");
    let script = "setsid -f sh -c 'echo 0 >$0/cgroup.procs; exec sleep 901' $AWAY
        until grep -q sleep /proc/$(cat $AWAY/cgroup.procs | head -1)/comm; do :; done
        $CGRUN ps --json";
    let run = Session::new().options(LONG).env("AWAY", away.path()).sh(script).run();
    assert_eq!(process(&json(&run.stdout()), "901")["component"], "command");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn ps_does_not_list_what_ends_by_itself_in_time() {
    let script =
        "token=$($CGRUN ps --token); sleep 0.05 & $CGRUN ps --new-since $token --settle 60s --end; echo $?";
    let run = Session::new().options(LONG).sh(script).run();
    assert_eq!(run.stdout(), "0\n");
    run.assert_code(0).assert_silent().assert_nothing_left();
}

#[test]
fn ps_marks_what_is_allowed_and_leaves_it_alone() {
    let script = "token=$($CGRUN ps --token); sleep 901 & until grep -q sleep /proc/$!/comm; do :; done
        $CGRUN ps --new-since $token --end; echo $?
        $CGRUN ps --new-since $token --json; kill -0 $!";
    let run = Session::new().options(LONG).options(["--allow", "sleep"]).sh(script).run();
    let stdout = run.stdout();
    let (code, document) = stdout.split_once('\n').unwrap();
    assert_eq!((code, &process(&json(document), "901")["allowed"]), ("0", &true.into()));
    run.assert_code(0).assert_silent().assert_nothing_left();
}

/// Of two workers, each sees its own.
#[test]
fn ps_tells_the_daemons_of_parallel_workers_apart() {
    let worker = "token=$($CGRUN ps --token); setsid -f sleep 90$JEST_WORKER_ID; echo >started$JEST_WORKER_ID
        until [ -e started1 ] && [ -e started2 ]; do :; done
        $CGRUN ps --new-since $token --end >ended$JEST_WORKER_ID; echo >done$JEST_WORKER_ID
        until [ -e done1 ] && [ -e done2 ]; do :; done";
    let script = "JEST_WORKER_ID=1 sh worker.sh & JEST_WORKER_ID=2 sh worker.sh & wait";
    let run = Session::new().options(LONG).file("worker.sh", worker).sh(script).run();
    for worker in ["1", "2"] {
        let ended = run.read(&format!("ended{worker}"));
        assert!(ended.starts_with("1 process left running"), "{ended}");
        assert!(ended.contains(&format!("(sleep 90{worker})")), "{ended}");
    }
    assert_eq!(run.stderr(), "cgrun: leaked 2 processes, already ended by cgrun ps\n");
    run.assert_code(0).assert_nothing_left();
}

/// A server of an earlier fixture starts a process for each request.
#[test]
fn ps_does_not_blame_a_test_for_what_an_older_process_starts() {
    let server = "mkfifo ask; while :; do if read line <ask; then sleep 901 & echo >answered; fi; done";
    let script = "sh server.sh & until [ -p ask ]; do :; done; token=$($CGRUN ps --token)
        echo >ask; until [ -e answered ]; do :; done; until [ $($CGRUN ps | grep -c '  sleep 90[0-9]$') = 1 ]; do :; done
        $CGRUN ps --json | grep -q '\"901\"' && $CGRUN ps --new-since $token; echo $?";
    let run = Session::new().options(LONG).file("server.sh", server).sh(script).run();
    assert_eq!(run.stdout(), "0\n");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn ps_works_for_another_user_too() {
    let session = Session::new().options(LONG).options(["--user", "nobody"]);
    let script =
        "token=$($CGRUN ps --token); setsid -f sleep 901; until $CGRUN ps | grep -q 'sleep 901$'; do :; done
        $CGRUN ps; $CGRUN ps --new-since $token --end; echo $?";
    let copy = session.path().join("cgrun");
    std::fs::copy(crate::harness::cgrun_program(), &copy).unwrap();
    open_to_all(session.path());
    let run = session.env("CGRUN", copy).sh(script).run();
    let stdout = run.stdout();
    assert!(stdout.contains("COMMAND\n") && stdout.contains("(sleep 901)"), "{stdout}");
    assert!(stdout.ends_with("\n1\n"), "{stdout}");
    run.assert_said("leaked 1 process, already ended by cgrun ps\n");
    run.assert_code(0).assert_nothing_left();
}

fn open_to_all(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// In a PID namespace of its own, where no other test has a session.
#[test]
fn ps_outside_of_a_session_finds_the_only_one() {
    let script = "$CGRUN ps; echo $?
        session() { $CGRUN sh -c \"echo >up$1; mkfifo go$1; sleep 90$1 & read line <go$1\" & until [ -e up$1 ]; do :; done; }
        session 1; until $CGRUN ps | grep 'sleep 901$' >sleep; do :; done; wc -l <sleep
        session 2; $CGRUN ps; echo $?
        until [ -p go1 ] && [ -p go2 ]; do :; done; echo >go1; echo >go2; wait";
    let launcher = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script];
    let run = Session::new().start_through(&launcher).finish();
    assert_eq!(run.stdout(), "125\n1\n125\n");
    run.assert_said("no session of this user is running; list sessions with: cgrun sessions");
    run.assert_said("2 sessions are running; name one of them: cgrun ps ").assert_nothing_left();
}

/// It has started nothing there.
#[test]
fn ps_does_not_say_what_an_outsider_has_started() {
    let script = "token=$($CGRUN ps --token); mkfifo go
        $CGRUN sh -c 'echo $CGRUN_SESSION >id; read line <go' & until [ -s id ]; do :; done
        $CGRUN ps $(cat id) --new-since $token --end; echo $?; echo >go; wait $!; echo $?";
    let run = Session::new().start_through(&["sh", "-c", script]).finish();
    assert_eq!(run.stdout(), "125\n0\n");
    run.assert_said("use --during, or call it in the session").assert_nothing_left();
}

#[test]
fn ps_refuses_what_it_cannot_know() {
    let run = Session::new().sh("$CGRUN ps --new-since 99999999999.1").run();
    run.assert_code(125).assert_said("is from another boot or time namespace; get one where it is used");
    let outside = |arguments: &[&str], said: &str| {
        run.cgrun(arguments).assert_code(125).assert_said(said);
    };
    outside(&["ps", "zzzzzzzz"], "there is no session zzzzzzzz; list sessions with: cgrun sessions");
    outside(&["ps", "../x"], "invalid session ID \"../x\"");
    outside(
        &["ps", "--new-since", "yesterday"],
        "invalid token \"yesterday\"; get one with: cgrun ps --token",
    );
    outside(&["ps", "--end"], "the following required arguments were not provided");
    let fake = Session::again().env("CGRUN_SESSION", "zzzzzzzz").options(["ps"]).run();
    fake.assert_code(125).assert_said("cannot find the supervisor of session zzzzzzzz").assert_nothing_left();
}

#[test]
fn a_program_called_ps_stays_reachable() {
    let program = "#!/bin/sh\necho \"the program ps: $*\"\n";
    let session = Session::new().file("bin/ps", program);
    open_to_all(&session.path().join("bin/ps"));
    let path = format!("{}:{}", session.path().join("bin").display(), std::env::var("PATH").unwrap());
    let run = session.env("PATH", path).options(["--"]).command(["ps", "x"]).run();
    assert_eq!(run.stdout(), "the program ps: x\n");
    run.assert_code(0).assert_silent().assert_nothing_left();
}

/// Far more than it takes, and far less than reading the whole host would on a large one.
#[test]
fn ps_of_five_hundred_processes_is_fast() {
    let script = "for n in $(seq 480); do sleep 900 & done; $CGRUN ps >ps; date +%s%N; $CGRUN ps >/dev/null; date +%s%N; wc -l <ps";
    let run = Session::new().options(LONG).sh(script).run();
    let numbers: Vec<u64> = run.stdout().lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(numbers[2], 482);
    assert!(Duration::from_nanos(numbers[1] - numbers[0]) < Duration::from_secs(5), "{numbers:?}");
    run.assert_code(0).assert_nothing_left();
}
