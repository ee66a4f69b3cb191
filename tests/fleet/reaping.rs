//! Fleets are swept and counted.

mod counts;
mod merged;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

use crate::fixtures::NOBODY;
use crate::harness::{Finished, OwnHost, Running, Session, cgrun_program};

const EXAMPLES: &str = "docs/examples/fleet/reaping";

fn example(name: &str) -> String {
    std::fs::read_to_string(super::root().join(EXAMPLES).join(name)).unwrap()
}

/// Hides the host's `/run` from this test. It must have a mount namespace of its own.
fn own_run() {
    let nothing: Option<&str> = None;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    mount(nothing, "/run", nothing, MsFlags::MS_PRIVATE, nothing).unwrap();
}

fn live(session: Session) -> Running {
    let run = session.sh("touch running; sleep 900").start();
    run.until_file("running");
    run
}

/// A session whose supervisor and guardian were killed at once.
fn stale(session: Session) -> Finished {
    live(session).kill_with_guardian()
}

fn end(run: Running) {
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.finish().assert_nothing_left();
}

/// Runs a command that can start a sweep, whose records must not go to our home.
fn output(command: &mut Command) -> Output {
    let state = tempfile::tempdir().unwrap();
    std::fs::set_permissions(state.path(), PermissionsExt::from_mode(0o777)).unwrap();
    command.env("XDG_STATE_HOME", state.path()).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_sweep_of_a_host_without_sessions_is_quick() {
    let _host = OwnHost::enter();
    let run = Session::new().command(["true"]).run();
    let begin = Instant::now();
    run.cgrun(&["sweep"]).assert_code(0).assert_silent();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

/// A timer, an epilog and a hook can sweep in the same moment, while other jobs start and end sessions.
#[test]
fn sweeps_at_once_end_each_stale_session_and_no_other() {
    let _host = OwnHost::enter();
    let live = live(Session::new());
    let stale: Vec<_> = (0..4).map(|_| stale(Session::again())).collect();
    let state = live.path().join("state");
    let sweep = || {
        let mut command = Command::new(cgrun_program());
        command.arg("sweep").env("XDG_STATE_HOME", &state).stderr(Stdio::piped()).spawn().unwrap()
    };
    let sweeps: Vec<_> = (0..4).map(|_| sweep()).collect();
    let started = live.cgrun(&["true"]);
    started.assert_code(0);
    for sweep in sweeps {
        let done = sweep.wait_with_output().unwrap();
        assert!(done.status.success(), "{}: {}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    assert_eq!(live.sessions(), 1, "the live session was ended");
    end(live);
    stale.iter().for_each(|run| _ = run.assert_nothing_left());
}

#[test]
fn the_units_are_valid() {
    let mut session = Session::new();
    let units =
        ["cgrun-sweep@.service", "cgrun-sweep@.timer", "cgrun-metrics.service", "cgrun-metrics.timer"];
    let program = cgrun_program();
    for name in units {
        let text = example(name).replace("ExecStart=cgrun", &format!("ExecStart={}", program.display()));
        session = session.file(&name.replace('@', "@root"), text);
    }
    let units = units.map(|name| format!("./{}", name.replace('@', "@root"))).join(" ");
    let verify = format!("systemd-analyze verify --man=no {units}");
    session.start_through(&["sh", "-c", &verify]).finish().assert_code(0).assert_silent();
}

/// What the unit runs, by the shell, since there need be no systemd here.
fn command_of_unit(name: &str) -> String {
    let text = example(name);
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    format!("exec {}/{line}", cgrun_program().parent().unwrap().display())
}

#[test]
fn the_service_of_the_timer_ends_a_stale_session() {
    let _host = OwnHost::enter();
    let run = stale(Session::new());
    let done = output(Command::new("sh").args(["-c", &command_of_unit("cgrun-sweep@.service")]));
    assert!(done.status.success(), "{done:?}");
    run.assert_nothing_left();
}

#[test]
fn the_directory_of_the_counters_is_open_to_every_user() {
    let _host = OwnHost::enter();
    own_run();
    let config = super::root().join(EXAMPLES).join("cgrun-tmpfiles.conf");
    let done = output(Command::new("systemd-tmpfiles").arg("--create").arg(config));
    assert!(done.status.success(), "{done:?}");
    let metadata = std::fs::metadata("/run/cgrun").unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o1777);
}

/// Runs Slurm's epilog as slurmd does, with few variables.
fn epilog(cgrun: &Path, user: &str) -> Output {
    let script = super::root().join("docs/examples/fleet/slurm/epilog.sh");
    let mut command = Command::new(script);
    command.env_clear().env("PATH", cgrun.parent().unwrap());
    output(command.env("SLURM_JOB_USER", user).env("SLURM_JOB_ID", "7"))
}

#[test]
fn the_epilog_of_slurm_ends_a_stale_session_of_the_user_of_the_job() {
    let _host = OwnHost::enter();
    let living = live(Session::new());
    let run = stale(Session::again());
    // A job of another user: what root's own sweep leaves alone.
    let listed = run.cgrun(&["sessions", "--json"]).json();
    let sessions = listed["sessions"].as_array().unwrap();
    let session = sessions.iter().find(|it| it["state"] == "stale").unwrap()["cgroup"].as_str().unwrap();
    let give = |path: &Path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    give(Path::new(session).parent().unwrap());
    for entry in walk(Path::new(session)) {
        give(&entry);
    }
    assert!(epilog(&cgrun_program(), "root").status.success());
    assert_eq!(run.sessions(), 1, "root has ended the session of another user");
    let done = epilog(&cgrun_program(), "nobody");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(living.sessions(), 1, "the live session was ended");
    end(living);
    run.assert_nothing_left();
}

/// A directory with everything in it.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().path());
    let within = entries.flat_map(|it| if it.is_dir() { walk(&it) } else { vec![it] });
    [directory.to_path_buf()].into_iter().chain(within).collect()
}

/// A failure would drain the node.
#[test]
fn the_epilog_of_slurm_fails_only_if_something_can_survive() {
    let session = Session::new();
    let program = session.path().join("cgrun");
    for (code, expected) in [(0, 0), (1, 0), (124, 0), (125, 0), (127, 0), (122, 1)] {
        std::fs::write(&program, format!("#!/bin/sh\n[ \"$1\" = sweep ] || exit 122\nexit {code}\n"))
            .unwrap();
        nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            &program,
            nix::sys::stat::Mode::S_IRWXU,
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )
        .unwrap();
        assert_eq!(epilog(&program, "root").status.code(), Some(expected), "{code}");
    }
    assert_eq!(epilog(Path::new("/nonexistent/cgrun"), "root").status.code(), Some(0));
    assert_eq!(epilog(&program, "nobody-of-that-name").status.code(), Some(0));
    assert_eq!(epilog(&program, "").status.code(), Some(0));
}

/// The runner puts these lines into the script of each job, which bash runs with `set -eo pipefail`.
#[test]
fn the_scripts_of_gitlab_end_a_stale_session_and_fail_no_job() {
    let _host = OwnHost::enter();
    let config: toml::Table = example("gitlab-runner.toml").parse().unwrap();
    let path = format!("{}:/usr/bin:/bin", cgrun_program().parent().unwrap().display());
    Session::new();
    for key in ["pre_get_sources_script", "post_build_script"] {
        let script = config["runners"][0][key].as_str().unwrap();
        let run = stale(Session::again());
        let job = |path: &str| {
            output(Command::new("/bin/bash").args(["-eo", "pipefail", "-c", script]).env("PATH", path))
        };
        assert!(job(&path).status.success());
        run.assert_nothing_left();
        assert!(job("/nonexistent").status.success());
    }
}

fn python() -> std::path::PathBuf {
    super::program("python3")
}
