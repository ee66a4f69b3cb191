//! Limits and figures. The tests in this file run on every host: refusals, invalid input, and figures that
//! need no controllers. The files below need all cgroup v2 controllers and systemd, which few hosts that can
//! run the other tests have. `scripts/vm-test` runs those in a virtual machine.

mod cpus;
mod delegation;
mod memory;
mod pids;
mod settings;
mod shards;

use crate::harness::{Finished, Session, cgrun_program};

/// Each controller, and a limit in the config that needs it.
pub(crate) const LIMIT_OF_EACH_CONTROLLER: [(&str, &str); 5] = [
    ("memory", "memory = '64M'"),
    ("pids", "pids = 50"),
    ("cpu", "cpus = 1"),
    ("cpuset", "cpuset = '0'"),
    ("io", "io_weight = 50"),
];

/// A service that leaves a file behind if it runs.
const SERVICE: &str = "[services.web]\ncommand = ['touch', 'service-ran']\n";

/// The start of a shell script, which makes the command work in the cgroup of its session.
const IN_SESSION: &str = "cd \"/sys/fs/cgroup$(sed s/^0:://\\;s,/[^/]*$,, /proc/self/cgroup)\" && ";

fn session() -> Session {
    Session::new().command(["touch", "ran"])
}

fn cgrun() -> String {
    cgrun_program().to_str().unwrap().to_string()
}

/// Whether a session on this host can have this cgroup v2 controller.
fn has(controller: &str) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).unwrap();
    let file = format!("{}/cgroup.controllers", mount.split(' ').nth(1).unwrap());
    std::fs::read_to_string(file).unwrap().split_whitespace().any(|it| it == controller)
}

/// Asserts that either the limit applies, or it is refused with a reason and nothing was started.
#[track_caller]
fn assert_limited_or_refused(run: &Finished, controller: &str) {
    run.assert_nothing_left();
    if has(controller) {
        run.assert_code(0);
        let stderr = run.stderr();
        assert!(stderr.lines().all(|line| line.contains(": web is ready after ")), "{stderr}");
        assert!(run.path().join("ran").exists());
        return;
    }
    run.assert_code(125)
        .assert_said(&format!("cgrun: cannot limit {controller}: the {controller} controller "));
    run.assert_said("belongs to cgroup v1 on this host; boot with systemd.unified_cgroup_hierarchy=1");
    run.assert_said("or pass --limits-best-effort");
    for trace in ["ran", "service-ran"] {
        assert!(!run.path().join(trace).exists(), "there is a file {trace}");
    }
}

#[test]
fn a_limit_that_cannot_be_applied_is_refused() {
    for (options, controller) in [
        (["--memory", "256MiB"], "memory"),
        (["--pids", "50"], "pids"),
        (["--cpus", "0.5"], "cpu"),
        (["--memory", "50%"], "memory"),
    ] {
        assert_limited_or_refused(&session().options(options).run(), controller);
    }
}

#[test]
fn a_limit_in_the_config_that_cannot_be_applied_is_refused() {
    for (config, controller) in [
        ("[limits]\nmemory = '256MiB'\n", "memory"),
        ("[limits]\nswap = 0\n", "memory"),
        ("[limits]\ncpuset = '0'\n", "cpuset"),
        ("[services.web]\ncommand = ['sleep', '60']\nlimits = { pids = 50 }\n", "pids"),
    ] {
        assert_limited_or_refused(&session().config(config).run(), controller);
    }
}

#[test]
fn best_effort_continues_with_a_warning() {
    let by_option = session().options(["--pids", "50", "--limits-best-effort"]);
    let by_config = session().config("[limits]\npids = 50\nbest_effort = true\n");
    for session in [by_option, by_config] {
        let run = session.run();
        run.assert_code(0).assert_nothing_left();
        assert!(run.path().join("ran").exists());
        if has("pids") {
            run.assert_silent();
        } else {
            run.assert_said(
                "cgrun: running without a limit on pids: the pids controller belongs to cgroup v1",
            );
        }
    }
}

#[test]
fn only_a_cgroup_has_limits() {
    for (host, kind) in [("without-cgroups", "PID namespace"), ("without-namespaces", "process tree")] {
        let run = session().options(["--pids", "50"]).start_launched(&[host, &cgrun()]).finish();
        run.assert_code(125).assert_nothing_left();
        run.assert_said(&format!("cannot limit pids: this session runs in a {kind}, and only a cgroup"));
        run.assert_said("see `cgrun doctor`");
        assert!(!run.path().join("ran").exists());

        let session = session().options(["--pids", "50", "--limits-best-effort"]);
        let run = session.start_launched(&[host, &cgrun()]).finish();
        run.assert_code(0).assert_nothing_left();
        run.assert_said("running without a limit on pids: this session runs in a");
        assert!(run.path().join("ran").exists());
    }
}

#[track_caller]
fn assert_refused(run: &Finished, words: &[&str]) {
    run.assert_code(125).assert_nothing_left();
    for word in words {
        run.assert_said(word);
    }
    for trace in ["ran", "service-ran"] {
        assert!(!run.path().join(trace).exists(), "there is a file {trace}\n{}", run.stderr());
    }
}

#[test]
fn invalid_limits_in_the_config_are_shown_with_line_and_caret() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[limits]\nmemory = 'much'\n",
            &["cgrun.toml:2:10: invalid size \"much\"; write a size such as 4G", "  |          ^^^^^^"],
        ),
        ("[limits]\nmemory = -1\n", &["cgrun.toml:2:10: invalid size \"-1\""]),
        ("[limits]\nmemory = 4\n", &["cgrun.toml:2:10: \"4\" is less than a process needs to start"]),
        ("[limits]\nmemory = '99999999999T'\n", &["is more memory than any machine can have"]),
        ("[limits]\nmemory = '4 potatoes'\n", &["invalid unit \"potatoes\""]),
        ("[limits]\nmemory = '101%'\n", &["invalid share of the host's memory"]),
        ("[limits]\nmemory = true\n", &["cgrun.toml:2:10: ", "expected a size, such as \"4GiB\""]),
        ("[limits]\npids = 0\n", &["cgrun.toml:2:8: a limit of 0 lets no process start"]),
        ("[limits]\npids = 1.5\n", &["invalid number of processes \"1.5\""]),
        ("[limits]\ncpus = -2\n", &["cgrun.toml:2:8: invalid number of CPUs \"-2\""]),
        ("[limits]\ncpus = nan\n", &["cgrun.toml:2:8: "]),
        ("[limits]\ncpus = 0.001\n", &["is less than a process needs to start; the minimum is 0.01"]),
        ("[limits]\nio_weight = 0\n", &["invalid weight \"0\"; write a whole number from 1 to 10000"]),
        ("[limits]\ncpuset = '3-1'\n", &["invalid set of CPUs \"3-1\""]),
        ("[limits]\nmemroy = '4G'\n", &["cgrun.toml:2:1: unknown key `memroy`, expected one of `memory`"]),
        (&format!("{SERVICE}limits = {{ best_effort = true }}\n"), &["unknown key `best_effort`"]),
        (&format!("{SERVICE}limits = {{ memory = '-4G' }}\n"), &["cgrun.toml:3:21: invalid size \"-4G\""]),
        (&format!("{SERVICE}[limits]\npids = 1\n"), &["a limit of 1 processes is too small"]),
    ];
    for (config, words) in cases {
        assert_refused(&session().config(config).run(), words);
    }
}

#[test]
fn invalid_limits_on_the_command_line_are_refused() {
    let cases: &[(&[&str], &str)] = &[
        (&["--memory", "-4G"], "invalid size \"-4G\""),
        (&["--memory", "0"], "is less than a process needs to start"),
        (&["--memory", "18446744073709551616"], "is more memory than any machine can have"),
        (&["--pids", "-1"], "invalid number of processes \"-1\""),
        (&["--cpus", "0%"], "invalid share of the host's CPUs"),
        (&["--cpus", "two"], "invalid number of CPUs \"two\""),
    ];
    for (options, words) in cases {
        assert_refused(&session().options(*options).run(), &["error: ", words]);
    }
}

#[test]
fn more_than_the_host_has_is_a_warning() {
    let run = session().options(["--memory", "1000T", "--cpus", "5000", "--limits-best-effort"]).run();
    run.assert_code(0).assert_nothing_left();
    run.assert_said("the session's limit of 1000 TiB of memory exceeds what this host has (");
    run.assert_said("the session's limit of 5000 CPUs exceeds what this host has (");
}

#[test]
fn too_little_memory_to_start_is_refused_or_given_up() {
    let run = session().options(["--memory", "0.0001%", "--cpus", "5000"]).run();
    run.assert_code(125).assert_nothing_left();
    run.assert_said("cannot limit memory: it comes to ");
    // Warnings before the error are printed too.
    run.assert_said("the session's limit of 5000 CPUs exceeds what this host has (");
    let run = session().options(["--memory", "0.0001%", "--limits-best-effort"]).run();
    run.assert_code(0).assert_nothing_left().assert_said("running without a limit on memory: it comes to ");
    assert!(run.path().join("ran").exists());
}

/// The numbers that a regular expression captures.
#[track_caller]
fn numbers<const N: usize>(pattern: &str, text: &str) -> [f64; N] {
    let found = regex::Regex::new(pattern).unwrap().captures(text);
    let found = found.unwrap_or_else(|| panic!("no match for: {pattern}\n{text}"));
    std::array::from_fn(|group| found[group + 1].parse().unwrap())
}

/// The row of the table of figures that starts with this name.
#[track_caller]
fn row(run: &Finished, name: &str) -> String {
    let said = run.stderr();
    let mut rows = said.lines().filter_map(|line| line.strip_prefix("cgrun: "));
    let row = rows.find(|row| row.starts_with(&format!("{name}  ")));
    row.unwrap_or_else(|| panic!("no figures of {name}\n{said}")).to_string()
}

/// The figures in that row.
#[track_caller]
fn figures(run: &Finished, name: &str) -> Vec<String> {
    let row = row(run, name);
    row[name.len()..]
        .replace(" s", "s")
        .replace(" KiB", "KiB")
        .replace(" MiB", "MiB")
        .split_whitespace()
        .map(str::to_string)
        .collect()
}

#[test]
fn verbose_shows_what_was_used() {
    let config = "[services.busy]\ncommand = ['python3', '{helpers}/hungry.py', 'then', 'burn', '30']\n";
    let run = Session::new().config(config).options(["-v"]).helper("hungry.py", &["burn", "0.5"]).run();
    run.assert_code(0).assert_nothing_left().assert_said("cgrun: used by ");
    let user = |name| -> f64 { figures(&run, name)[0].trim_end_matches('s').parse().unwrap() };
    let (service, command, all) = (user("service busy"), user("command"), user("session"));
    // The time that the program counted itself, without its start.
    let counted: f64 = run.stdout().split(' ').next().unwrap().parse().unwrap();
    let system: f64 = figures(&run, "command")[1].trim_end_matches('s').parse().unwrap();
    assert!((counted..counted + 0.5).contains(&(command + system + 0.01)), "{counted}\n{}", run.stderr());
    assert!((service + command - all).abs() < 0.05, "{}", run.stderr());
    if !has("memory") {
        assert_eq!(figures(&run, "session")[2], "-", "not measured is not zero\n{}", run.stderr());
    }
}

#[test]
fn without_a_cgroup_there_are_no_figures() {
    let run = session().options(["-v"]).start_launched(&["without-cgroups", &cgrun()]).finish();
    run.assert_code(0).assert_nothing_left().assert_said("clean: layer 1");
    assert!(!run.stderr().contains("used by"), "{}", run.stderr());
}
