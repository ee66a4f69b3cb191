//! A service that does not become ready in time says what it waits for.

use serde_json::Value;

use crate::fixtures::LONG;
use crate::harness::{Finished, Session, python_program};

const REPORTS: [&str; 6] = ["--report", "json=r.json", "--report", "junit=r.xml", "--report", "html=r.html"];

/// Holds a lock, and is ready.
const HOLDER: &str = "import fcntl, time\n\
    lock = open('lock', 'w')\n\
    fcntl.flock(lock, fcntl.LOCK_EX)\n\
    print('held', flush=True)\n\
    time.sleep(1000)";

/// A server that accepts connections and answers none.
const SILENT: &str = "import socket, time\n\
    server = socket.create_server(('127.0.0.1', 6379))\n\
    clients = []\n\
    while True: clients.append(server.accept())";

fn assert_explained(run: &Finished, verdict: &str) {
    run.assert_code(125).assert_said("cgrun:   look at pid ").assert_said(verdict);
    let report: Value = serde_json::from_str(&run.read("r.json")).unwrap();
    let why = report["why"].as_array().unwrap();
    assert!(why.last().is_some_and(|last| last.as_str().unwrap().contains(verdict)), "{why:?}");
    for other in ["r.xml", "r.html"] {
        assert!(run.read(other).contains(verdict), "{other}");
    }
    run.assert_nothing_left();
}

#[test]
fn a_service_that_hangs_at_the_lock_of_another_one_names_the_holder() {
    let app = "import fcntl\nlock = open('lock', 'w')\nfcntl.flock(lock, fcntl.LOCK_EX)\n\
        async def app(scope, receive, send): pass";
    let config = format!(
        "[services.holder]\ncommand = ['python3', 'holder.py']\nready = {{ log = 'held' }}\n\
         [services.bystander]\ncommand = ['sleep', '1001']\n\
         [services.web]\ncommand = ['{}', 'app:app', '--port', '8123']\nport = 8123\n\
         depends_on = ['holder', 'bystander']\nready = {{ timeout = '10s' }}\n",
        python_program("uvicorn")
    );
    let session = Session::new().file("app.py", app).file("holder.py", HOLDER).config(&config);
    let run = session.options(LONG).options(REPORTS).command(["true"]).run();
    run.assert_said("service web was not ready (port 8123) within 10 s: ")
        .assert_said("/lock, held by ")
        .assert_said("  its log ");
    assert!(!run.stderr().contains("sleep 1001"), "{}", run.stderr());
    assert_explained(&run, "(python3 holder.py), of service holder: it sleeps for 16 min");
}

#[test]
fn a_service_that_waits_for_a_server_without_an_answer_names_the_server() {
    let client = "import socket\nsocket.create_connection(('127.0.0.1', 6379)).recv(1)";
    let config = "[services.redis]\ncommand = ['python3', 'redis.py']\nready = { tcp = 6379 }\n\
        [services.web]\ncommand = ['python3', 'web.py']\ndepends_on = ['redis']\n\
        ready = { log = 'ready', timeout = '5s' }\n";
    let session = Session::new().file("redis.py", SILENT).file("web.py", client).config(config);
    let run = session.options(LONG).options(REPORTS).command(["true"]).run();
    run.assert_said("service web was not ready (").assert_said("reads from 127.0.0.1:6379, held by ");
    assert_explained(
        &run,
        "(python3 redis.py), of service redis: it waits for connections to 127.0.0.1:6379",
    );
}

#[test]
fn a_readiness_command_that_hangs_is_named() {
    let config = "[services.web]\ncommand = ['sleep', '1002']\n\
        ready = { command = ['sh', '-c', 'mkfifo answer; cat answer; :'], timeout = '3s' }\n";
    let run = Session::new().config(config).options(LONG).options(REPORTS).command(["true"]).run();
    assert_explained(&run, "(cat answer), of probe web: it opens the FIFO answer to read");
}
