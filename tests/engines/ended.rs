//! What sessions leave in a container engine is ended by its labels.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{EngineHost, output, shell, text};
use super::started::{client, engine};
use crate::harness::{cgrun_program, until};

/// Labels that say whose an object is.
#[derive(Clone)]
pub(super) struct Labels {
    pub session: &'static str,
    pub boot: String,
    pub pid_namespace: String,
    pub owner: String,
}

impl Labels {
    /// Those of a session whose supervisor is this process.
    fn of_a_living_owner() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap();
        let stat = read("/proc/self/stat");
        let started = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap();
        Self {
            session: "bcdfghjk",
            boot: read("/proc/sys/kernel/random/boot_id").trim().into(),
            pid_namespace: namespace.to_str().unwrap().chars().filter(char::is_ascii_digit).collect(),
            owner: format!("{}:{started}", std::process::id()),
        }
    }

    pub(super) fn of_a_dead_owner() -> Self {
        let mut child = Command::new("true").spawn().unwrap();
        let owner = format!("{}:1", child.id());
        child.wait().unwrap();
        Self { owner, ..Self::of_a_living_owner() }
    }

    /// As options of an engine.
    fn options(&self) -> String {
        let Self { session, boot, pid_namespace, owner } = self;
        [("session", *session), ("boot", boot), ("pid-namespace", pid_namespace), ("owner", owner)]
            .map(|(name, value)| format!("--label cgrun.{name}={value}"))
            .join(" ")
    }
}

/// The words that start a container whose first process does nothing.
fn run(engine: &Engine, name: &str, labels: &Labels, options: &str, argv: &str) -> String {
    let labels = labels.options();
    let words = format!("run --detach --network none --name {name} {labels} {options} {IMAGE} {argv}");
    client(engine, &format!("{words} >/dev/null"))
}

const IDLE: &str = "tail -f /dev/null";
/// Exits at once when it is asked to.
const POLITE: &str = "sh -c 'trap \"exit 0\" TERM; echo ready; while :; do sleep 0.1; done'";

fn cgrun(engine: &Engine, arguments: &[&str]) -> Output {
    let mut command = Command::new(cgrun_program());
    command.args(arguments).current_dir(engine.host.path());
    output(command.env("XDG_STATE_HOME", engine.host.path()).env_remove("NEXTEST"))
}

/// Sweeps, and returns what was said and how long it took.
fn sweep(engine: &Engine, code: i32) -> (String, Duration) {
    let began = Instant::now();
    let swept = cgrun(engine, &["sweep"]);
    let (said, took) = (text(&swept.stderr), began.elapsed());
    assert_eq!(swept.status.code(), Some(code), "{said}");
    (said, took)
}

fn names(engine: &Engine, kind: &str) -> String {
    let words = format!("{kind} ls --format '{{{{.Name}}}}'");
    let listed = output(Command::new("sh").args(["-c", &client(engine, &words)]));
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    text(&listed.stdout)
}

fn until_ready(engine: &Engine, name: &str) {
    let logs = client(engine, &format!("logs {name}"));
    let said = || output(Command::new("sh").args(["-c", &logs])).stdout;
    until("it has a handler", || text(&said()).contains("ready"));
}

fn what_a_dead_owner_left_is_ended(kind: EngineKind) {
    let engine = engine(kind);
    let dead = Labels::of_a_dead_owner();
    for words in ["network create {} left-network", "volume create {} left-volume"] {
        let words = words.replace("{}", &dead.options());
        shell(&format!("{} >/dev/null", client(&engine, &words)));
    }
    shell(&run(&engine, "left", &dead, "--volume left-volume:/data --volume /anonymous", POLITE));
    // By its own signal: it would ignore another.
    let of_int = POLITE.replace("TERM", "INT");
    shell(&run(&engine, "of-int", &dead, "--stop-signal INT", &of_int));
    shell(&run(&engine, "again", &dead, "--restart always", POLITE));
    shell(&run(&engine, "stopped", &dead, "", "true"));
    ["left", "again", "of-int"].into_iter().for_each(|name| until_ready(&engine, name));
    until("it has stopped", || !engine.list().contains("stopped: Up"));
    let checked = cgrun(&engine, &["check", "--json"]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stderr));
    let found: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(found["stale_containers"].as_array().unwrap().len(), 6, "{found:#}");
    let planned = text(&cgrun(&engine, &["sweep", "--dry-run"]).stderr);
    assert!(planned.contains("would end ") && planned.contains("'s container left ("), "{planned}");
    assert!(engine.list().contains("left: Up"), "{}", engine.list());

    let (said, took) = sweep(&engine, 0);
    assert!(took < Duration::from_secs(5), "they exit when they are asked to: {took:?}");
    let whose = super::started::whose(kind);
    for it in [
        "container left",
        "container again",
        "container stopped",
        "network left-network",
        "volume left-volume",
    ] {
        assert!(said.contains(&format!("ended {whose} {it}")), "{said}");
    }
    assert!(said.contains("left behind by session bcdfghjk, whose cgrun process died"), "{said}");
    assert_eq!(engine.list(), "");
    assert_eq!(names(&engine, "volume"), "");
    assert!(!names(&engine, "network").contains("left"), "{}", names(&engine, "network"));
    let images = text(&output(Command::new("sh").args(["-c", &client(&engine, "images --quiet")])).stdout);
    assert_eq!(images.lines().count(), 1, "{images}");
    assert_eq!(sweep(&engine, 0).0, "");
    assert_eq!(cgrun(&engine, &["check"]).status.code(), Some(0));
}

/// Neither a stranger's, nor one of which another must judge.
fn what_is_not_left_is_left_alone(kind: EngineKind) {
    let engine = engine(kind);
    let (alive, dead) = (Labels::of_a_living_owner(), Labels::of_a_dead_owner());
    let stranger = format!("run --detach --network none --name stranger {IMAGE} {IDLE} >/dev/null");
    shell(&client(&engine, &stranger));
    shell(&run(&engine, "living", &alive, "", IDLE));
    shell(&run(&engine, "boot", &Labels { boot: "another".into(), ..dead.clone() }, "", IDLE));
    shell(&run(&engine, "namespace", &Labels { pid_namespace: "1".into(), ..dead.clone() }, "", IDLE));
    shell(&run(&engine, "nonsense", &Labels { owner: "x".into(), ..dead.clone() }, "", IDLE));
    shell(&run(&engine, "dead", &dead, "", POLITE));
    // An image that was made of a container keeps its labels, and its containers are anybody's.
    shell(&client(&engine, "commit dead saved >/dev/null 2>&1"));
    shell(&client(&engine, &format!("run --detach --network none --name of-image saved {IDLE} >/dev/null")));
    let (said, _) = sweep(&engine, 0);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("'s container dead ("), "{said}");
    let left = engine.list();
    for name in ["stranger", "living", "boot", "namespace", "nonsense", "of-image"] {
        assert!(left.contains(&format!("{name}: Up")), "{name}: {left}");
    }
    assert_eq!(left.lines().count(), 6, "{left}");
}

/// The first process of a container ignores SIGTERM if it has no handler.
fn what_ignores_its_stop_signal_is_killed_after_the_grace(kind: EngineKind) {
    let engine = engine(kind);
    shell(&run(&engine, "stubborn", &Labels::of_a_dead_owner(), "", IDLE));
    let (said, took) = sweep(&engine, 0);
    assert!(said.contains("'s container stubborn ("), "{said}");
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(14), "{took:?}");
    assert_eq!(engine.list(), "");
}

fn many_take_barely_longer_than_one(kind: EngineKind) {
    let engine = engine(kind);
    let dead = Labels::of_a_dead_owner();
    shell(&run(&engine, "one", &dead, "", IDLE));
    let (_, one) = sweep(&engine, 0);
    (0..30).for_each(|at| shell(&run(&engine, &format!("many-{at}"), &dead, "", IDLE)));
    let (said, many) = sweep(&engine, 0);
    eprintln!("{kind:?}: one container took {one:?}, thirty took {many:?}");
    assert!(said.lines().count() == 21 && said.contains("ended 10 more"), "{said}");
    assert_eq!(engine.list(), "");
    // One after another, they would take 30 graces of 5 s.
    assert!(many < one + Duration::from_secs(9), "one {one:?}, thirty {many:?}");
}

fn an_engine_that_hangs_is_bounded_and_not_called_clean(kind: EngineKind) {
    let engine = engine(kind);
    shell(&run(&engine, "left", &Labels::of_a_dead_owner(), "", IDLE));
    let daemon = Pid::from_raw(engine.daemon());
    kill(daemon, Signal::SIGSTOP).unwrap();
    let (said, took) = sweep(&engine, 122);
    kill(daemon, Signal::SIGCONT).unwrap();
    assert!(said.contains("cannot determine what sessions have left in "), "{said}");
    assert!(said.contains("it did not answer in time"), "{said}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert!(sweep(&engine, 0).0.contains("'s container left ("));
}

/// It is killed while a container is being stopped.
fn an_engine_that_dies_meanwhile_is_not_called_clean(kind: EngineKind) {
    let mut engine = engine(kind);
    let log = engine.host.path().join("said");
    let script = "trap \": >/seen/asked\" TERM; echo ready; while :; do sleep 0.1; done";
    let seen = engine.host.path().join("seen");
    std::fs::create_dir(&seen).unwrap();
    let volume = format!("--volume {}:/seen", seen.display());
    shell(&run(&engine, "left", &Labels::of_a_dead_owner(), &volume, &format!("sh -c '{script}'")));
    until_ready(&engine, "left");
    let mut command = Command::new(cgrun_program());
    command.arg("sweep").current_dir(engine.host.path()).env("XDG_STATE_HOME", engine.host.path());
    let mut sweep = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    until("the container was asked to exit", || seen.join("asked").exists());
    let began = Instant::now();
    engine.end_daemon();
    assert_eq!(sweep.wait().unwrap().code(), Some(122));
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("cannot determine what sessions have left in "), "{said}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

/// An engine that answers each request, by its method and path, with what `answer` says: a status and a body.
pub(super) fn fake_engine(
    host: &EngineHost,
    name: &str,
    answer: impl Fn(&str) -> (u16, String) + Send + 'static,
) -> PathBuf {
    let socket = host.path().join(name);
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = text(&request[..length]);
            let line = request.lines().next().unwrap_or_default().rsplit_once(' ').unwrap().0;
            let (status, body) = answer(line);
            let _ = write!(stream, "HTTP/1.0 {status} X\r\nContent-Type: application/json\r\n\r\n{body}");
        }
    });
    socket
}

/// What a sweep says of a fake engine, and how long it took.
fn sweep_fake(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> (String, Duration) {
    let host = EngineHost::enter();
    let socket = fake_engine(&host, "fake.sock", answer);
    let mut command = Command::new(cgrun_program());
    command.arg("sweep").current_dir(host.path()).env("XDG_STATE_HOME", host.path()).env_remove("NEXTEST");
    let began = Instant::now();
    let swept = output(command.env("DOCKER_HOST", format!("unix://{}", socket.display())));
    let (said, took) = (text(&swept.stderr), began.elapsed());
    assert_eq!(swept.status.code(), Some(122), "{said}");
    (said, took)
}

/// Lists one container, and nothing else.
fn listing(line: &str) -> Option<(u16, String)> {
    let container = || {
        let Labels { session, boot, pid_namespace, owner } = Labels::of_a_dead_owner();
        serde_json::json!([{
            "Id": "1234", "Names": ["/web"], "Image": "redis:7", "State": "running", "Created": 1,
            "Labels": {
                "cgrun.session": session, "cgrun.boot": boot,
                "cgrun.pid-namespace": pid_namespace, "cgrun.owner": owner,
            },
        }])
    };
    Some(match line {
        _ if line.starts_with("GET /containers/json") => (200, container().to_string()),
        _ if line.starts_with("GET /networks") => (200, "[]".into()),
        _ if line.starts_with("GET /volumes") => (200, "{\"Volumes\":null}".into()),
        _ if line.contains("/libpod/") => (404, "{}".into()),
        _ => return None,
    })
}

fn failed() -> (u16, String) {
    (500, "{\"message\":\"the disk is full\"}".into())
}

#[test]
fn an_engine_that_cannot_remove_leaves_a_survivor() {
    let (said, took) = sweep_fake(|line| listing(line).unwrap_or_else(failed));
    assert!(said.contains("cannot end Docker's container web (redis:7): the disk is full"), "{said}");
    assert!(!said.contains("ended"), "{said}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn an_engine_that_only_fails_is_not_called_clean() {
    let (said, took) = sweep_fake(|_| failed());
    assert!(said.contains("cannot determine what sessions have left in docker ("), "{said}");
    assert!(said.contains("it answers with HTTP 500 (the disk is full)"), "{said}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn an_engine_that_fails_at_the_last_look_is_not_called_clean() {
    let removed = AtomicBool::new(false);
    let (said, _) = sweep_fake(move |line| {
        if line.starts_with("DELETE") {
            removed.store(true, Ordering::Relaxed);
            return (204, String::new());
        }
        if removed.load(Ordering::Relaxed) { failed() } else { listing(line).unwrap_or((204, String::new())) }
    });
    assert!(said.contains("cannot determine what sessions have left in docker ("), "{said}");
    assert!(said.contains("ended Docker's container web"), "the engine has said so: {said}");
}

/// `docker run --rm` or a guardian can be at it too.
#[test]
fn a_removal_that_another_has_begun_is_waited_for() {
    let looked = AtomicU32::new(0);
    let host = EngineHost::enter();
    let socket = fake_engine(&host, "fake.sock", move |line| {
        let is_list = line.starts_with("GET /containers/json");
        if is_list && looked.fetch_add(1, Ordering::Relaxed) >= 4 {
            return (200, "[]".into());
        }
        let shared = "{\"message\":\"removal of container 1234 is already in progress\"}";
        listing(line).unwrap_or((409, shared.into()))
    });
    let mut command = Command::new(cgrun_program());
    command.arg("sweep").current_dir(host.path()).env("XDG_STATE_HOME", host.path()).env_remove("NEXTEST");
    let swept = output(command.env("DOCKER_HOST", format!("unix://{}", socket.display())));
    let said = text(&swept.stderr);
    assert_eq!(swept.status.code(), Some(0), "{said}");
    assert!(said.contains("ended Docker's container web"), "{said}");
}

with_both! {
    what_a_dead_owner_left_is_ended,
    what_is_not_left_is_left_alone,
    what_ignores_its_stop_signal_is_killed_after_the_grace,
    many_take_barely_longer_than_one,
    an_engine_that_hangs_is_bounded_and_not_called_clean,
    an_engine_that_dies_meanwhile_is_not_called_clean,
}
