//! What has a session's labels and is not its own, and what is its own although its labels say something else.

use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{output, text};
use super::proxied::{program, session};
use super::started::{client, engine};
use crate::harness::{cgrun_program, until};

const IDLE: &str = "tail -f /dev/null >/dev/null";

/// Kills a cgrun and its guardian.
pub(super) fn kill_with_its_guardian(cgrun: &mut Child) {
    let pid = cgrun.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let is_cgrun = |pid: &&str| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "cgrun")
    };
    let pid = pid.to_string();
    let all: Vec<_> = children.split_whitespace().filter(is_cgrun).chain([pid.as_str()]).collect();
    assert!(all.len() >= 2, "{all:?}");
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        all.iter().for_each(|pid| kill(Pid::from_raw(pid.parse().unwrap()), signal).unwrap());
    }
    cgrun.wait().unwrap();
}

/// An image of the session, from which it and a stranger start something.
fn a_strangers_container_of_the_sessions_image_is_left_alone(kind: EngineKind) {
    let engine = engine(kind);
    let (program, words) = (program(&engine), "run --detach --network none");
    let script = format!(
        "set -e
         {program} {words} --name first {IMAGE} {IDLE}
         {program} commit first saved >/dev/null 2>&1
         {program} {words} --name own saved {IDLE}
         {}",
        client(&engine, &format!("{words} --name stranger saved {IDLE}"))
    );
    let done = session(&engine, &[], &script);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("2 containers leaked"), "{said}");
    let listed = engine.list();
    assert!(listed.starts_with("stranger: Up") && listed.lines().count() == 1, "{listed}");
}

/// They come from an exported file, for example.
fn labels_of_another_session_do_not_hide_a_container(kind: EngineKind) {
    let engine = engine(kind);
    let script = format!(
        "{} run --detach --network none --name left --label cgrun.session=foo {IMAGE} {IDLE}",
        program(&engine)
    );
    let done = session(&engine, &[], &script);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("1 container leaked") && said.contains("name left"), "{said}");
    assert_eq!(engine.list(), "");
}

/// Runs a session within a session.
fn nested(engine: &Engine, inner: &str, then: &str) -> (Option<i32>, String) {
    let script = format!(
        "{} --containers --grace 1s sh -c '{inner}' & inner=$!
         {then}",
        cgrun_program().display()
    );
    let done = session(engine, &[], &script);
    (done.status.code(), text(&done.stderr))
}

fn start(engine: &Engine, name: &str) -> String {
    let program = program(engine);
    format!("{program} run --detach --network none --name {name} --volume data:/data {IMAGE} {IDLE}")
}

fn a_session_within_ends_its_own(kind: EngineKind) {
    let engine = engine(kind);
    let list = format!("{} ps --all --quiet", program(&engine));
    let (code, said) =
        nested(&engine, &start(&engine, "left"), &format!("wait $inner && [ -z \"$({list})\" ]"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("1 container leaked").count(), 1, "{said}");
    assert_eq!(engine.list(), "");
}

fn what_a_killed_session_within_left_is_ended(kind: EngineKind) {
    let engine = engine(kind);
    let inner = format!("{}; touch running; exec sleep 900", start(&engine, "left"));
    let kill_both = "until [ -e running ]; do kill -0 $inner || exit 3; sleep 0.05; done
         all=$inner
         for pid in $(cat /proc/$inner/task/$inner/children); do
             [ \"$(cat /proc/$pid/comm)\" != cgrun ] || all=\"$all $pid\"
         done
         kill -STOP $all; kill -KILL $all";
    let (code, said) = nested(&engine, &inner, kill_both);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 container leaked") && said.contains("name left"), "{said}");
    assert_eq!(engine.list(), "", "{said}");
    let volumes = output(Command::new("sh").args(["-c", &client(&engine, "volume ls --quiet")]));
    assert_eq!(text(&volumes.stdout), "", "{said}");
}

/// Without `--containers`, a later session does not hide what is nobody's any more.
#[test]
fn what_a_dead_session_left_is_a_possible_leftover() {
    let engine = engine(EngineKind::Docker);
    let script = format!("{}; touch running; exec sleep 900", start(&engine, "left"));
    let mut command = super::proxied::session_command(&engine, &[], &script);
    let mut cgrun = command.stdin(std::process::Stdio::null()).spawn().unwrap();
    until("the container runs", || engine.host.path().join("running").exists());
    kill_with_its_guardian(&mut cgrun);
    let restart = client(&engine, "restart --time 0 left >/dev/null");
    let mut command = Command::new(cgrun_program());
    command.args(["sh", "-c", &restart]).current_dir(engine.host.path()).env_remove("NEXTEST");
    let done = output(command.env("XDG_STATE_HOME", engine.host.path().join("other")));
    let said = text(&done.stderr);
    assert!(said.contains("Docker's container left ("), "{said}");
}

with_both! {
    a_strangers_container_of_the_sessions_image_is_left_alone,
    labels_of_another_session_do_not_hide_a_container,
    a_session_within_ends_its_own,
    what_a_killed_session_within_left_is_ended,
}
