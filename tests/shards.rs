//! `--shards N` runs the command in N sessions at once.

use std::fs::File;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};

use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::docs::copy_demo;
use crate::fixtures::{JSON, NOBODY, SOON};
use crate::harness::terminal::{CTRL_C, CTRL_Z};
use crate::harness::{Running, Session, installed, is_listening};
use crate::real_applications::postgres_programs;

const SERVER: &str = "[services.backend]\nport = 8000\n\
    command = ['python3', '{helpers}/server.py', '8000', '--name', 'backend']\n";
const UNTIL_GO: &str = "touch running-$CGRUN_SHARD; until [ -e go ]; do sleep 0.02; done";

fn shards(count: &str) -> Session {
    Session::new().options(["--shards", count])
}

fn until_all_run(run: &Running, count: u32) {
    (1..=count).for_each(|number| _ = run.until_file(&format!("running-{number}")));
}

/// The lines that a shard has written.
fn lines_of(output: &str, shard: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.strip_prefix(shard)).map(str::to_owned).collect()
}

#[test]
fn each_shard_knows_its_number() {
    let script = "echo \"$0 $1 $2 $CGRUN_SHARD $CGRUN_SHARDS\"";
    let run = shards("3").command(["sh", "-c", script, "{shard}/{shards}", "{index}", "x{shard}"]).run();
    run.assert_code(0).assert_said("3 shards passed after").assert_nothing_left();
    for (number, index) in [("1", "0"), ("2", "1"), ("3", "2")] {
        let lines = lines_of(&run.stdout(), &format!("[{number}/3] "));
        assert_eq!(lines, [format!("{number}/3 {index} x{number} {number} 3")]);
    }
}

#[test]
fn a_service_knows_the_number_of_its_shard() {
    let config = "[services.backend]\nport = 8000\n\
        command = ['python3', '{helpers}/server.py', '8000', \
        '--journal', 'journal-{shard}-{index}']\nready = { command = ['test', '-e', 'journal-{shard}-{index}'] }\n";
    let run = shards("2").config(config).command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
    for journal in ["journal-1-0", "journal-2-1"] {
        assert!(run.path().join(journal).exists(), "{journal}");
    }
}

#[test]
fn a_suite_with_a_fixed_port_runs_many_times_side_by_side() {
    let run = shards("4").config(SERVER).sh(UNTIL_GO).start();
    until_all_run(&run, 4);
    assert!(!is_listening(8000));
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(0).assert_nothing_left();
}

/// Seen from outside.
#[test]
fn the_session_of_each_shard_is_listed_with_its_number() {
    let run = shards("2").sh(UNTIL_GO).start();
    until_all_run(&run, 2);
    let listed = run.cgrun(&["sessions", "--json"]).assert_code(0).json();
    let own = run.session_path();
    let within = own.parent().unwrap();
    let sessions = listed["sessions"].as_array().unwrap().iter();
    let sessions: Vec<_> =
        sessions.filter(|it| it["cgroup"].as_str().unwrap().starts_with(within.to_str().unwrap())).collect();
    let mut numbers: Vec<_> = sessions.iter().map(|it| it["shard"]["number"].as_u64()).collect();
    numbers.sort();
    assert_eq!(numbers, [Some(1), Some(2)], "{sessions:#?}");
    assert_eq!(sessions[0]["shard"]["count"], 2);
    let table = run.cgrun(&["sessions"]).assert_code(0).stdout.clone();
    assert!(table.contains("[1/2] sh -c") && table.contains("[2/2] sh -c"), "{table}");
    let ps = run.cgrun(&["ps", "--json", sessions[0]["id"].as_str().unwrap()]).assert_code(0).json();
    assert_eq!(ps["shard"], sessions[0]["shard"]);
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(0).assert_nothing_left();
}

#[test]
fn services_with_a_port_need_a_network_of_their_own() {
    let run = shards("2").config(SERVER).options(["--private", "ipc"]).command(["touch", "ran"]).run();
    run.assert_code(125)
        .assert_said(
            "each shard needs port 8000, which exists once in the network of the host; leave net private",
        )
        .assert_nothing_left();
    assert!(!run.path().join("ran").exists());
    let alone =
        Session::again().config(SERVER).options(["--shards", "1", "--private", "ipc"]).command(["true"]);
    alone.run().assert_code(0);
}

#[test]
fn limits_that_leave_too_little_for_each_shard_are_refused() {
    let run = shards("8").options(["--pids", "5", "--divide-limits"]).command(["touch", "ran"]).run();
    run.assert_code(125)
        .assert_said("a limit of 5 processes divided among 8 shards is too little for each; the minimum is 1")
        .assert_nothing_left();
    assert!(!run.path().join("ran").exists());
}

/// Each with a database directory of its own, which is all that they would share.
#[test]
fn the_demo_runs_four_times_at_once_with_its_databases() {
    let bin = postgres_programs();
    let session = Session::new();
    copy_demo(session.path());
    // The database runs as another user, which needs access to the directory.
    std::fs::set_permissions(session.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let mut config = std::fs::read_to_string(session.path().join("cgrun.toml")).unwrap();
    config += r#"
        [services.redis]
        command = ["redis-server", "--bind", "127.0.0.1", "--port", "6379", "--save", ""]
        port = 6379

        [services.database]
        command = ["sh", "-c", """
            install -d -o postgres -m 700 data-$CGRUN_SHARD && cd data-$CGRUN_SHARD
            as() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
            as initdb --no-sync --auth=trust -D . >/dev/null
            exec setpriv --reuid=postgres --regid=postgres --init-groups postgres -h 127.0.0.1 -p 5432 -k "" -D .
        """]
        port = 5432
        ready = { command = ["pg_isready", "--quiet", "-h", "127.0.0.1"], timeout = "60s" }
    "#;
    let venv = installed("target/demo/venv/bin");
    let path = format!("{}:{}:{}", venv.display(), bin.display(), std::env::var("PATH").unwrap());
    let script = "pytest -qq -p no:cacheprovider && redis-cli set shard $CGRUN_SHARD && redis-cli get shard
        psql -h 127.0.0.1 -U postgres -Atc 'select count(*) from pg_stat_activity where datname is not null'";
    let run = session.config(&config).env("PATH", path).options(["--shards", "4"]).sh(script).run();
    run.assert_code(0).assert_said("4 shards passed after").assert_nothing_left();
    for shard in 1..=4 {
        let lines = lines_of(&run.stdout(), &format!("[{shard}/4] "));
        assert!(lines.ends_with(&["OK".into(), shard.to_string(), "1".into()]), "{lines:?}");
    }
}

#[test]
fn more_shards_than_cpus_pass() {
    let run = shards("20").config(SERVER).sh("exec true").run();
    run.assert_code(0).assert_said("20 shards passed").assert_nothing_left();
}

#[test]
fn the_output_of_each_shard_is_one_block() {
    let script = "for line in 1 2 3 4 5; do echo out $line; echo err $line >&2; sleep 0.05; done; printf end";
    let run = shards("3").sh(script).run();
    run.assert_code(0).assert_nothing_left();
    for (output, kind, count) in [(run.stdout(), "out", 6), (run.stderr(), "err", 5)] {
        let prefixes: Vec<&str> =
            output.lines().filter_map(|line| line.get(..6)).filter(|it| it.starts_with('[')).collect();
        assert_eq!(prefixes.len(), 3 * count, "{output}");
        assert!(prefixes.chunks(count).all(|block| block.iter().all(|it| it == &block[0])), "{output}");
        let expected: Vec<_> = (1..=5).map(|line| format!("{kind} {line}")).collect();
        assert_eq!(lines_of(&output, "[2/3] ")[..5], expected[..], "{output}");
    }
}

#[test]
fn one_shard_is_shown_live() {
    let run = shards("2").sh(&format!("echo begun >&2; {UNTIL_GO}")).start();
    run.until_said("[1/2] begun\n");
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(0).assert_nothing_left();
}

#[test]
fn the_worst_shard_decides_the_exit_code() {
    let run = shards("3").sh("exit $((CGRUN_SHARD - 1))").run();
    run.assert_code(2).assert_said("shard 1 of 3 passed").assert_said("shard 3 of 3 failed after");
    run.assert_said("exit status 2\n")
        .assert_matches(r"2 of 3 shards failed after .*: 2, 3\n")
        .assert_nothing_left();
}

#[test]
fn a_leak_in_a_shard_is_found() {
    let script = "[ $CGRUN_SHARD = 2 ] || exit 0; setsid sleep 1000 & exit 0";
    let run = shards("2").options(["--on-leak", "fail"]).sh(script).run();
    run.assert_code(121).assert_said("[2/2] cgrun: leaked 1 process").assert_nothing_left();
}

#[test]
fn with_fail_fast_the_first_failure_ends_the_others() {
    let script =
        "[ $CGRUN_SHARD = 2 ] && until [ -e running-1 ] && [ -e running-3 ]; do sleep 0.02; done && exit 7
        touch running-$CGRUN_SHARD; exec sleep 1000";
    let run = shards("3").options(["--fail-fast"]).sh(script).run();
    run.assert_code(7)
        .assert_matches(r"1 of 3 shards failed after .*: 2; ended early: 1, 3\n")
        .assert_faster_than(SOON);
    run.assert_nothing_left();
}

#[test]
fn a_shard_that_exits_as_it_likes_when_asked_to_has_not_failed() {
    let script = "[ $CGRUN_SHARD = 2 ] && until [ -e running-1 ]; do sleep 0.02; done && exit 7
        trap 'exit 143' TERM; touch running-1; while :; do sleep 0.02; done";
    let run = shards("2").options(["--fail-fast"]).sh(script).run();
    run.assert_code(7)
        .assert_matches(r"1 of 2 shards failed after .*: 2; ended early: 1\n")
        .assert_nothing_left();
}

/// A second request would end the grace in which the trap works.
#[test]
fn a_signal_asks_each_shard_once() {
    let script =
        "trap 'sleep 0.3; touch cleaned-$CGRUN_SHARD; exit 1' INT TERM HUP; touch running-$CGRUN_SHARD
        while :; do sleep 0.02; done";
    Session::new();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let run =
            Session::again().options(["--shards", "3", "--fail-fast"]).config(SERVER).sh(script).start();
        until_all_run(&run, 3);
        run.signal(signal);
        let run = run.finish();
        run.assert_faster_than(SOON).assert_nothing_left();
        (1..=3).for_each(|it| assert!(run.path().join(format!("cleaned-{it}")).exists(), "{}", run.stderr()));
    }
}

#[test]
fn a_session_dies_of_the_signal_that_its_shards_die_of() {
    let run = shards("2").sh(UNTIL_GO).start();
    until_all_run(&run, 2);
    run.signal(SIGTERM);
    run.finish().assert_signal(SIGTERM).assert_nothing_left();
}

#[test]
fn nothing_is_left_if_cgrun_is_killed() {
    Session::new();
    // The kernel forgets a parent-death signal when a process acts as another user.
    for user in [&[][..], &["--user", "nobody"]] {
        let session = Session::again().options(["--shards", "3"]).options(user.iter().copied());
        chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let run = session.sh(UNTIL_GO).start();
        until_all_run(&run, 3);
        run.signal(SIGKILL);
        run.finish().assert_signal(SIGKILL).assert_nothing_left();
    }
}

#[test]
fn a_command_that_reads_the_terminal_gets_an_error() {
    let terminal = Session::new().on_terminal();
    terminal.enter("cgrun --shards 2 sh -c 'read line </dev/tty'").prompt(1);
    terminal.leave().assert_nothing_left();
}

#[test]
fn shards_that_cannot_all_start_end_those_that_did() {
    let few_files = &["sh", "-c", "ulimit -n 64; exec \"$CGRUN\" \"$@\"", "sh"];
    let run = shards("50").sh(UNTIL_GO).start_through(few_files).finish();
    run.assert_code(125).assert_said("cannot start all shards: too many open files");
    run.assert_nothing_left();
}

#[test]
fn the_reports_of_all_shards_become_one() {
    let reports = ["--report", "junit=report.xml", "--report", "html=report.html"];
    let script = "[ $CGRUN_SHARD = 2 ] || exit 0; setsid sleep 1000 & exit 0";
    let run = shards("3").options(JSON).options(reports).sh(script).run();
    run.assert_code(0).assert_nothing_left();
    let report: serde_json::Value = serde_json::from_str(&run.read("report.json")).unwrap();
    assert_eq!(report["totals"]["sessions"], 3, "{report:#}");
    assert_eq!(report["totals"]["leaked_processes"], 1, "{report:#}");
    assert!(
        run.read("report.xml").contains("<testsuite name=\"cgrun, shard 2 of 3\"")
            && run.read("report.html").contains("<html")
    );
}

#[test]
fn a_shard_that_could_not_run_is_missing_in_the_merged_report() {
    let run = shards("2").options(JSON).command(["/nowhere/{shard}"]).run();
    run.assert_code(127).assert_nothing_left();
    let report: serde_json::Value = serde_json::from_str(&run.read("report.json")).unwrap();
    assert_eq!(report["left_out"].as_array().map(Vec::len), Some(2), "{report:#}");
}

#[test]
fn what_cannot_be_done_by_several_at_once_is_refused() {
    for options in [&["--shards", "2", "--write-baseline"][..], &["--shards", "0"], &["--fail-fast"]] {
        let run = Session::again().options(options.iter().copied()).command(["touch", "ran"]).run();
        run.assert_code(125);
        assert!(!run.path().join("ran").exists());
    }
}

#[test]
fn a_session_within_a_shard_is_only_one() {
    let run = shards("2").sh("\"$CGRUN\" sh -c 'echo inner $CGRUN_SHARD'").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(lines_of(&run.stdout(), "[2/2] "), ["inner 2"]);
}

const MUCH: &str = "yes | head -c 1000000; touch done-$CGRUN_SHARD";

#[test]
fn an_output_whose_reader_has_exited_keeps_no_shard_from_its_end() {
    let run = shards("2").sh(MUCH).start_through(&["bash", "-c", "exec \"$CGRUN\" \"$@\" > >(:)", "bash"]);
    let run = run.finish();
    run.assert_code(0).assert_nothing_left();
    assert!(run.path().join("done-1").exists() && run.path().join("done-2").exists());
}

#[test]
fn a_command_learns_that_the_reader_of_its_output_has_exited() {
    let head = &["bash", "-c", "exec \"$CGRUN\" \"$@\" > >(head -1 >first)", "bash"];
    let run = shards("2").command(["yes"]).start_through(head).finish();
    run.assert_code(128 + 13).assert_faster_than(SOON).assert_nothing_left();
    assert_eq!(run.read("first"), "[1/2] y\n");
}

#[test]
fn output_that_cannot_be_kept_is_an_error() {
    Session::new();
    let full = &["sh", "-c", "exec \"$CGRUN\" \"$@\" >/dev/full", "sh"];
    let run = Session::again().options(["--shards", "2"]).sh("echo tea").start_through(full).finish();
    run.assert_code(125).assert_said("cannot write the output of the shards: No space left on device");
    run.assert_nothing_left();
    let nowhere =
        Session::again().options(["--shards", "2"]).env("TMPDIR", "/nowhere").command(["touch", "ran"]).run();
    nowhere
        .assert_code(125)
        .assert_said("cannot start all shards: no room for their output in /nowhere: No such file");
    assert!(!nowhere.path().join("ran").exists());
}

#[test]
fn a_failure_is_said_while_others_still_run() {
    let run = shards("2").sh(&format!("[ $CGRUN_SHARD = 1 ] || exit 3; {UNTIL_GO}")).start();
    run.until_said("shard 2 of 2 failed after");
    std::fs::write(run.path().join("go"), "").unwrap();
    let run = run.finish();
    run.assert_code(3).assert_nothing_left();
    assert_eq!(run.stderr().matches("shard 2 of 2 failed").count(), 1, "{}", run.stderr());
}

#[test]
fn an_output_that_nobody_reads_keeps_neither_a_shard_nor_a_signal_waiting() {
    let session = shards("2").sh(MUCH);
    let pipe = session.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let _unread = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe).unwrap();
    let run = session.start_through(&["sh", "-c", "exec \"$CGRUN\" \"$@\" >pipe", "sh"]);
    run.until_file("done-1").until_file("done-2").signal(SIGTERM);
    run.finish().assert_signal(SIGTERM).assert_faster_than(SOON).assert_nothing_left();
}

#[test]
fn an_output_that_nobody_reads_is_given_up_if_the_process_that_started_cgrun_exits() {
    let session = shards("2").options(["--end-with-parent"]).sh(MUCH);
    let pipe = session.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let _unread = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe).unwrap();
    let run = session.start_through(&["sh", "-c", "\"$CGRUN\" \"$@\" >pipe & wait", "sh"]);
    run.until_file("done-1").until_file("done-2").signal(SIGKILL);
    run.until("cgrun has exited", || run.members().is_empty());
    run.finish().assert_signal(SIGKILL).assert_nothing_left();
}

#[test]
fn ctrl_c_ends_all_shards_and_ctrl_z_stops_them() {
    let terminal = Session::new().on_terminal();
    let script = "touch running-$CGRUN_SHARD; until [ -e go ]; do sleep 0.02; done; exit 5";
    terminal.enter(&format!("cgrun --shards 2 sh -c '{script}'"));
    terminal.until_file("running-1").until_file("running-2");
    terminal.shows("shards: 2 running");
    terminal.press(CTRL_Z).shows("Stopped");
    terminal.prompt(128 + 20);
    std::fs::write(terminal.path().join("go"), "").unwrap();
    terminal.enter("fg").prompt(5);
    std::fs::remove_file(terminal.path().join("go")).unwrap();
    (1..=2).for_each(|it| std::fs::remove_file(terminal.path().join(format!("running-{it}"))).unwrap());
    terminal.enter(&format!("cgrun --shards 2 sh -c '{script}'"));
    terminal.until_file("running-1").until_file("running-2");
    terminal.press(CTRL_C).prompt(130);
    terminal.leave().assert_nothing_left();
}
