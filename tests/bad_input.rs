//! Bad input gets one clear error that says what to do, and nothing starts.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{Finished, Session};

/// A service that leaves a file behind if it runs.
const SERVICE: &str = "[services.web]\ncommand = ['touch', 'service-ran']\n";

/// A session whose command leaves a file behind if it runs.
fn session() -> Session {
    Session::new().command(["touch", "ran"])
}

/// Asserts that cgrun exited with a single error and started nothing.
#[track_caller]
fn assert_refused(run: &Finished, code: i32) {
    run.assert_code(code).assert_nothing_left();
    let said = run.stderr();
    assert!(said.starts_with("cgrun: ") || said.starts_with("error: "), "{said}");
    let errors = said.lines().filter(|line| line.contains(".toml:") || line.contains("error: ")).count();
    assert!(errors <= 1, "more than one error:\n{said}");
    assert!(!said.contains("panicked") && !said.contains("os error"), "{said}");
    assert_eq!(run.stdout(), "");
    for trace in ["ran", "service-ran", "state"] {
        assert!(!run.path().join(trace).exists(), "there is a file {trace}\n{said}");
    }
}

/// Asserts that each config is refused with an error that contains all of its words.
#[track_caller]
fn assert_configs_refused(cases: &[(&str, &[&str])]) {
    for (config, words) in cases {
        let run = session().config(config).run();
        assert_refused(&run, 125);
        words.iter().for_each(|word| {
            run.assert_said(word);
        });
    }
}

/// Asserts that each list of arguments is refused with an error that contains all of its words.
#[track_caller]
fn assert_options_refused(cases: &[(&[&str], &[&str])]) {
    for (options, words) in cases {
        let run = session().options(*options).run();
        assert_refused(&run, 125);
        words.iter().for_each(|word| {
            run.assert_said(word);
        });
    }
}

fn make_executable(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn an_unknown_key_is_shown_with_line_and_caret() {
    assert_configs_refused(&[
        ("porrts = 1\n", &["cgrun.toml:1:1: unknown key `porrts`", "1 | porrts = 1", "  | ^^^^^^"]),
        (
            "[sesion]\n",
            &["cgrun.toml:1:2: unknown key `sesion`, expected one of `session`, `services`, `limits`"],
        ),
        (
            "\n[session]\n  porrts = [1]\n",
            &["cgrun.toml:3:3: unknown key `porrts`, expected one of `ports`", "  |   ^^^^^^\n"],
        ),
        (&format!("{SERVICE}prot = 1\n"), &["cgrun.toml:3:1: unknown key `prot`", "`port`", "3 | prot = 1"]),
        (
            &format!("{SERVICE}ready = {{ htp = 'x' }}\n"),
            &["cgrun.toml:3:11: unknown key `htp`, expected one of `http`", "  |           ^^^"],
        ),
    ]);
}

#[test]
fn a_value_cut_off_before_a_dos_line_ending_is_refused() {
    let config = |text: &'static str| (text, &["cgrun.toml:1:"][..]);
    assert_configs_refused(&["a = \"\r\n", "a = '\r\n", "\"\\\r\n"].map(config));
}

#[test]
fn a_wrong_type_is_refused_with_the_expected_one() {
    assert_configs_refused(&[
        ("session = 1\n", &["cgrun.toml:1:11", "expected a table, such as { ports"]),
        ("services = 1\n", &["expected a table"]),
        ("[services]\nweb = 'x'\n", &["cgrun.toml:2:7", "expected a table, such as { command"]),
        (
            "[services.web]\ncommand = 'touch x'\n",
            &["cgrun.toml:2:11", "expected a list of words, such as [\"npm\""],
        ),
        ("[services.web]\ncommand = ['touch', 1]\n", &["cgrun.toml:2:21", "expected a string in quotes"]),
        ("[services.web]\nport = 1\n", &["missing key `command`"]),
        (&format!("{SERVICE}env = {{ A = 1 }}\n"), &["cgrun.toml:3:13", "expected a string in quotes"]),
        (&format!("{SERVICE}env = {{ 'A=B' = '1' }}\n"), &["cgrun.toml:3:9", "invalid variable name"]),
        (&format!("{SERVICE}ready = 'http://localhost'\n"), &["expected a table, such as { tcp"]),
        ("[session]\nports = 3000\n", &["cgrun.toml:2:9", "expected a list"]),
        ("[session]\non_leak = 'nonsense'\n", &["unknown value `nonsense`, expected `report` or `fail`"]),
        (&format!("{SERVICE}stop_signal = 'SIGFOO'\n"), &["cgrun.toml:3:15", "such as \"SIGTERM\""]),
    ]);
}

#[test]
fn an_invalid_readiness_probe_is_refused() {
    assert_configs_refused(&[
        (&format!("{SERVICE}ready = {{}}\n"), &["ready takes one of http, tcp, log or command"]),
        (&format!("{SERVICE}ready = {{ tcp = 1, log = 'x' }}\n"), &["ready takes one of"]),
        (&format!("{SERVICE}ready = {{ command = [] }}\n"), &["expected a list of words"]),
        (
            &format!("{SERVICE}ready = {{ log = '(' }}\n"),
            &["log is not a regular expression: unclosed group"],
        ),
        (
            &format!("{SERVICE}ready = {{ http = 'http://example.org/' }}\n"),
            &["is not this host", "localhost"],
        ),
        (
            &format!("{SERVICE}ready = {{ http = 'ftp://localhost/' }}\n"),
            &["write one such as http://127.0.0.1"],
        ),
        (
            &format!("{SERVICE}ready = {{ command = ['no-such-program'] }}\n"),
            &["service web, its readiness command: no-such-program: command not found"],
        ),
    ]);
}

#[test]
fn an_invalid_port_in_the_config_is_refused() {
    for port in ["0", "70000", "-1", "'x'", "99999999999999999999", "1.5"] {
        for config in [format!("[session]\nports = [{port}]\n"), format!("{SERVICE}port = {port}\n")] {
            let run = session().config(&config).run();
            assert_refused(&run, 125);
            run.assert_said("cgrun.toml:").assert_said("^");
            if !port.starts_with('9') {
                run.assert_said("expected a port, a number from 1 to 65535");
            }
        }
    }
}

#[test]
fn an_invalid_port_on_the_command_line_is_refused() {
    for port in ["0", "70000", "-1", "x", ""] {
        let run = session().options(["--port", port]).run();
        assert_refused(&run, 125);
        run.assert_said("'--port <N>'").assert_said("a port is a number from 1 to 65535");
    }
}

#[test]
fn one_port_for_two_services_is_refused() {
    let two = format!("{SERVICE}port = 80\n[services.api]\ncommand = ['touch', 'service-ran']\nport = 80\n");
    assert_configs_refused(&[(
        &two,
        &["cgrun.toml:3:8", "services \"api\" and \"web\" have the same port", "give each its own"],
    )]);
}

#[test]
fn services_that_wait_for_each_other_are_refused() {
    let two = format!(
        "{SERVICE}depends_on = ['api']\n[services.api]\ncommand = ['touch', 'service-ran']\ndepends_on = ['web']\n"
    );
    assert_configs_refused(&[
        (&two, &["depend on each other in a cycle: api -> web -> api; remove one dependency", "^"]),
        (
            &format!("{SERVICE}depends_on = ['web']\n"),
            &["cgrun.toml:3:15", "web -> web; remove one dependency"],
        ),
    ]);
}

#[test]
fn a_dependency_on_an_unknown_service_is_refused() {
    assert_configs_refused(&[(
        &format!("{SERVICE}depends_on = ['db']\n"),
        &["cgrun.toml:3:15: no service \"db\"; the services are: web"],
    )]);
}

#[test]
fn a_service_name_that_would_leave_the_log_directory_is_refused() {
    for name in ["a/b", "..", ".", "", "-x", "a b", "../../etc/x", "é"] {
        let run =
            session().config(&format!("[services.'{name}']\ncommand = ['touch', 'service-ran']\n")).run();
        assert_refused(&run, 125);
        run.assert_said("cgrun.toml:1:11").assert_said("invalid service name");
    }
}

#[test]
fn an_empty_command_is_refused() {
    for command in [&[][..], &[""], &["", "x"]] {
        let run = Session::new().config(SERVICE).command(command).run();
        assert_refused(&run, 125);
        run.assert_said("specify what to run, such as: cgrun pytest");
    }
    assert_configs_refused(&[
        ("[services.web]\ncommand = []\n", &["cgrun.toml:2:11", "expected a list of words, such as"]),
        ("[services.web]\ncommand = ['']\n", &["cgrun.toml:2:11", "name is empty; specify what to run"]),
    ]);
}

#[test]
fn a_missing_working_directory_of_a_service_is_refused() {
    assert_configs_refused(&[
        (
            &format!("{SERVICE}cwd = 'absent'\n"),
            &["service web: the working directory", "/absent does not exist"],
        ),
        (&format!("{SERVICE}cwd = 'cgrun.toml'\n"), &["service web: ", "/cgrun.toml is not a directory"]),
        (&format!("{SERVICE}cwd = 'cgrun.toml/x'\n"), &["service web: the working directory"]),
    ]);
}

#[test]
fn a_working_directory_that_is_gone_is_refused() {
    let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$CGRUN\" \"$@\"";
    let run = session().start_through(&["sh", "-c", script, "sh"]).finish();
    assert_refused(&run, 125);
    run.assert_said("the working directory no longer exists; change to one");
}

#[test]
fn a_command_that_is_not_found_exits_127() {
    for (program, advice) in [
        ("no-such-program", "no-such-program: command not found in PATH; install it"),
        ("./no-such-program", "./no-such-program: command not found; there is no such file"),
    ] {
        let run = Session::new().config(SERVICE).command([program]).run();
        assert_refused(&run, 127);
        run.assert_said(advice);
    }
}

#[test]
fn a_command_that_only_a_shell_understands_gets_a_hint() {
    for (program, advice) in [
        ("npm test", "write each word as a separate argument, or let a shell split it: sh -c 'npm test'"),
        ("./run.sh --fast", "write each word as a separate argument"),
        ("CI=1 npm test", "let a shell split it: sh -c 'CI=1 npm test'"),
        ("FOO=1", "put it before cgrun, or run: cgrun env FOO=1 COMMAND"),
        ("NODE_PATH=/usr/lib", "run: cgrun env NODE_PATH=/usr/lib COMMAND"),
        (
            "~/bin/serve",
            "only a shell expands ~ and $; write it out, or let a shell run it: sh -c '~/bin/serve",
        ),
        ("$HOME/bin/serve", "only a shell expands ~ and $"),
        ("source", "it is a shell command, not a program; let a shell run it: sh -c 'source ...'"),
    ] {
        let run = Session::new().config(SERVICE).command([program, "x"]).run();
        assert_refused(&run, 127);
        run.assert_said(&format!("cgrun: {program}: command not found; ")).assert_said(advice);
    }
    let config = "[services.web]\ncommand = ['npm run dev']\n";
    assert_configs_refused(&[(config, &["service web: npm run dev: command not found; it contains spaces"])]);
}

#[test]
fn a_command_in_the_environment_of_the_project_is_found_for_the_hint() {
    for directory in [".venv/bin", "node_modules/.bin"] {
        let run =
            Session::new().config(SERVICE).file(&format!("{directory}/vitest"), "").command(["vitest"]).run();
        assert_refused(&run, 127);
        run.assert_said(&format!(
            "not found in PATH, but in {directory}; activate that environment, or run: PATH="
        ));
    }
}

#[test]
fn a_tilde_is_not_taken_for_a_directory() {
    let words = "begins with ~, which is not expanded here; write the full path";
    assert_configs_refused(&[
        ("[session]\nlogs = '~/logs'\n", &[words]),
        ("[session]\nreports = { json = '~/x.json' }\n", &[words]),
        (&format!("{SERVICE}cwd = '~/x'\n"), &["/~/x does not exist; ~ is not expanded here"]),
    ]);
    assert_options_refused(&[
        (&["--report", "json=~/x.json"], &["~/x.json begins with ~"]),
        (&["--logs=~/logs"], &["~/logs begins with ~"]),
    ]);
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_key() {
    let run = session().file("cgrun.toml", "\u{feff}porrts = 1\n").run();
    assert_refused(&run, 125);
    run.assert_said("cgrun.toml:1:1: unknown key `porrts`")
        .assert_said("\ncgrun: 1 | porrts = 1\ncgrun:   | ^^^^^^");
    Session::again()
        .file("cgrun.toml", "\u{feff}[session]\r\ngrace = '1s'\r\n")
        .command(["true"])
        .run()
        .assert_code(0);
}

#[test]
fn a_script_with_dos_line_endings_is_named() {
    Session::new();
    for line in ["#!/bin/sh", "#!/usr/bin/env sh", "#!/usr/bin/env -S sh -e"] {
        let run = Session::again().file("script", format!("{line}\r\necho ran\r\n"));
        make_executable(&run.path().join("script"));
        let run = run.command(["./script"]).run();
        assert_refused(&run, 126);
        run.assert_said("script: cannot be executed: it has DOS line endings; convert them with: sed -i");
    }
}

#[test]
fn a_command_that_cannot_be_executed_exits_126() {
    let run = Session::new().config(SERVICE).file("plain", "").command(["./plain"]).run();
    assert_refused(&run, 126);
    run.assert_said("/plain: cannot be executed: it is not marked as executable; run chmod +x on it");
    drop(run);
    let run = Session::new().config(SERVICE).command(["/usr"]).run();
    assert_refused(&run, 126);
    run.assert_said("/usr: cannot be executed: it is a directory");
}

fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[test]
fn a_command_that_is_a_fifo_exits_126() {
    let run = Session::new();
    make_fifo(&run.path().join("fifo"));
    let run = run.command(["./fifo"]).run();
    assert_refused(&run, 126);
    run.assert_said("/fifo: cannot be executed: it is not a regular file");
}

#[test]
fn a_fifo_that_is_named_as_the_config_is_refused() {
    let run = session().options(["-c", "fifo.toml"]);
    make_fifo(&run.path().join("fifo.toml"));
    let run = run.run();
    assert_refused(&run, 125);
    run.assert_said("cannot read the config").assert_said("fifo.toml: it is not a regular file; name");
}

#[test]
fn a_command_whose_interpreter_is_missing_exits_126() {
    let run = Session::new().file("script", "#!/no/such/interpreter\n");
    make_executable(&run.path().join("script"));
    let run = run.command(["./script"]).run();
    assert_refused(&run, 126);
    run.assert_said(
        "script: cannot be executed: its interpreter /no/such/interpreter does not exist; install",
    );
}

#[test]
fn a_command_that_the_kernel_refuses_exits_126() {
    let mut program = std::fs::read("/bin/true").unwrap();
    let loader = program.windows(4).position(|bytes| bytes == b"/ld-").expect("the name of its loader");
    program[loader + 1] = b'x';
    let run = Session::new().file("program", program);
    make_executable(&run.path().join("program"));
    let run = run.command(["./program"]).run();
    assert_refused(&run, 126);
    run.assert_said("./program could not be executed: the kernel cannot execute it: No such file");
    run.assert_said("its loader is missing: is it built for this host?");
}

#[test]
fn a_service_command_that_is_not_found_is_refused() {
    assert_configs_refused(&[
        (
            "[services.web]\ncommand = ['no-such-program']\n",
            &["service web: no-such-program: command not found in PATH; install it"],
        ),
        ("[services.web]\ncommand = ['./cgrun.toml']\n", &["service web: ", "run chmod +x on it"]),
    ]);
}

#[test]
fn an_invalid_duration_is_refused() {
    for time in ["", "5", "-1s", "5 parsecs", "s", "nan"] {
        let run = session().options(["--grace", time]).run();
        assert_refused(&run, 125);
        run.assert_said("'--grace <DUR>'").assert_said("a number with a unit, such as 5s");
        drop(run);
        let run = session().config(&format!("[session]\ngrace = '{time}'\n")).run();
        assert_refused(&run, 125);
        run.assert_said("cgrun.toml:2:9: a duration is a number with a unit, such as 5s").assert_said("^");
    }
    assert_configs_refused(&[
        ("[session]\ntimeout = 5\n", &["expected a duration in quotes, such as \"5s\""]),
        ("[session]\ntimeout = '99y'\n", &["a duration can be at most one year"]),
    ]);
    assert_options_refused(&[
        (&["--timeout", "99y"], &["a duration can be at most one year"]),
        (
            &["--idle-timeout", "0s"],
            &["an idle timeout of 0 would end the session as soon as the command waits; omit it for none"],
        ),
        (
            &["--timeout-signal", "SIGKILL"],
            &["no program can write anything on SIGKILL; choose another timeout signal, such as SIGABRT"],
        ),
        (&["--warn-after", "0s"], &["a warning after 0 says nothing; omit it for none"]),
        (&["--timeout", "0s"], &["a timeout of 0 would end the session before it begins"]),
        (&["--user", "root"], &["--user root would change nothing"]),
    ]);
}

#[test]
fn an_unknown_option_is_refused() {
    assert_options_refused(&[
        (&["--nonsense"], &["unexpected argument '--nonsense'", "--help"]),
        (&["-Z"], &["unexpected argument '-Z'", "--help"]),
        (
            &["--on-leak", "nonsense"],
            &["'nonsense' for '--on-leak <POLICY>'", "possible values: report, fail"],
        ),
        (&["-q", "-v"], &["cannot be used with"]),
    ]);
    let run = Session::new().options(["--config"]).run();
    assert_refused(&run, 125);
    run.assert_said("a value is required for '--config <FILE>'");
}

#[test]
fn a_directory_that_is_named_as_the_config_is_refused() {
    let run = session().file("config/x", "").options(["-c", "config"]).run();
    assert_refused(&run, 125);
    run.assert_said("cannot read the config").assert_said("config: Is a directory; name a readable file");
}

#[test]
fn a_missing_config_is_refused() {
    let run = session().config(SERVICE).options(["-c", "absent.toml"]).run();
    assert_refused(&run, 125);
    run.assert_said("cannot read the config").assert_said("absent.toml: No such file or directory; name");
}

#[test]
fn a_config_that_is_not_text_is_refused() {
    let run = session().file("cgrun.toml", b"[session]\n# \xff\n").run();
    assert_refused(&run, 125);
    run.assert_said("is not UTF-8 text (byte 12); save it as UTF-8");
}

#[test]
fn a_nul_byte_in_a_value_is_refused() {
    for (key, value) in [
        ("cwd", "\"a\\u0000b\""),
        ("env", "{ A = \"a\\u0000b\" }"),
        ("ready", "{ command = [\"a\\u0000b\"] }"),
        ("stop_signal", "\"SIGTERM\\u0000\""),
        ("depends_on", "[\"we\\u0000b\"]"),
    ] {
        let run = session().config(&format!("{SERVICE}{key} = {value}\n")).run();
        assert_refused(&run, 125);
        run.assert_said("cgrun.toml:3:").assert_said("^");
    }
    assert_configs_refused(&[
        ("[services.web]\ncommand = [\"touch\\u0000\"]\n", &["cgrun.toml:2:12", "NUL"]),
        ("[session]\nlogs = \"\\u0000\"\n", &["cgrun.toml:2:8", "NUL"]),
        ("[session]\ngrace = '1\0s'\n", &["cgrun.toml:2:11"]),
    ]);
}

#[test]
fn a_truncated_config_is_refused() {
    let whole = "[session]\nports = [3000]\n[services.web]\ncommand = ['touch', 'service-ran']\n";
    assert_configs_refused(&[
        (&whole[..5], &["cgrun.toml:1:6: unclosed table"]),
        (&whole[..21], &["cgrun.toml:2:12: unclosed array"]),
        (&whole[..whole.len() - 5], &["cgrun.toml:4:"]),
    ]);
}

#[test]
fn a_huge_config_is_read_like_any_other() {
    let comment = "# nothing\n".repeat(100_000);
    let run = session().config(&format!("{comment}[session]\nporrts = 1\n")).run();
    assert_refused(&run, 125);
    run.assert_said("cgrun.toml:100002:1: unknown key `porrts`");
    drop(run);
    let long = "x".repeat(1 << 20);
    let run = session().config(&format!("{long} = 1\n")).run();
    assert_refused(&run, 125);
    assert!(run.stderr().len() < 4096, "{} bytes are said", run.stderr().len());
}

#[test]
fn a_config_with_a_chain_of_ten_thousand_services_is_read() {
    let service = |n: i32| format!("[services.s{n}]\ncommand = ['true']\ndepends_on = ['s{}']\n", n + 1);
    let chain: String = (0..10_000).map(service).collect();
    let run = session().config(&chain).run();
    assert_refused(&run, 125);
    run.assert_said("no service \"s10000\"");
    assert!(run.stderr().len() < 4096, "{} bytes are said", run.stderr().len());
}

#[test]
fn control_characters_in_an_error_do_not_reach_the_terminal() {
    let hostile = std::ffi::OsString::from_vec(b"no\xff\x1b[2Jprogram".to_vec());
    let run = Session::new().command([hostile]).run();
    assert_refused(&run, 127);
    drop(run);
    let run = session().config("[session]\n\"\\u001b[2J\" = 1\n").run();
    assert_refused(&run, 125);
    assert!(!run.stderr().contains('\x1b'), "{:?}", run.stderr());
}

/// Runs `before`, then cgrun, in a private mount namespace. `$mounts` lists the cgroup2 mounts.
fn in_a_private_mount_namespace(session: Session, before: &str, with: &str) -> Finished {
    let script = format!(
        "while read -r _ point type _; do [ $type = cgroup2 ] && mounts=\"$point $mounts\"; done </proc/mounts; \
         {before} || exit 99; exec {with} \"$CGRUN\" \"$@\""
    );
    session.start_through(&["unshare", "-m", "sh", "-c", &script, "sh"]).finish()
}

const REQUIRE_CGROUP: [&str; 2] = ["--require", "cgroup"];
/// Otherwise cgrun mounts cgroup2 itself.
const WITHOUT_OWN_MOUNT: &str = "python3 \"$HELPERS/launch.py\" without-own-mount";

#[test]
fn a_missing_cgroup2_mount_is_named() {
    let run = in_a_private_mount_namespace(
        session().options(REQUIRE_CGROUP).config(SERVICE),
        "umount -l $mounts",
        WITHOUT_OWN_MOUNT,
    );
    assert_refused(&run, 125);
    run.assert_said("no cgroup2 file system is mounted here")
        .assert_said("mount one as root: mount -t cgroup2");
}

#[test]
fn a_cgroup2_mount_hidden_by_another_mount_is_named() {
    let hide = "for m in $mounts; do mount -t tmpfs none $m || exit 98; done";
    let session = session().options(REQUIRE_CGROUP).config(SERVICE);
    let run = in_a_private_mount_namespace(session, hide, WITHOUT_OWN_MOUNT);
    assert_refused(&run, 125);
    run.assert_said("no cgroup2 file system is mounted here").assert_said("mount one as root");
}

#[test]
fn a_command_on_a_noexec_mount_exits_126() {
    let before = "mkdir noexec && mount -t tmpfs -o noexec none noexec && cp /bin/true noexec/program";
    let run = in_a_private_mount_namespace(Session::new().command(["noexec/program"]), before, "");
    run.assert_code(126).assert_said("/program: cannot be executed: its file system is mounted noexec");
}

#[test]
fn a_read_only_cgroup2_mount_is_named() {
    let remount = "for m in $mounts; do mount -o remount,bind,ro $m || exit 98; done";
    let session = session().options(REQUIRE_CGROUP).config(SERVICE);
    let run = in_a_private_mount_namespace(session, remount, WITHOUT_OWN_MOUNT);
    assert_refused(&run, 125);
    run.assert_said("--require accepts nothing weaker")
        .assert_said("cgrun is not permitted to create a cgroup in")
        .assert_said("Read-only file system")
        .assert_said("make the mount writable: mount -o remount,bind,rw /");
}

#[test]
fn a_user_without_a_delegated_cgroup_is_told_how_to_get_one() {
    let session = session().options(REQUIRE_CGROUP).config(SERVICE);
    make_executable(session.path());
    std::fs::copy(env!("CARGO_BIN_EXE_cgrun"), session.path().join("cgrun")).unwrap();
    make_executable(&session.path().join("cgrun"));
    let unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./cgrun"];
    let run = session.start_through(&unprivileged).finish();
    assert_refused(&run, 125);
    run.assert_said("--require accepts nothing weaker")
        .assert_said("cgrun is not permitted to create a cgroup in")
        .assert_said("Permission denied; run as root (sudo cgrun --user NAME), or have");
}

mod config_lookup {
    use super::*;

    /// A config with an unknown key, so that the error tells which config was read.
    fn marked(key: &str) -> String {
        format!("[session]\n{key} = 1\n")
    }

    fn run_in(session: Session, directory: &str) -> Finished {
        std::fs::create_dir_all(session.path().join(directory)).unwrap();
        let script = format!("cd {directory} && exec \"$CGRUN\" \"$@\"");
        session.start_through(&["sh", "-c", &script, "sh"]).finish()
    }

    #[test]
    fn searches_the_parent_directories() {
        let run = run_in(session().config(&marked("above")), "a/b/c");
        assert_refused(&run, 125);
        run.assert_said("/cgrun.toml:2:1: unknown key `above`");
    }

    #[test]
    fn uses_the_nearest_config() {
        let session = session().config(&marked("above")).file("a/pyproject.toml", "[tool.cgrun]\nnear = 1\n");
        let run = run_in(session, "a/b");
        assert_refused(&run, 125);
        run.assert_said("/a/pyproject.toml:2:1: unknown key `near`");
    }

    #[test]
    fn prefers_cgrun_toml_in_the_same_directory() {
        let session = session().config(&marked("ours"));
        let run = session.file("pyproject.toml", "[tool.cgrun]\ntheirs = 1\n").run();
        assert_refused(&run, 125);
        run.assert_said("/cgrun.toml:2:1: unknown key `ours`");
    }

    #[test]
    fn finds_the_table_in_pyproject_in_every_spelling() {
        for text in [
            "[tool.cgrun]\nsession = { grace = 1 }\n",
            "[tool.cgrun.session]\ngrace = 1\n",
            "[tool]\ncgrun = { session = { grace = 1 } }\n",
            "[tool]\ncgrun.session.grace = 1\n",
            "tool.cgrun.session.grace = 1\n",
            "[tool.cgrun.services.x]\ncommand = ['true']\ngrace = 1\n",
            "['tool'.\"cgrun\"]\nsession.grace = 1\n",
        ] {
            let run = session().file("pyproject.toml", text).run();
            assert_refused(&run, 125);
            let line = text.lines().position(|line| line.contains("grace")).unwrap() + 1;
            run.assert_said(&format!("/pyproject.toml:{line}:")).assert_said("expected a duration in quotes");
        }
    }

    #[test]
    fn skips_a_pyproject_without_the_table() {
        for (theirs, _what) in [
            (&b"[project]\nname = 'x'\n"[..], "a plain one"),
            (b"[project]\ndependencies = ['cgrun', 'tool.cgrun']\n", "one that only mentions us"),
            (b"[tool.other]\ncgrun = 1\n", "somebody else's key"),
            (b"[tool.\nbroken", "invalid TOML"),
            (b"\xff\xfe", "not text"),
        ] {
            let session = session().config(&marked("above")).file("a/pyproject.toml", theirs);
            let run = run_in(session, "a");
            assert_refused(&run, 125);
            run.assert_said("/cgrun.toml:2:1: unknown key `above`");
        }
    }

    #[test]
    fn accepts_an_empty_table_in_pyproject() {
        let session = session().config(&marked("above")).file("a/pyproject.toml", "[tool.cgrun]\n");
        run_in(session, "a").assert_code(0).assert_silent();
    }

    #[test]
    fn refuses_a_broken_pyproject_that_mentions_the_table() {
        let run = session().file("pyproject.toml", "[tool.cgrun]\nsession = \n").run();
        assert_refused(&run, 125);
        run.assert_said("/pyproject.toml:2:");
    }

    #[test]
    fn reads_only_the_config_that_is_named() {
        let session = session().config(&marked("here")).file("other/named.toml", "[session]\ngrace = 1\n");
        let run = session.options(["-c", "other/named.toml"]).run();
        assert_refused(&run, 125);
        run.assert_said("/other/named.toml:2:9");
    }

    #[test]
    fn refuses_a_named_pyproject_without_the_table() {
        let run = session().file("pyproject.toml", "[project]\n").options(["-c", "pyproject.toml"]).run();
        assert_refused(&run, 125);
        run.assert_said("pyproject.toml has no table [tool.cgrun]; add one, or name another file with -c");
    }

    #[test]
    fn accepts_a_missing_config() {
        session().run().assert_code(0).assert_silent().assert_nothing_left();
    }
}

mod init {
    use super::*;

    #[test]
    fn writes_a_valid_config() {
        let session = Session::new().sh("\"$CGRUN\" init && exec \"$CGRUN\" -v true");
        let run = session.run();
        run.assert_code(0).assert_said("wrote cgrun.toml; now try: cgrun COMMAND").assert_nothing_left();
        assert!(run.read("cgrun.toml").contains("[services.backend]"));
    }

    #[test]
    fn leaves_no_half_of_a_config_if_the_disk_is_full() {
        let script = "mkdir small && mount -t tmpfs -o size=4k none small && cd small && echo x >full && \
            { \"$CGRUN\" \"$@\"; echo $?; ls; }";
        let launcher = ["unshare", "-m", "sh", "-c", script, "sh"];
        let run = Session::new().options(["init"]).start_through(&launcher).finish();
        run.assert_code(0).assert_said("cannot write cgrun.toml: No space left on device");
        assert_eq!(run.stdout(), "125\nfull\n");
    }

    #[test]
    fn refuses_to_overwrite() {
        let run = Session::new().config("# mine\n").options(["init"]).run();
        assert_refused(&run, 125);
        run.assert_said("cgrun.toml already exists here; edit it, or remove it first");
        assert_eq!(run.read("cgrun.toml"), "# mine\n");
    }
}

#[test]
fn a_tool_for_stacks_that_cannot_work_is_refused() {
    let list = "expected a list of words, such as [\"py-spy\"";
    assert_configs_refused(&[
        ("[diagnose]\nx = 'gdb'\n", &["cgrun.toml:2:5", list, "or false for no tool"]),
        ("[diagnose]\nx = true\n", &["cgrun.toml:2:5", "true names no tool"]),
        ("[diagnose]\nx = ['']\n", &["the tool's name is empty"]),
        ("[diagnose]\nx = ['gdb', '-p']\n", &["cgrun.toml:2:5", "no argument of the tool contains {pid}"]),
        ("[diagnose]\n'/bin/x' = false\n", &["cgrun.toml:2:1", "\"/bin/x\" is a path"]),
        ("[diagnose]\n'' = false\n", &["an empty pattern matches nothing"]),
        ("diagnose = 1\n", &["expected a table, such as { uwsgi = "]),
    ]);
}

#[test]
fn a_misspelled_variable_is_named_with_what_was_meant() {
    let run = Session::new().env("CGRUN_ON_LAEK", "fail").env("CGRUN_MINE", "1").command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stderr(), "cgrun: the variable CGRUN_ON_LAEK is unknown; did you mean CGRUN_ON_LEAK?\n");
}
