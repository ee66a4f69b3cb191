//! The command's exit status is preserved, whatever it is and however the command exits.

use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use crate::harness::Session;

#[test]
fn exit_code_0_is_passed_on() {
    let run = Session::new().sh("echo out; echo err >&2").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!((run.stdout().as_str(), run.stderr().as_str()), ("out\n", "err\n"));
}

#[test]
fn the_exit_code_of_failing_tests_is_passed_on() {
    Session::new().sh("exit 1").run().assert_code(1).assert_silent().assert_nothing_left();
}

#[test]
fn a_crash_of_the_command_exits_128_plus_the_signal() {
    Session::new().sh("kill -SEGV $$").run().assert_code(139).assert_silent().assert_nothing_left();
}

#[test]
fn a_killed_command_exits_128_plus_the_signal() {
    Session::new().sh("kill -KILL $$").run().assert_code(137).assert_silent().assert_nothing_left();
}

#[test]
fn a_command_killed_by_a_real_time_signal_exits_128_plus_the_signal() {
    Session::new().sh("kill -40 $$").run().assert_code(168).assert_silent().assert_nothing_left();
}

#[test]
fn all_256_exit_codes_are_passed_on() {
    let script = "i=0; while [ $i -lt 256 ]; do $CGRUN sh -c \"exit $i\"; [ $? -eq $i ] || echo \"$i became $?\"; i=$((i+1)); done";
    let run = Session::new().start_through(&["sh", "-c", script]).finish();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(run.stdout(), "");
}

#[test]
fn arguments_are_passed_on_byte_for_byte() {
    let hostile = std::ffi::OsString::from_vec(b"\xff\xfe -- $(x) '\"\n".to_vec());
    let run = Session::new()
        .command([
            "printf".into(),
            "[%s]".into(),
            "--grace".into(),
            "".into(),
            "-p".into(),
            "--".into(),
            hostile,
        ])
        .run();
    run.assert_code(0).assert_silent();
    assert_eq!(
        std::fs::read(run.path().join("stdout")).unwrap(),
        b"[--grace][][-p][--][\xff\xfe -- $(x) '\"\n]"
    );
}

#[test]
fn the_environment_is_passed_on_and_names_the_session() {
    let value = std::ffi::OsString::from_vec(b"\xff=x".to_vec());
    let run =
        Session::new().env("HOSTILE", value).sh("printf %s \"$HOSTILE\"; printf %s $CGRUN_SESSION >id").run();
    run.assert_code(0).assert_silent();
    assert_eq!(std::fs::read(run.path().join("stdout")).unwrap(), b"\xff=x");
    assert_eq!(run.read("id").len(), 8);
}

#[test]
fn a_program_named_like_a_subcommand_runs_after_a_double_dash() {
    let run =
        Session::new().file("check", "#!/bin/sh\nexit 9\n").env("PATH", "/usr/bin:/bin:.").options(["--"]);
    std::fs::set_permissions(run.path().join("check"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    run.command(["check"]).run().assert_code(9).assert_nothing_left();
}

#[test]
fn a_script_without_an_interpreter_line_runs_in_a_shell() {
    let run = Session::new().file("script", "exit $1\n");
    std::fs::set_permissions(run.path().join("script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    run.command(["./script", "5"]).run().assert_code(5).assert_nothing_left();
}

/// The program existed when the session started.
#[test]
fn a_command_that_a_service_removes_is_not_found() {
    for (deed, code) in [("rm tool", 127), ("chmod -x tool", 126)] {
        let config = format!(
            "[services.a]\ncommand = ['sh', '-c', '{deed}; echo ready; exec sleep 1000']\nready = {{ log = 'ready' }}\n"
        );
        let run = if code == 127 { Session::new() } else { Session::again() };
        let run = run.file("tool", "#!/bin/sh\n").config(&config);
        let tool = run.path().join("tool");
        std::fs::set_permissions(tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        run.command(["./tool"]).run().assert_code(code).assert_nothing_left();
    }
}

#[test]
fn a_timeout_counts_the_processes_that_wait_alike() {
    let script = "for n in $(seq 14); do sleep 1000 & done; touch started; wait";
    let run = Session::new().options(["--timeout", "2s"]).sh(script).run();
    run.assert_code(124).assert_nothing_left();
    assert!(run.path().join("started").exists());
    run.assert_said("cgrun:   also 13 × sleep 1000, each sleeps for 16 min\n");
}

#[test]
fn a_timeout_ends_the_session_with_exit_code_124() {
    let run = Session::new().options(["--timeout", "200ms"]).sh("sleep 1000").run();
    run.assert_code(124)
        .assert_said("timed out after 200ms")
        .assert_said("(sleep 1000): it sleeps")
        .assert_nothing_left();
    run.assert_faster_than(Duration::from_secs(4));
}
