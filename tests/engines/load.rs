//! Much data, and many requests, through the socket of a session (`--containers`). `scripts/proxy-bench` measures with more.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{shell, text};
use super::recorder::Waiting;

const ENGINE: &str = "/run/docker.sock";
/// How many MiB are sent, and how many requests.
const SIZE: &str = "CGRUN_PROXY_BENCH_MIB";
const REQUESTS: &str = "CGRUN_PROXY_BENCH_REQUESTS";
/// How many KiB the proxy can need for everything.
const MEMORY: u64 = 16 << 10;

fn number(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |it| it.parse().unwrap())
}

/// The most memory that this process has ever had, in KiB.
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// How long this takes at the engine's own socket, and at the session's: the best of three, in turns.
fn compare(what: &str, session: &Waiting, mut once: impl FnMut(&Path)) -> [Duration; 2] {
    let mut best = [Duration::MAX; 2];
    for _ in 0..3 {
        for (best, socket) in best.iter_mut().zip([Path::new(ENGINE), &session.socket]) {
            let began = Instant::now();
            once(socket);
            *best = (*best).min(began.elapsed());
        }
    }
    println!("{what}: {best:?}, ratio {:.2}", best[0].as_secs_f64() / best[1].as_secs_f64());
    best
}

/// Runs Docker's command line with an engine; `{}` stands for it.
fn docker(socket: &Path, script: &str) {
    let docker = format!("docker --host unix://{}", socket.display());
    shell(&format!("set -eu; {}", script.replace("{}", &docker)));
}

#[test]
fn the_proxy_needs_the_same_memory_for_any_amount_of_data() {
    let engine = Engine::start(EngineKind::Docker);
    let session = Waiting::start(engine.host.path(), ENGINE);
    let (size, directory) = (u64::from(number(SIZE, 48)) << 20, engine.host.path().display());
    let before = peak(session.proxy());

    shell(&format!(
        "head -c {size} /dev/zero >{directory}/zeros && tar c -C {directory} zeros >{directory}/zeros.tar"
    ));
    compare("import", &session, |socket| {
        docker(socket, &format!("id=$({{}} import - <{directory}/zeros.tar); {{}} rmi $id >/dev/null"));
    });
    let line = "x".repeat(1000);
    let write =
        format!("run --network none --name box {IMAGE} sh -c 'busybox yes {line} | busybox head -c {size}'");
    docker(Path::new(ENGINE), &format!("{{}} {write} >/dev/null"));
    compare("logs", &session, |socket| {
        docker(socket, &format!("[ $({{}} logs box | wc -c) = {size} ]"));
    });
    let after = peak(session.proxy());
    println!("peak memory of the proxy: {before} KiB before, {after} KiB after");
    assert!(after - before < MEMORY, "{before} {after}");
}

#[test]
fn a_request_costs_little_more() {
    let engine = Engine::start(EngineKind::Docker);
    let session = Waiting::start(engine.host.path(), ENGINE);
    let requests = number(REQUESTS, 100);
    let [direct, through] = compare("GET /_ping", &session, |socket| {
        for _ in 0..requests {
            let (mut stream, mut answer) = (UnixStream::connect(socket).unwrap(), Vec::new());
            stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.ends_with(b"OK"), "{}", text(&answer));
        }
    });
    let overhead = through.saturating_sub(direct) / requests;
    println!("overhead of a request: {overhead:?}");
    // A busy machine can stall.
    assert!(overhead < Duration::from_millis(50), "{overhead:?}");
}
