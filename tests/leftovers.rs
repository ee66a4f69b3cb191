//! What a session leaves behind that is not a process is reported, and removed only if it is provably the session's.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::containments::Host;
use crate::fixtures::{JSON, NOBODY};
use crate::harness::{Finished, Session, helpers, installed, private_shared_memory, python_program};
use crate::real_applications::postgres;

const TEST: &str = "PYTEST_CURRENT_TEST='tests/test_a.py::test_b (call)'";

everywhere!(
    the_segment_of_a_leak_is_removed_and_named_with_its_test,
    a_segment_whose_creator_is_dead_is_reported_and_left_alone,
    a_session_that_leaves_nothing_says_nothing,
    what_is_private_goes_with_the_session,
);

fn session() -> Session {
    private_shared_memory();
    Session::new()
}

/// A process outside of the session.
struct Outside(Child);

impl Outside {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.arg(helpers().join("leave.py")).args(arguments).current_dir(directory);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        Self(child)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The ids of a table of this test.
fn ids(kind: &str) -> Vec<String> {
    let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap();
    let id = |line: &str| line.split_whitespace().nth(1).unwrap().to_string();
    table.lines().skip(1).map(id).collect()
}

fn in_shared_memory() -> Vec<PathBuf> {
    std::fs::read_dir("/dev/shm").unwrap().map(|it| it.unwrap().path()).collect()
}

/// The leftovers in the JSON report, which is as its schema says.
fn leftovers(run: &Finished) -> Vec<Value> {
    let report = run.path().join("report.json");
    let mut reader = Command::new(python_program("python3"));
    let schema = installed("src/report/schema.json");
    reader.arg(helpers().join("readers.py")).args(["json", schema.to_str().unwrap()]).arg(&report);
    assert!(reader.stdout(Stdio::null()).status().unwrap().success());
    let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
    assert_eq!(report["leftovers_unverified"], Value::Array(Vec::new()), "{}", run.stderr());
    report["leftovers"].as_array().unwrap().clone()
}

fn the_segment_of_a_leak_is_removed_and_named_with_its_test(host: Host) {
    let script = format!("{TEST} python3 $HELPERS/leave.py daemon");
    let run = host.run(session().options(JSON).options(["--grace", "1s"]).sh(&script));
    run.assert_code(0).assert_nothing_left();
    run.assert_matches(
        r"removed 1 leftover \(4 KiB\):\ncgrun:   shared memory \d+, 4 KiB, created by pid \d+ \(.*leave.py daemon\), started during tests/test_a.py::test_b \(call\)\n",
    );
    assert_eq!(ids("shm"), [""; 0]);
    let [it] = &leftovers(&run)[..] else { panic!("{}", run.stderr()) };
    assert_eq!((&it["kind"], &it["fate"]), (&"shared_memory".into(), &"removed".into()));
    assert_eq!(it["name"], run.read("segment"));
    assert_eq!(it["started_during"], "tests/test_a.py::test_b (call)");
}

fn a_segment_whose_creator_is_dead_is_reported_and_left_alone(host: Host) {
    let run = host.run(session().options(JSON).helper("leave.py", &["dead"]));
    run.assert_code(0).assert_nothing_left();
    let id = run.read("segment");
    run.assert_said("1 possible leftover (4 KiB) left alone").assert_said("hint: with --private ipc, ");
    run.assert_said(&format!("which is gone; if it is yours: ipcrm -m {id}\n"));
    assert_eq!(ids("shm"), [id.as_str()]);
    let [it] = &leftovers(&run)[..] else { panic!("{}", run.stderr()) };
    let command = it["remove_with"].as_str().unwrap();
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success());
    assert_eq!(ids("shm"), [""; 0]);
}

fn a_session_that_leaves_nothing_says_nothing(host: Host) {
    let script = "ipcrm -m $(ipcmk -M 4096 | grep -o '[0-9]*$') && touch /dev/shm/x && rm /dev/shm/x";
    let session = session().options(JSON);
    // It was there before.
    std::fs::write("/dev/shm/old", "").unwrap();
    let run = host.run(session.sh(script));
    run.assert_code(0).assert_nothing_left();
    assert!(!run.stderr().contains("leftover"), "{}", run.stderr());
    assert_eq!(leftovers(&run).len(), 0);
}

fn what_is_private_goes_with_the_session(host: Host) {
    let script = "ipcmk -S 1 >&2; echo tea >/dev/shm/cup; echo tea >/tmp/pot; mkdir /var/tmp/d";
    let run = host.run(session().options(JSON).options(["--private", "ipc,shm,tmp"]).sh(script));
    run.assert_code(0).assert_nothing_left();
    run.assert_matches(
        r"2 leftovers \(4 B\) went with the session:\ncgrun:   semaphores \d+\ncgrun:   /dev/shm/cup, 4 B\n",
    );
    assert!(!run.stderr().contains("/tmp/pot") && !run.stderr().contains("hint"), "{}", run.stderr());
    assert_eq!((ids("sem").len(), in_shared_memory().len()), (0, 0));
    let all = leftovers(&run);
    assert!(all.iter().all(|it| it["fate"] == "gone_with_session"), "{all:?}");
    let named = |name: &str| all.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!((&named("/tmp")["file_count"], &named("/var/tmp")["file_count"]), (&1.into(), &1.into()));
}

#[test]
fn the_segment_of_a_command_that_is_killed_is_removed() {
    let run = session().helper("leave.py", &["killed"]).run();
    run.assert_nothing_left();
    run.assert_matches(r"removed 1 leftover \(4 KiB\):\ncgrun:   shared memory \d+, 4 KiB, created by pid \d+ \(the command\)\n");
    assert_eq!(ids("shm"), [""; 0]);
}

#[test]
fn what_a_killed_database_leaves_is_reported_with_its_size() {
    let script =
        "kill -KILL $(head -n1 data/postmaster.pid); while pgrep -F data/postmaster.pid; do sleep 0.02; done";
    let run = postgres("").options(JSON).sh(script).run();
    run.assert_nothing_left();
    run.assert_matches(
        r"shared memory \d+, 56 B, created by pid \d+, which is gone; if it is yours: ipcrm -m \d+\n",
    );
    run.assert_matches(r"/dev/shm/PostgreSQL.\d+, 1 MiB; if it is yours: rm /dev/shm/PostgreSQL.\d+\n");
    assert!(leftovers(&run).iter().all(|it| it["uid"] != 0), "{}", run.stderr());
    assert_eq!(ids("shm").len(), 1);
}

#[test]
fn an_ordinary_user_has_its_own_removed_too() {
    let command = ["ipcmk", "-M", "4096"];
    let run = session().command(command).start_launched(&["unprivileged"]).finish();
    run.assert_code(0).assert_said("removed 1 leftover (4 KiB)").assert_nothing_left();
    let session = Session::again().options(["--user", "nobody"]).command(command);
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    session.run().assert_code(0).assert_said("removed 1 leftover (4 KiB)").assert_nothing_left();
    assert_eq!(ids("shm"), [""; 0]);
}

/// Its pid can have been used again since.
#[test]
fn the_segment_of_a_leak_that_a_hook_has_ended_is_named_with_its_test_and_left_alone() {
    let test = "tests/test_a.py::test_b";
    let script = format!("{TEST} python3 $HELPERS/leave.py daemon; $CGRUN ps --during {test} --end >&2");
    let run = session().sh(&script).run();
    run.assert_code(1).assert_nothing_left();
    run.assert_said("1 possible leftover (4 KiB)").assert_matches(&format!(
        r"shared memory \d+, 4 KiB, created by pid \d+ \(.*\), started during {test} \(call\); if it is yours: ipcrm -m"
    ));
    assert_eq!(ids("shm").len(), 1);
}

#[test]
fn semaphores_and_queues_are_reported_and_left_alone() {
    let run = session().options(JSON).sh("ipcmk -S 3 >&2; ipcmk -Q >&2").run();
    run.assert_code(0).assert_nothing_left();
    run.assert_said("2 possible leftovers").assert_matches("semaphores [0-9]+; if it is yours: ipcrm -s");
    run.assert_matches("message queue [0-9]+, 0 B; if it is yours: ipcrm -q");
    assert_eq!((ids("sem").len(), ids("msg").len(), leftovers(&run).len()), (1, 1, 2));
}

#[test]
fn what_a_stranger_uses_is_neither_touched_nor_named() {
    let session = session().options(JSON);
    let elsewhere = tempfile::tempdir().unwrap();
    let run = session.sh("touch running; until [ -e go ]; do sleep 0.02; done").start();
    run.until_file("running");
    let stranger = Outside::start(elsewhere.path(), &["beside"]);
    let file = std::fs::File::create("/dev/shm/strange").unwrap();
    std::fs::write(run.path().join("go"), "").unwrap();
    let run = run.finish();
    run.assert_code(0).assert_silent();
    assert_eq!(leftovers(&run).len(), 0);
    assert_eq!(ids("shm").len(), 1);
    assert!(Path::new("/dev/shm/strange").exists());
    drop((stranger, file));
    run.assert_nothing_left();
}

/// Nobody can know that it is not the session's.
#[test]
fn what_a_stranger_has_left_meanwhile_is_never_removed() {
    let session = session();
    let elsewhere = tempfile::tempdir().unwrap();
    let run = session.sh("touch running; until [ -e go ]; do sleep 0.02; done").start();
    run.until_file("running");
    drop(Outside::start(elsewhere.path(), &["beside"]));
    std::fs::write("/dev/shm/strange", "").unwrap();
    std::fs::write(run.path().join("go"), "").unwrap();
    let run = run.finish();
    run.assert_code(0).assert_said("2 possible leftovers").assert_nothing_left();
    assert_eq!(ids("shm").len(), 1);
    assert!(Path::new("/dev/shm/strange").exists());
}

#[test]
fn what_another_user_has_left_meanwhile_is_not_the_sessions() {
    let session = session().options(["--user", "nobody"]);
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let run = session.sh("touch running; until [ -e go ]; do sleep 0.02; done").start();
    run.until_file("running");
    assert!(Command::new("ipcmk").args(["-M", "4096"]).stdout(Stdio::null()).status().unwrap().success());
    std::fs::write("/dev/shm/strange", "").unwrap();
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(0).assert_silent().assert_nothing_left();
}

#[test]
fn a_file_in_shared_memory_is_reported_and_left_alone() {
    let session = session().options(JSON);
    let name = "psm a";
    let run = session.helper("leave.py", &["file", name]).run();
    run.assert_nothing_left();
    run.assert_said("1 possible leftover (1 MiB) left alone")
        .assert_said("cgrun:   /dev/shm/psm a, 1 MiB; if it is yours: rm '/dev/shm/psm a'\n")
        .assert_said("hint: with --private shm, ");
    assert_eq!(in_shared_memory(), [Path::new("/dev/shm/psm a")]);
    assert_eq!(leftovers(&run).len(), 1);
}

#[test]
fn a_file_that_a_leak_holds_is_named_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("held");
    let session = session().options(["--grace", "1s"]);
    let script = format!("{TEST} python3 $HELPERS/leave.py holder {}", path.display());
    let run = session.sh(&script).run();
    run.assert_code(0).assert_nothing_left();
    run.assert_matches(&format!(
        r"  {}, 2 KiB, held by pid \d+ \(.*\), started during tests/test_a.py::test_b \(call\); if it is yours: rm",
        path.display()
    ));
    assert!(path.exists());
}

#[test]
fn the_files_of_the_project_are_meant_to_stay() {
    let session = session().options(["--grace", "1s"]);
    let run = session.sh("python3 $HELPERS/leave.py holder held").run();
    run.assert_code(0).assert_said("leaked 1 process").assert_nothing_left();
    assert!(!run.stderr().contains("possible leftover"), "{}", run.stderr());
}

/// A session can run in a container's root directory.
#[test]
fn only_what_is_below_a_project_in_a_shared_directory_is_meant_to_stay() {
    let session = session();
    let run =
        session.start_through(&["sh", "-c", "cd / && exec $CGRUN sh -c 'echo tea >/dev/shm/cup'"]).finish();
    run.assert_code(0).assert_said("/dev/shm/cup, 4 B").assert_nothing_left();
    let script = "mkdir /dev/shm/project && cd /dev/shm/project && \
        exec $CGRUN sh -c 'echo tea >/dev/shm/project/pot; echo tea >/dev/shm/pan'";
    let run = Session::again().start_through(&["sh", "-c", script]).finish();
    run.assert_code(0).assert_said("1 possible leftover").assert_said("/dev/shm/pan").assert_nothing_left();
}

#[test]
fn a_report_in_shared_memory_is_meant_to_stay() {
    let session = session();
    let run =
        session.options(["--report", "json=/dev/shm/report.json"]).sh("touch /dev/shm/report.json").run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(in_shared_memory(), [Path::new("/dev/shm/report.json")]);
}

#[test]
fn people_see_them_in_the_html_report_and_in_the_summary() {
    let session = session().options(["--report", "html=r.html"]).env("GITHUB_ACTIONS", "true");
    let summary = session.path().join("summary.md");
    let run = session.env("GITHUB_STEP_SUMMARY", &summary).sh("echo tea >'/dev/shm/<cup>'").run();
    run.assert_code(0).assert_nothing_left();
    let page = run.read("r.html");
    assert!(page.contains("<h2>Leftovers</h2>") && page.contains("/dev/shm/&lt;cup&gt;"), "{page}");
    let summary = run.read("summary.md");
    assert!(summary.contains("- 1 possible leftover (4 B) left alone"), "{summary}");
    assert!(summary.contains("/dev/shm/&lt;cup&gt;, 4 B"), "{summary}");
}

#[test]
fn ci_servers_and_nights_see_them_too() {
    let session = session().options(JSON).options(["--report", "junit=junit.xml"]);
    let run = session.helper("leave.py", &["dead"]).run();
    run.assert_code(0);
    assert!(
        run.read("junit.xml").contains("1 possible leftover (4 KiB) left alone"),
        "{}",
        run.read("junit.xml")
    );
    let merged = run.cgrun(&["merge", "report.json"]);
    assert!(merged.stdout.contains("1 leftover besides processes (4 KiB)"), "{}", merged.stdout);
    let id = run.read("segment");
    assert!(Command::new("ipcrm").args(["-m", &id]).status().unwrap().success());
}

#[test]
fn quiet_is_quiet() {
    let run = session().options(["--quiet"]).helper("leave.py", &["dead"]).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(ids("shm").len(), 1);
}

#[test]
fn leftovers_do_not_change_the_exit_code() {
    let run = session().options(["--on-leak", "fail"]).command(["ipcmk", "-M", "4096"]).run();
    run.assert_code(0).assert_said("removed 1 leftover").assert_nothing_left();
}

#[test]
fn a_table_that_cannot_be_read_is_not_called_clean() {
    let session = session().options(JSON);
    assert!(Command::new("ipcmk").args(["-M", "4096"]).stdout(Stdio::null()).status().unwrap().success());
    // Nothing is mapped at its beginning.
    let unreadable = format!("/proc/{}/mem", std::process::id());
    let bound = Command::new("mount").args(["--bind", &unreadable, "/proc/sysvipc/shm"]).status().unwrap();
    assert!(bound.success());
    let run = session.command(["true"]).run();
    run.assert_code(0).assert_said("leftovers are not verified: cannot read /proc/sysvipc/shm: ");
    let report: Value = serde_json::from_str(&run.read("report.json")).unwrap();
    assert_eq!(report["leftovers_unverified"].as_array().unwrap().len(), 1);
    run.assert_nothing_left();
}

#[test]
fn a_directory_with_very_many_files_is_not_called_clean() {
    let session = session();
    for number in 0..10_001 {
        std::fs::File::create(format!("/dev/shm/{number}")).unwrap();
    }
    let run = session.sh("touch /dev/shm/x; rm /dev/shm/x").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(
        run.stderr(),
        "cgrun: leftovers are not verified: /dev/shm has more than 10000 entries, of which only so many were looked at\n"
    );
}
