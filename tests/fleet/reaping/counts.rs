//! What teardowns find is counted, for Prometheus.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal::SIGKILL;

use super::{command_of_unit, end, live, output, own_run, python, stale};
use crate::fixtures::NOBODY;
use crate::harness::{Finished, OwnHost, Session, until};

const DIRECTORY: &str = "/run/cgrun";

/// Reads the text as Prometheus does, and prints each sample's name, labels and value.
const PARSE: &str = "import sys
from prometheus_client.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    assert family.documentation and family.type in ('gauge', 'counter', 'histogram'), family
    for sample in family.samples:
        assert sample.name.startswith('cgrun_') and sample.timestamp is None, sample
        print(sample.name, *(f'{k}={v}' for k, v in sorted(sample.labels.items())), '', float(sample.value))
";

fn count_here() {
    std::fs::create_dir(DIRECTORY).unwrap();
    std::fs::set_permissions(DIRECTORY, PermissionsExt::from_mode(0o1777)).unwrap();
}

fn parsed(text: &str) -> BTreeMap<String, f64> {
    let mut parser = Command::new(python())
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = parser.wait_with_output().unwrap();
    assert!(done.status.success(), "{text}");
    let lines = String::from_utf8(done.stdout).unwrap();
    let sample =
        |line: &str| line.rsplit_once("  ").map(|(name, value)| (name.into(), value.parse().unwrap()));
    lines.lines().map(|line| sample(line).unwrap()).collect()
}

fn scrape(run: &Finished) -> BTreeMap<String, f64> {
    parsed(&run.cgrun(&["sessions", "--format", "prometheus"]).assert_code(0).stdout)
}

#[test]
fn what_the_teardowns_of_a_host_find_is_counted() {
    let _host = OwnHost::enter();
    own_run();
    let run = Session::new().command(["true"]).run();
    let scraped = run.cgrun(&["sessions", "--format", "prometheus"]);
    scraped.assert_code(0).assert_said("nothing is counted on this host");
    let before = parsed(&scraped.stdout);
    assert_eq!(before["cgrun_counters_complete"], 0.0);
    assert!(!before.contains_key("cgrun_survivors_total"), "unknown is not zero");

    count_here();
    Session::again().sh("sleep 900 & sleep 901 &").run().assert_nothing_left();
    let slow = Session::again().options(["--timeout", "100ms", "--grace", "0"]).command(["sleep", "900"]);
    slow.run().assert_code(124).assert_nothing_left();
    let killed = live(Session::again());
    killed.signal(SIGKILL);
    let killed = killed.finish();
    // It must not see that we start programs meanwhile: they could be what has left the session.
    until("the guardian has exited", || killed.members().is_empty());
    killed.assert_nothing_left();
    let dead = stale(Session::again());
    dead.cgrun(&["sweep"]).assert_code(0);
    let living = live(Session::again());
    let dead = stale(Session::again());

    let found = scrape(&run);
    for (name, expected) in [
        ("cgrun_sessions state=live", 1.0),
        ("cgrun_sessions state=stale", 1.0),
        ("cgrun_sessions state=unknown", 0.0),
        ("cgrun_sessions_complete", 1.0),
        ("cgrun_counters_complete", 1.0),
        ("cgrun_teardowns_total by=supervisor cause=command_ended", 1.0),
        ("cgrun_teardowns_total by=supervisor cause=timed_out", 1.0),
        ("cgrun_teardowns_total by=supervisor cause=idle", 0.0),
        ("cgrun_teardowns_total by=guardian cause=supervisor_died", 1.0),
        ("cgrun_teardowns_total by=sweep cause=supervisor_died", 1.0),
        ("cgrun_teardowns_unverified_total", 0.0),
        ("cgrun_leaked_processes_total", 2.0),
        ("cgrun_survivors_total", 0.0),
        ("cgrun_teardown_seconds_count", 4.0),
        ("cgrun_teardown_seconds_bucket le=60", 4.0),
    ] {
        assert_eq!(found.get(name), Some(&expected), "{name}: {found:#?}");
    }
    assert!(found["cgrun_teardown_seconds_sum"] > 0.0);
    run.cgrun(&["sweep"]).assert_code(0);
    end(living);
    dead.assert_nothing_left();
}

/// Their commands wait for each other. 200 of them: CGRUN_FLEET_JOBS=200.
#[test]
fn sessions_that_end_at_once_are_all_counted() {
    let _host = OwnHost::enter();
    own_run();
    count_here();
    let count = crate::fleet::jobs(24);
    let script = format!(
        "mkfifo gate; for n in $(seq {count}); do $CGRUN -q sh -c 'echo >>ready; read x <gate; sleep 902 &' & done\n\
         while [ $(wc -l <ready || echo 0) -lt {count} ]; do sleep 0.05; done 2>/dev/null; : >gate; wait"
    );
    let run = Session::new().start_through(&["bash", "-c", &script]).finish();
    run.assert_code(0).assert_nothing_left();
    let found = scrape(&run);
    let count = f64::from(count);
    assert_eq!(found["cgrun_teardowns_total by=supervisor cause=command_ended"], count, "{found:#?}");
    assert_eq!(found["cgrun_leaked_processes_total"], count);
    assert_eq!(found["cgrun_teardown_seconds_count"], count);
}

/// Root adds up what the users have counted; they see only their own, and are told so.
#[test]
fn users_count_apart_and_root_adds_them_up() {
    let _host = OwnHost::enter();
    own_run();
    count_here();
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let session = Session::new();
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let script = "$CGRUN -q sh -c 'sleep 903 & true'; $CGRUN sessions --format prometheus >own; $CGRUN true";
    let run =
        session.env("HOME", "/nonexistent").start_through(&[&as_nobody[..], &["sh", "-c", script]].concat());
    let run = run.finish();
    Session::again().command(["true"]).run().assert_code(0);
    let own = parsed(&run.read("own"));
    assert_eq!(own["cgrun_teardowns_total by=supervisor cause=command_ended"], 1.0);
    let all = scrape(&run);
    assert_eq!(all["cgrun_teardowns_total by=supervisor cause=command_ended"], 3.0);
    assert_eq!(all["cgrun_leaked_processes_total"], 1.0);
    assert_eq!(all["cgrun_counters_complete"], 1.0);
    // Root's file is there now.
    let script = "$CGRUN sessions --format prometheus";
    let session = Session::again();
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let session = session.env("HOME", "/nonexistent");
    let run = session.start_through(&[&as_nobody[..], &["sh", "-c", script]].concat()).finish();
    assert_eq!(parsed(&run.stdout())["cgrun_counters_complete"], 0.0);
}

/// Whatever happens to the file, the session is as without it.
#[test]
fn a_session_that_cannot_be_counted_is_as_any_other() {
    let _host = OwnHost::enter();
    own_run();
    count_here();
    let own = format!("{DIRECTORY}/counts-1.0");
    let run_one = || {
        let run = Session::again().command(["true"]).run();
        run.assert_code(0).assert_silent().assert_nothing_left();
        run
    };
    let complete = |run: &Finished| scrape(run)["cgrun_counters_complete"];
    Session::new();
    // Another user has taken the name.
    std::fs::write(&own, [9; 4096]).unwrap();
    chown(&own, Some(NOBODY), None).unwrap();
    let run = run_one();
    assert_eq!(scrape(&run)["cgrun_survivors_total"], 0.0);
    assert_eq!(std::fs::read(&own).unwrap(), [9; 4096]);
    std::fs::remove_file(&own).unwrap();
    // A directory is there.
    std::fs::create_dir(&own).unwrap();
    run_one();
    std::fs::remove_dir(&own).unwrap();
    // It is truncated: the rest is not known to be zero.
    std::fs::write(&own, [0; 100]).unwrap();
    assert_eq!(complete(&run), 0.0);
    assert_eq!(complete(&run_one()), 1.0);
    std::fs::remove_file(&own).unwrap();
    let nothing: Option<&str> = None;
    // Nothing fits in any more.
    mount(Some("tmpfs"), DIRECTORY, Some("tmpfs"), MsFlags::empty(), Some("size=4k,mode=1777")).unwrap();
    std::fs::write(format!("{DIRECTORY}/full"), [1; 4096]).unwrap();
    run_one();
    mount(nothing, DIRECTORY, nothing, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, nothing).unwrap();
    run_one();
}

#[test]
fn the_service_of_the_metrics_writes_a_file_that_the_collector_can_read() {
    let _host = OwnHost::enter();
    own_run();
    count_here();
    let run = Session::new().command(["true"]).run();
    let file = run.path().join("cgrun.prom");
    let command = command_of_unit("cgrun-metrics.service")
        .replace("/var/lib/prometheus/node-exporter/cgrun.prom", file.to_str().unwrap());
    let done = output(Command::new("sh").args(["-c", &command]).env_remove("CGRUN_SESSION"));
    assert!(done.status.success(), "{done:?}");
    assert_eq!(parsed(&run.read("cgrun.prom"))["cgrun_teardown_seconds_count"], 1.0);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
}
