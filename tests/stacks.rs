//! A hung session shows where in its code the process hangs, by the tools that are there for it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::containments::Host;
use crate::fixtures::{LONG, SOON};
use crate::harness::{Running, Said, Session, python_program};

everywhere!(a_hung_test_shows_its_line, a_tool_that_hangs_leaves_nothing);

const TIMEOUT: [&str; 2] = ["--timeout", "1s"];
/// Long enough for a runtime to start in, on a busy machine.
const PATIENT: [&str; 2] = ["--timeout", "4s"];

const HUNG_TEST: &str = "import time\n\
    def helper(): time.sleep(1000)\n\
    def test_checkout():\n    \
        helper()\n";

fn pytest(session: Session) -> Session {
    let pytest = python_program("pytest");
    session.file("test_shop.py", HUNG_TEST).command([&pytest, "-q", "-p", "no:cacheprovider", "test_shop.py"])
}

/// A session with a tool of this name and no other.
fn with_tool(name: &str, script: &str) -> Session {
    let session = Session::new().file(&format!("tools/{name}"), format!("#!/bin/sh\n{script}\n"));
    let tools = session.path().join("tools");
    std::fs::set_permissions(tools.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    session.env("PATH", tools)
}

fn why(run: &Running, options: &[&str]) -> Said {
    let cgroup = run.session_cgroup();
    let name = cgroup.file_name().unwrap().to_str().unwrap();
    run.cgrun(&[&["why", name.strip_prefix("cgrun-").unwrap()], options].concat())
}

/// A program that waits, and that is no well-known one.
fn waits(session: Session) -> Session {
    let program = session.path().join("waits");
    std::fs::copy("/bin/sleep", &program).unwrap();
    session.command([program.to_str().unwrap(), "1000"])
}

#[test]
fn the_stack_of_a_hung_pytest_names_the_line_of_its_test_in_all_reports() {
    let reports = ["--report", "json=r.json", "--report", "junit=r.xml", "--report", "html=r.html"];
    let run = pytest(Session::new()).options(PATIENT).options(LONG).options(reports).run();
    run.assert_code(124).assert_said(", by py-spy:\n").assert_said("helper (test_shop.py:2)");
    let said = run.stderr();
    let (stack, verdict) = (said.find("test_checkout (test_shop.py:4)"), said.find("cgrun:   look at pid "));
    assert!(stack.is_some() && stack < verdict, "{said}");
    assert!(said.contains(" frames of pytest\n"), "{said}");
    let report: Value = serde_json::from_str(&run.read("r.json")).unwrap();
    let lines = report["stacks"][0]["sections"][0]["lines"].as_array().unwrap();
    assert_eq!(lines[0], "helper (test_shop.py:2)", "{report:#}");
    for file in ["r.xml", "r.html"] {
        assert!(run.read(file).contains("test_checkout (test_shop.py:4)"), "{file}");
    }
    run.assert_nothing_left();
}

fn a_hung_test_shows_its_line(host: Host) {
    let run = host.run(pytest(Session::new()).options(PATIENT).options(LONG));
    run.assert_code(124).assert_said("test_checkout (test_shop.py:4)").assert_nothing_left();
    assert!(!run.stderr().contains("leak"), "{}", run.stderr());
}

#[test]
fn why_shows_stacks_only_if_it_is_asked_for_them() {
    let session = pytest(Session::new().options(LONG));
    let run = session.file("conftest.py", "def pytest_runtest_call(): open('runs', 'w')").start();
    run.until_file("runs");
    let without = why(&run, &[]);
    assert!(!without.assert_code(0).stdout.contains("test_shop.py:2"), "{}", without.stdout);
    run.until("a stack", || why(&run, &["--stacks"]).stdout.contains("    helper (test_shop.py:2)"));
    let stacks = why(&run, &["--stacks", "--json"]).assert_code(0).json()["stacks"].clone();
    assert_eq!(stacks[0]["tool"], "py-spy", "{stacks:#}");
    run.signal(Signal::SIGTERM);
    run.finish().assert_nothing_left();
}

#[test]
fn a_warning_shows_the_stack_without_stopping_the_process() {
    let run = pytest(Session::new().options(["--warn-after", "2s"])).start();
    run.until_said("test_checkout (test_shop.py:4)");
    run.signal(Signal::SIGTERM);
    run.finish().assert_nothing_left();
}

#[test]
fn the_stacks_of_a_java_program_show_its_deadlock() {
    let program = "public class Deadlock {\n\
        public static void main(String[] words) throws Exception {\n\
        Object one = new Object(), other = new Object();\n\
        var both = new java.util.concurrent.CyclicBarrier(2);\n\
        new Thread(() -> take(one, other, both), \"first\").start();\n\
        new Thread(() -> take(other, one, both), \"second\").start();\n\
        }\n\
        static void take(Object mine, Object yours, java.util.concurrent.CyclicBarrier both) {\n\
        synchronized (mine) {\n\
        try { both.await(); } catch (Exception e) { throw new Error(e); }\n\
        new java.io.File(Thread.currentThread().getName()).mkdir();\n\
        synchronized (yours) { }\n\
        } } }\n";
    let run = Session::new()
        .options(LONG)
        .file("Deadlock.java", program)
        .command(["java", "Deadlock.java"])
        .start();
    run.until_file("first").until_file("second");
    let is_found = || {
        let said = why(&run, &["--stacks"]).stdout;
        let parts = [
            ", by jcmd:\n    Found one Java-level deadlock\n",
            "at Deadlock.take(Deadlock.java:12)",
            "look at pid ",
        ];
        parts.iter().all(|it| said.contains(it))
    };
    run.until("the deadlock", is_found);
    // Its first thread waits for another one, at what could be a lock of several processes, but is not.
    let said = why(&run, &[]).stdout;
    assert!(!said.contains("with other processes"), "{said}");
    run.signal(Signal::SIGTERM);
    run.finish().assert_nothing_left();
}

#[test]
fn a_java_program_that_would_die_of_the_request_is_left_alone() {
    let program = "class Rest { public static void main(String[] words) throws Exception {\n\
        new java.io.File(\"runs\").mkdir(); Thread.sleep(1000000); } }";
    let command = ["java", "-Xrs", "Rest.java"];
    let run = Session::new().options(LONG).file("Rest.java", program).command(command).start();
    run.until_file("runs");
    let said = why(&run, &["--stacks"]).stdout;
    assert!(
        said.contains("(java -Xrs Rest.java): it does not handle SIGQUIT; start it without -Xrs"),
        "{said}"
    );
    why(&run, &[]).assert_code(0);
    run.signal(Signal::SIGTERM);
    run.finish().assert_nothing_left();
}

#[test]
fn the_stack_of_a_native_program_names_its_functions() {
    let program = "#include <unistd.h>\nvoid hangs(void) { for (;;) pause(); }\nint main(void) { hangs(); }";
    let script = "cc -g -o hangs hangs.c && exec ./hangs";
    let run = Session::new().options(PATIENT).file("hangs.c", program).sh(script).run();
    run.assert_code(124).assert_said("(hangs), by eu-stack:\n").assert_said("  hangs (hangs.c:2)\n");
    run.assert_nothing_left();
}

/// Until its child executes a program, the parent waits in vfork(2) and cannot be interrupted.
#[test]
fn an_uninterruptible_process_shows_where_in_the_kernel_it_is() {
    let program = "#include <unistd.h>\nint main(void) { if (vfork() == 0) { sleep(1000); _exit(0); } }";
    let script = "cc -o vforks vforks.c && exec ./vforks";
    let run = Session::new().options(PATIENT).file("vforks.c", program).sh(script).run();
    run.assert_code(124).assert_matches(r"stack of pid \d+ \(vforks\), by the kernel:\ncgrun:       \w+");
    run.assert_nothing_left();
}

#[test]
fn a_missing_tool_is_said() {
    let run = waits(Session::new().options(TIMEOUT).env("PATH", "/nowhere")).run();
    run.assert_code(124).assert_matches(r"no stack of pid \d+ \(waits 1000\): install elfutils or gdb\n");
    run.assert_nothing_left();
}

#[test]
fn a_tool_that_fails_is_said() {
    let session = with_tool("eu-stack", "echo no luck >&2; exit 1");
    let run = waits(session.options(TIMEOUT)).run();
    run.assert_code(124).assert_matches(r"no stack of pid \d+ \(waits 1000\): eu-stack failed: no luck\n");
    run.assert_nothing_left();
}

/// Its pid may be that of another process by then.
#[test]
fn no_further_tool_is_asked_about_a_process_that_has_exited() {
    let kills = "kill -9 \"$6\"\n\
        while read -r _ _ state _ <\"/proc/$6/stat\" && [ \"$state\" != Z ]; do :; done 2>&-; exit 1";
    let session = with_tool("eu-stack", kills).file("tools/gdb", "#!/bin/sh\n: >asked\n");
    let gdb = session.path().join("tools/gdb");
    std::fs::set_permissions(gdb, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = waits(session.options(TIMEOUT)).run();
    run.assert_code(124).assert_said("eu-stack said nothing (exit status 1); it has exited\n");
    assert!(!run.path().join("asked").exists(), "{}", run.stderr());
    run.assert_nothing_left();
}

/// Nothing of it is left, and nothing of it is a leak.
fn a_tool_that_hangs_leaves_nothing(host: Host) {
    let session =
        with_tool("eu-stack", "/bin/sleep 1001 & exec /bin/sleep 1002").file("tools/gdb", "#!/bin/false\n");
    let tools = session.path().join("tools");
    std::fs::set_permissions(tools.join("gdb"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // What starts cgrun on such a host needs programs too.
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let run = host.run(waits(session.env("PATH", path).options(TIMEOUT)));
    run.assert_code(124).assert_said("eu-stack was ended after 5 s").assert_faster_than(SOON);
    assert!(!run.stderr().contains("leak") && !run.stderr().contains("sleep 100"), "{}", run.stderr());
    run.assert_nothing_left();
}

#[test]
fn what_a_tool_leaves_behind_is_ended_and_is_no_leak() {
    let script = "/bin/sleep 1001 & echo 'TID 1:'; echo '#0  0x1 wait - /x/a'";
    let run = waits(with_tool("eu-stack", script).options(TIMEOUT)).run();
    run.assert_code(124).assert_said(", by eu-stack:\ncgrun:       wait (a)\n");
    assert!(!run.stderr().contains("leak") && !run.stderr().contains("1001"), "{}", run.stderr());
    run.assert_nothing_left();
}

#[test]
fn a_signal_does_not_wait_for_the_tools() {
    let session = with_tool("eu-stack", ": >asked; exec /bin/sleep 1002");
    let run = waits(session.options(TIMEOUT)).start();
    run.until_file("asked").signal(Signal::SIGTERM);
    let run = run.finish();
    run.assert_said("eu-stack was interrupted")
        .assert_faster_than(Duration::from_secs(5))
        .assert_nothing_left();
}

#[test]
fn a_tool_has_no_more_rights_than_the_process() {
    let session =
        with_tool("eu-stack", "echo 'TID 1:'; echo \"#0  0x1 uid-$(/usr/bin/id -u)-${TOKEN-none} - /x/a\"");
    std::fs::set_permissions(session.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid;
    let run = waits(session.options(TIMEOUT).options(["--user", "nobody"]).env("TOKEN", "secret")).run();
    run.assert_code(124).assert_said(&format!("uid-{nobody}-none (a)")).assert_nothing_left();
}

#[test]
fn a_program_cannot_draw_on_the_terminal_by_the_names_in_its_stack() {
    let program = "import time; exec(compile('time.sleep(1000)', '\\x1b[2J.py', 'exec'))";
    let python = python_program("python3");
    let run = Session::new().options(PATIENT).command([&python, "-c", program]).run();
    run.assert_code(124).assert_said("\\u{1b}[2J.py:1)").assert_nothing_left();
    assert!(!run.stderr().contains('\x1b'), "{:?}", run.stderr());
}

const PRINTS: &str = "#!/bin/sh\nprintf 'asked about %s\\n\\033[2J' \"$1\"; exit 3\n";

#[test]
fn a_tool_of_the_config_comes_before_ours_and_the_longest_pattern_wins() {
    let config = "[diagnose]\nwaits = false\n'*/waits 1000' = ['tools/mine', 'pid={pid}']\n'*' = ['nothing', '{pid}']\n";
    let session =
        with_tool("eu-stack", "echo 'TID 1:'; echo '#0  0x1 ours - /x/a'").file("tools/mine", PRINTS);
    std::fs::set_permissions(session.path().join("tools/mine"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    let run = waits(session.config(config).options(TIMEOUT)).run();
    run.assert_code(124).assert_matches(r"\(waits 1000\), by mine:\ncgrun:       asked about pid=\d+\n");
    run.assert_said("\\u{1b}[2J").assert_nothing_left();
    assert!(!run.stderr().contains("ours"), "{}", run.stderr());
}

#[test]
fn the_config_can_say_that_no_tool_reads_a_stack_or_name_one_that_is_not_there() {
    Session::new();
    for (tool, said) in
        [("false", None), ("[]", None), ("['nothing', '{pid}']", Some("nothing of [diagnose] is not there"))]
    {
        let session = Session::again().config(&format!("[diagnose]\nwaits = {tool}\n"));
        let run = waits(session.options(TIMEOUT)).run();
        run.assert_code(124).assert_said("look at pid ").assert_nothing_left();
        let stderr = run.stderr();
        assert!(
            said.map_or(!stderr.contains("(waits 1000), by"), |said| stderr.contains(said)),
            "{tool}: {stderr}"
        );
    }
}

#[test]
fn why_takes_the_tools_of_the_config() {
    let session = waits(Session::new().options(LONG).file("mine", PRINTS));
    std::fs::set_permissions(session.path().join("mine"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let diagnose = "[diagnose]\nwaits = ['./mine', '{pid}']\n";
    let run = session.config(diagnose).file("other.toml", "[diagnose]\nwaits = ['{pid}'").start();
    run.until("a stack", || {
        run.sessions() == 1 && why(&run, &["--stacks"]).stdout.contains("    asked about ")
    });
    why(&run, &["--stacks", "-c", "other.toml"]).assert_code(125).assert_said("other.toml:2:");
    run.signal(Signal::SIGTERM);
    run.finish().assert_nothing_left();
}

/// Node with this program, which tells by a file that it runs.
fn node(options: &[&str], program: &str) -> Session {
    let program = format!("require('fs').writeFileSync('runs', ''); {program}");
    Session::new().options(LONG).command([&["node"], options, &["-e", &program]].concat())
}

/// What `cgrun why --stacks` says once Node runs.
fn stacks_of_node(run: &Running, said: &str) {
    run.until_file("runs");
    run.until(said, || why(run, &["--stacks"]).stdout.contains(said));
    let is_report = |it: std::io::Result<std::fs::DirEntry>| {
        it.unwrap().file_name().to_string_lossy().starts_with("report.")
    };
    assert!(!std::fs::read_dir(run.path()).unwrap().any(is_report), "a report is left");
    assert!(run.members().len() > 1);
    run.signal(Signal::SIGTERM);
}

#[test]
fn node_tells_what_its_event_loop_waits_for_if_it_was_started_with_reports() {
    let wait = "require('net').createServer().listen(8123, '127.0.0.1')";
    let run = node(&["--report-on-signal"], wait).start();
    stacks_of_node(&run, "    its event loop waits for any of\n        connections to 127.0.0.1:8123\n");
    run.finish().assert_nothing_left();
}

#[test]
fn node_without_reports_is_left_alone_and_the_option_is_named() {
    let run = node(&[], "setInterval(() => {}, 100000)").start();
    stacks_of_node(&run, "): start it with NODE_OPTIONS=--report-on-signal\n");
    run.finish().assert_nothing_left();
}

#[test]
fn node_that_does_not_return_to_its_event_loop_is_said_to_do_so() {
    let run = node(&["--report-on-signal"], "for (;;) ;").start();
    run.until_file("runs");
    let said = why(&run, &["--stacks"]).stdout;
    assert!(
        said.contains("it wrote no report within 3 s: its code does not return to the event loop"),
        "{said}"
    );
    run.signal(Signal::SIGTERM);
    run.finish().assert_nothing_left();
}

#[test]
fn a_process_that_forbids_its_user_to_trace_it_is_said_to_do_so() {
    let program = "#include <sys/prctl.h>\n#include <unistd.h>\n\
        int main(void) { prctl(PR_SET_DUMPABLE, 0); for (;;) pause(); }";
    let session = Session::new().options(TIMEOUT).options(["--user", "nobody"]).file("hides.c", program);
    std::fs::set_permissions(session.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (source, hides) = (session.path().join("hides.c"), session.path().join("hides"));
    let compiled = std::process::Command::new("cc").arg("-o").args([&hides, &source]).status().unwrap();
    assert!(compiled.success());
    let run = session.command([hides.to_str().unwrap()]).run();
    run.assert_code(124)
        .assert_said("(hides): eu-stack is not permitted to trace the process")
        .assert_nothing_left();
}
