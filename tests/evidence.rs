//! The witness itself finds every kind of leftover, and never reports an unknown as clean.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{TestCgroup, until};
use crate::witness::{Leftover, Search};

/// A process that is killed at the end of the test.
struct Sleeper(Child);

impl Sleeper {
    fn start(adjust: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new("sleep");
        command.arg("900").current_dir("/");
        adjust(&mut command);
        let sleeper = Self(command.spawn().unwrap());
        // `spawn` returns when the old image is gone, which is before the new one has its arguments.
        let arguments = format!("/proc/{}/cmdline", sleeper.0.id());
        until("its arguments can be read", || !std::fs::read(&arguments).unwrap().is_empty());
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asserts that the witness finds exactly this process, for this reason, until the process is dead.
#[track_caller]
fn assert_finds(search: &Search, mut sleeper: Sleeper, reason: &str) {
    let is_it = |found: &Leftover| matches!(found, Leftover::Process { pid, .. } if *pid == sleeper.0.id());
    let found = search.leftovers().unwrap();
    assert!(found.len() == 1 && is_it(&found[0]), "{found:?}");
    assert_eq!(found[0].to_string(), format!("process {} (sleep 900) {reason}", sleeper.0.id()));
    sleeper.0.kill().unwrap();
    // It is not reaped yet.
    until("nothing is left", || search.leftovers().unwrap().is_empty());
}

/// Text that no other process has.
fn mark() -> String {
    format!("mark-{}", std::process::id())
}

#[test]
fn a_process_is_found_by_its_environment() {
    let search = Search { marks: vec![mark()], ..Search::default() };
    let sleeper = Sleeper::start(|command| command.env("WITNESS", mark()));
    assert_finds(&search, sleeper, &format!("has {:?} in its environment", mark()));
}

#[test]
fn a_process_is_found_by_its_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().to_str().unwrap().to_string();
    let search = Search { marks: vec![mark.clone()], ..Search::default() };
    let sleeper = Sleeper::start(|command| command.env_clear().current_dir(&mark));
    assert_finds(&search, sleeper, &format!("has {mark:?} in its working directory"));
}

#[test]
fn a_process_is_found_by_its_command_line() {
    let text = format!("sleep 900 {}", std::process::id());
    // sleep(1) takes more than one number.
    let sleeper = Sleeper::start(|command| command.arg(std::process::id().to_string()));
    for search in [
        Search { command_lines: vec![text.clone()], ..Search::default() },
        Search { marks: vec![text.clone()], ..Search::default() },
    ] {
        let found = search.leftovers().unwrap();
        let [found] = &found[..] else { panic!("{found:?}") };
        assert!(found.to_string().ends_with(&format!("has {text:?} in its command line")), "{found}");
    }
    drop(sleeper);
    let search = Search { command_lines: vec![text], ..Search::default() };
    assert!(search.leftovers().unwrap().is_empty());
}

#[test]
fn a_process_is_found_by_its_parent() {
    let search = Search { parents: vec![std::process::id()], ..Search::default() };
    let sleeper = Sleeper::start(|command| command);
    assert_finds(&search, sleeper, &format!("is a child of {}", std::process::id()));
}

#[test]
fn a_process_is_found_by_its_cgroup_at_any_depth() {
    let cgroup = TestCgroup::create("evidence");
    let below = cgroup.path().join("below");
    std::fs::create_dir(&below).unwrap();
    let search = Search { cgroups: vec![below], ..Search::default() };
    let sleeper = Sleeper::start(|command| {
        cgroup.enter_on_exec(command);
        command
    });
    assert!(search.leftovers().unwrap().is_empty(), "it is in the cgroup above");
    let search = Search { cgroups: vec![cgroup.path().to_path_buf()], ..Search::default() };
    let found = search.leftovers().unwrap();
    assert_eq!(found.len(), 2, "the process, and the cgroup below: {found:?}");
    std::fs::remove_dir(cgroup.path().join("below")).unwrap();
    assert_finds(&search, sleeper, &format!("is in {}", cgroup.path().display()));
}

#[test]
fn a_cgroup_of_a_session_is_found_at_any_depth() {
    let cgroup = TestCgroup::create("evidence");
    let search = Search { roots: vec![cgroup.path().to_path_buf()], ..Search::default() };
    std::fs::create_dir(cgroup.path().join("other")).unwrap();
    assert!(search.leftovers().unwrap().is_empty());
    let session = cgroup.path().join("other/cgrun-0");
    std::fs::create_dir(&session).unwrap();
    let found = search.leftovers().unwrap();
    assert!(matches!(&found[..], [Leftover::Cgroup(path)] if *path == session), "{found:?}");
}

#[test]
fn a_port_is_found_on_either_protocol() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = std::net::TcpListener::bind(address) else {
            assert!(address.starts_with('['), "this host has no IPv4");
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let search = Search { ports: vec![port], ..Search::default() };
        let found = search.leftovers().unwrap();
        assert!(matches!(found[..], [Leftover::Port(found)] if found == port), "{found:?}");
        drop(listener);
        assert!(search.leftovers().unwrap().is_empty());
    }
}

#[test]
fn a_lock_is_found_for_as_long_as_it_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let search = Search { locks: vec![directory.path().to_path_buf()], ..Search::default() };
    let lock = File::create(&path).unwrap();
    assert!(search.leftovers().unwrap().is_empty());
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let found = search.leftovers().unwrap();
    assert!(matches!(&found[..], [Leftover::Lock(found)] if *found == path), "{found:?}");
    drop(lock);
    assert!(search.leftovers().unwrap().is_empty());
}

#[test]
fn an_unreadable_object_is_an_error() {
    let missing = || vec![Path::new("/nonexistent").to_path_buf()];
    // A directory that is not a cgroup.
    let other = || vec![std::env::temp_dir()];
    for search in [
        Search { cgroups: missing(), ..Search::default() },
        Search { cgroups: other(), ..Search::default() },
        Search { roots: missing(), ..Search::default() },
        Search { roots: other(), ..Search::default() },
        Search { locks: missing(), ..Search::default() },
    ] {
        let error = search.leftovers().unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}

/// Runs the program as a script would.
fn witness(arguments: &[&str], input: Stdio) -> (Option<i32>, String) {
    let program = super::harness::witness_program();
    let output = Command::new(program).args(arguments).stdin(input).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_program_prints_each_leftover() {
    let sleeper = Sleeper::start(|command| command.env("WITNESS", mark()));
    let expected = format!("process {} (sleep 900) has {:?} in its environment\n", sleeper.0.id(), mark());
    let search = || witness(&["--mark", &mark()], Stdio::null());
    assert_eq!(search(), (Some(1), expected));
    drop(sleeper);
    assert_eq!(search(), (Some(0), String::new()));
}

#[test]
fn the_program_finds_the_holder_of_a_pipe() {
    let (reader, writer) = std::io::pipe().unwrap();
    let search =
        |reader: &std::io::PipeReader| witness(&["--input-pipe"], reader.try_clone().unwrap().into());
    let expected = "pipe on standard input is held by a writer\n".to_string();
    assert_eq!(search(&reader), (Some(1), expected));
    drop(writer);
    assert_eq!(search(&reader), (Some(0), String::new()));
}

#[test]
fn the_program_fails_if_it_cannot_tell() {
    let (code, text) = witness(&["--cgroup", "/nonexistent"], Stdio::null());
    assert_eq!(code, Some(3), "{text}");
    assert!(text.starts_with("witness: cannot tell whether anything is left: /nonexistent"), "{text}");
    let (code, text) = witness(&[], Stdio::null());
    assert_eq!(code, Some(2), "a search for nothing finds nothing: {text}");
}
