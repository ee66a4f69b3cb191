//! `cgrun why` follows connections: to servers that do not answer, through network namespaces, and to other hosts.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Running, Session, python_program};
use crate::real_applications::postgres;
use crate::why::{end, explained, named, script, session};

/// Runs a Python program as the command.
fn python(text: &str) -> Session {
    session(&["python3", "-c", text])
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Creates a network in which nothing answers: no address belongs to the other end of this cable.
fn black_hole() {
    ip("link add near type veth peer name far");
    ip("address add 10.9.8.1/24 dev near");
    ip("link set near up");
    ip("link set far up");
    // Without this, the kernel would first ask where that host is, and soon find that there is none.
    ip("neighbour add 10.9.8.7 lladdr 02:00:00:00:00:01 dev near nud permanent");
}

/// Waits until `cgrun why` says in its last line that something has lasted for seconds.
fn explained_for_seconds(run: &Running, verdict: &[&str], before: &str) {
    let pattern = regex::Regex::new(&format!("{before} for [2-9] s")).unwrap();
    run.until(before, || explained(run, verdict, &[]).lines().any(|line| pattern.is_match(line)));
}

/// A service that reads a request, and hangs before it answers.
fn uvicorn(session: Session, hang: &str) -> Session {
    let program = python_program("python3");
    let app = format!("import asyncio, time\nasync def app(scope, receive, send): {hang}\n");
    session.file("app.py", app).config(&format!(
        "[services.web]\ncommand = ['{program}', '-m', 'uvicorn', 'app:app', '--port', '8000', '--lifespan', 'off']\n\
         port = 8000\nready = {{ tcp = 8000 }}\nstop_signal = 'SIGKILL'\n"
    ))
}

const GET: &str = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/')";

#[test]
fn why_names_the_server_that_accepted_and_sleeps() {
    let run = uvicorn(python(GET), "time.sleep(1000)").start();
    explained_for_seconds(
        &run,
        &["(python3 -m uvicorn app:app --port 8000", ", of service web: it sleeps for 16 min"],
        "nothing has come",
    );
    explained(&run, &[], &["reads from 127.0.0.1:8000, held by "]);
    end(run);
}

#[test]
fn why_names_the_server_whose_event_loop_does_not_answer() {
    let run = uvicorn(python(GET), "await asyncio.sleep(1000)").start();
    explained(
        &run,
        &[
            "(python3 -m uvicorn app:app --port 8000",
            ", of service web: it waits for events, such as a request from 127.0.0.1:",
        ],
        &[],
    );
    end(run);
}

#[test]
fn why_follows_a_server_to_the_host_that_does_not_answer_it() {
    let session = uvicorn(python(GET), "await asyncio.open_connection('10.9.8.7', 443)");
    black_hole();
    let run = session.start();
    let verdict =
        ["(python3 -m uvicorn app:app --port 8000", "among them an answer from 10.9.8.7:443; no answer"];
    explained_for_seconds(&run, &verdict, "no answer");
    end(run);
}

#[test]
fn why_follows_a_server_to_the_server_that_does_not_answer_it() {
    let hang = "reader, _ = await asyncio.open_connection('127.0.0.1', 8001); await reader.read(1)";
    let upstream = "import socket, time\n\
        listener = socket.create_server(('127.0.0.1', 8001))\n\
        client, _ = listener.accept()\n\
        time.sleep(1000)\n";
    let session = uvicorn(python(GET), hang).file("upstream.py", upstream);
    let config = std::fs::read_to_string(session.path().join("cgrun.toml")).unwrap();
    let service = "[services.upstream]\ncommand = ['python3', 'upstream.py']\nport = 8001\n";
    let run = session.config(&format!("{config}{service}")).start();
    explained(
        &run,
        &["(python3 upstream.py), of service upstream: it sleeps for 16 min"],
        &["waits for events, among them an answer from 127.0.0.1:8001, held by "],
    );
    end(run);
}

#[test]
fn why_names_a_server_that_does_not_read_the_request() {
    let server = "import socket, time\n\
        listener = socket.create_server(('127.0.0.1', 8000))\n\
        client, _ = listener.accept()\n\
        time.sleep(1000)\n";
    let config = "[services.web]\ncommand = ['python3', 'server.py']\nport = 8000\n";
    let text = "import socket\n\
        with socket.create_connection(('127.0.0.1', 8000)) as server:\n    \
            server.sendall(b'x' * 213)\n    \
            server.recv(1)\n";
    let run = python(text).file("server.py", server).config(config).start();
    explained(
        &run,
        &["(python3 server.py), of service web: it sleeps for 16 min"],
        &["reads from 127.0.0.1:8000, held by ", "; 213 bytes that it sent are not read"],
    );
    end(run);
}

#[test]
fn why_says_how_long_a_connect_gets_no_answer() {
    let session = python("import socket; socket.create_connection(('10.9.8.7', 443))");
    black_hole();
    let run = session.start();
    explained_for_seconds(&run, &["it connects to 10.9.8.7:443"], "connects to 10.9.8.7:443; no answer");
    end(run);
}

#[test]
fn why_takes_no_listener_on_all_addresses_for_a_host_that_does_not_answer() {
    let text = "import os, socket, time\n\
        listener = socket.create_server(('0.0.0.0', 443))\n\
        resolver = socket.socket(type=socket.SOCK_DGRAM)\n\
        resolver.bind(('0.0.0.0', 53))\n\
        if os.fork() == 0: time.sleep(1000)\n\
        listener.close(); resolver.close()\n\
        if os.fork() == 0: socket.create_connection(('10.9.8.7', 443))\n\
        client = socket.socket(type=socket.SOCK_DGRAM)\n\
        client.connect(('10.9.8.7', 53))\n\
        client.send(b'?')\n\
        client.recv(1)\n";
    let session = python(text);
    black_hole();
    let run = session.start();
    let verdict = "it waits for an answer from 10.9.8.7:53 (DNS over UDP), which is outside of this session";
    let said = explained(&run, &[verdict], &[") connects to 10.9.8.7:443"]);
    assert!(!said.contains("listens"), "{said}");
    end(run);
}

/// The server listens on all addresses, and the client connects to one that is not a loopback address.
#[test]
fn why_finds_a_listener_on_all_addresses_at_each_address_of_this_host() {
    let text = "import os, socket, time\n\
        listener = socket.create_server(('0.0.0.0', 8000), backlog=0)\n\
        if os.fork() == 0: time.sleep(1000)\n\
        listener.close()\n\
        clients = [socket.socket() for _ in range(3)]\n\
        for client in clients: client.connect(('10.9.8.1', 8000))";
    let session = python(text);
    black_hole();
    let run = session.start();
    explained(&run, &["it sleeps for 16 min"], &["connects to 10.9.8.1:8000, on which "]);
    end(run);
}

#[test]
fn why_says_that_an_event_loop_gets_no_answer() {
    let fetch = "fetch('http://10.9.8.7:443/')";
    let session = session(&["node", "-e", fetch]);
    black_hole();
    let run = session.start();
    explained_for_seconds(&run, &["10.9.8.7:443"], "10.9.8.7:443; no answer");
    end(run);
}

#[test]
fn why_names_the_listener_whose_backlog_is_full() {
    let server = "import socket, time\n\
        listener = socket.create_server(('127.0.0.1', 8000), backlog=0)\n\
        time.sleep(1000)\n";
    let config = "[services.web]\ncommand = ['python3', 'server.py']\nport = 8000\n";
    let text = "import socket\n\
        clients = [socket.socket() for _ in range(3)]\n\
        for client in clients: client.connect(('127.0.0.1', 8000))";
    let run = python(text).file("server.py", server).config(config).start();
    explained_for_seconds(
        &run,
        &["(python3 server.py), of service web: it sleeps"],
        r"connects to 127.0.0.1:8000, on which \d+ listens; no answer",
    );
    end(run);
}

#[test]
fn why_names_a_dns_server_that_does_not_answer() {
    let text = "import socket\n\
        socket.create_server(('127.0.0.1', 8000))\n\
        resolver = socket.socket(type=socket.SOCK_DGRAM)\n\
        resolver.connect(('10.9.8.7', 53))\n\
        resolver.send(b'?')\n\
        resolver.settimeout(1000)\n\
        resolver.recv(1)\n";
    let session = python(text);
    black_hole();
    let run = session.start();
    explained(
        &run,
        &["it waits for an answer from 10.9.8.7:53 (DNS over UDP), which is outside of this session"],
        &[],
    );
    end(run);
}

#[test]
fn why_names_the_process_behind_a_udp_port() {
    let server = "import socket, time\n\
        server = socket.socket(type=socket.SOCK_DGRAM)\n\
        server.bind(('127.0.0.1', 8125))\n\
        time.sleep(1000)\n";
    let config = "[services.dns]\ncommand = ['python3', 'server.py']\nport = '8125/udp'\n";
    let text = "import socket\n\
        client = socket.socket(type=socket.SOCK_DGRAM)\n\
        client.connect(('127.0.0.1', 8125))\n\
        client.send(b'?')\n\
        client.recv(1)\n";
    let run = python(text).file("server.py", server).config(config).start();
    explained(
        &run,
        &["(python3 server.py), of service dns: it sleeps for 16 min"],
        &["waits for an answer from 127.0.0.1:8125 (UDP), on which "],
    );
    end(run);
}

#[test]
fn why_names_the_grandchild_that_has_inherited_a_connection() {
    let server = "import os, socket, subprocess\n\
        listener = socket.create_server(('127.0.0.1', 8000))\n\
        while True:\n    \
            client, _ = listener.accept()\n    \
            if os.fork() == 0:\n        \
                client.set_inheritable(True)\n        \
                subprocess.Popen(['sleep', '911'], close_fds=False)\n        \
                os._exit(0)\n    \
            client.close()\n    \
            os.wait()\n";
    let config = "[services.web]\ncommand = ['python3', 'server.py']\nport = 8000\n";
    let text = "import socket; socket.create_connection(('127.0.0.1', 8000)).recv(1)";
    let run = python(text).file("server.py", server).config(config).start();
    explained(
        &run,
        &["(sleep 911), of service web: it sleeps for 15 min"],
        &["reads from 127.0.0.1:8000, held by "],
    );
    end(run);
}

#[test]
fn why_names_a_process_outside_of_the_session_that_does_not_answer() {
    let session = python("import socket; socket.create_connection(('127.0.0.1', 8000)).recv(1)");
    let listener = std::net::TcpListener::bind("127.0.0.1:8000").unwrap();
    let run = session.start();
    let (connection, _) = listener.accept().unwrap();
    let us = format!("held by {} (", std::process::id());
    explained(&run, &["it reads from 127.0.0.1:8000, ", &us, "), outside of this session"], &[]);
    drop((listener, connection));
    run.finish().assert_nothing_left();
}

#[test]
fn why_does_not_take_a_kept_connection_for_a_deadlock() {
    let server = "import socketserver, time\n\
        class Handler(socketserver.BaseRequestHandler):\n    \
            def handle(self):\n        \
                while self.request.recv(1) == b'k': self.request.send(b'.')\n        \
                time.sleep(1000)\n\
        socketserver.ThreadingTCPServer.allow_reuse_address = True\n\
        socketserver.ThreadingTCPServer(('127.0.0.1', 8000), Handler).serve_forever()\n";
    let config = "[services.web]\ncommand = ['python3', 'server.py']\nport = 8000\nready = { tcp = 8000 }\n";
    let text = "import socket\n\
        kept, other = [socket.create_connection(('127.0.0.1', 8000)) for _ in range(2)]\n\
        kept.send(b'k'); kept.recv(1)\n\
        other.send(b'o'); other.recv(1)\n";
    let run = python(text).file("server.py", server).config(config).start();
    explained(&run, &["look at pid ", "(python3 server.py), of service web: it ", "sleeps for 16 min"], &[]);
    end(run);
}

#[test]
fn why_finds_a_connection_within_another_network_namespace() {
    let program = "import os, socket, time\n\
        listener = socket.create_server(('127.0.0.1', 8000))\n\
        if os.fork() == 0:\n    \
            listener.close()\n    \
            socket.create_connection(('127.0.0.1', 8000)).recv(1)\n\
        client, _ = listener.accept()\n\
        os.set_inheritable(client.fileno(), True)\n\
        os.execvp('sleep', ['sleep', '912'])\n";
    let text = "unshare --net sh -c 'ip link set lo up; exec python3 both.py' & wait";
    let run = script(text).file("both.py", program).start();
    explained(&run, &["(sleep 912): it sleeps for 15 min"], &["reads from 127.0.0.1:8000, held by "]);
    end(run);
}

#[test]
fn why_follows_a_connection_into_another_network_namespace() {
    let server = "import os, socket\n\
        open('created', 'w').close()\n\
        while not os.path.exists('connected'): pass\n\
        listener = socket.create_server(('10.9.8.7', 8000))\n\
        open('listening', 'w').close()\n\
        client, _ = listener.accept()\n\
        os.set_inheritable(client.fileno(), True)\n\
        os.execvp('sleep', ['sleep', '914'])\n";
    let client = "import socket; socket.create_connection(('10.9.8.7', 8000)).recv(1)";
    let text = format!(
        "unshare --net python3 server.py & server=$!; until [ -e created ]; do :; done
         ip link add near type veth peer name far netns $server
         ip address add 10.9.8.1/24 dev near; ip link set near up
         nsenter --net=/proc/$server/ns/net sh -c 'ip address add 10.9.8.7/24 dev far; ip link set far up'
         touch connected; until [ -e listening ]; do :; done
         exec python3 -c \"{client}\""
    );
    let run = script(&text).file("server.py", server).start();
    explained(&run, &["(sleep 914): it sleeps for 15 min"], &["reads from 10.9.8.7:8000, held by "]);
    end(run);
}

#[test]
fn why_names_the_server_that_does_not_accept_a_connection_to_its_unix_socket() {
    let server = "import socket, time\n\
        listener = socket.socket(socket.AF_UNIX)\n\
        listener.bind('socket')\n\
        listener.listen()\n\
        print('ready', flush=True)\n\
        time.sleep(1000)\n";
    let config = "[services.web]\ncommand = ['python3', 'server.py']\nready = { log = 'ready' }\n";
    let text = "import socket\n\
        client = socket.socket(socket.AF_UNIX)\n\
        client.connect('socket')\n\
        client.recv(1)\n";
    let run = python(text).file("server.py", server).config(config).start();
    explained(
        &run,
        &["(python3 server.py), of service web: it sleeps for 16 min"],
        &["reads from a socket, whose other end is held by "],
    );
    end(run);
}

/// A transaction that holds the lock on a row, and what another one does until it can have it.
fn cups(script: &str) -> String {
    let in_transaction = "select count(*) from pg_stat_activity where state = 'idle in transaction'";
    format!(
        "psql -qAtc 'create table tea (cup int); insert into tea values (7)'; mkfifo never
         export CGRUN_TEST='cart holds'
         hold() {{ psql -q -c begin -c 'update tea set cup = 8' \"$@\"; }}
         held() {{ until [ \"$(psql -qAtc \"{in_transaction}\")\" = 1 ]; do :; done; }}
         {script}"
    )
}

fn follows_a_lock_to_the_client(session: Session) {
    let script = cups("(hold -f never &); held; CGRUN_TEST='cart waits' psql -qc 'update tea set cup = 9'");
    let run = named(session, &["sh", "-c", &script]).start();
    explained(
        &run,
        &["(psql -q -c begin -c update tea set cup = 8 -f n", "), started during cart holds: it "],
        &[
            "waits for a lock in the database, likely held by ",
            "is idle in a transaction, until the next statement from ",
        ],
    );
    end(run);
}

#[test]
fn why_follows_a_lock_of_postgres_to_the_client_that_holds_it() {
    follows_a_lock_to_the_client(postgres(""));
}

#[test]
fn why_follows_a_lock_of_postgres_through_unix_sockets() {
    let session = postgres("");
    let directory = session.path().join("data");
    follows_a_lock_to_the_client(session.env("PGHOST", directory));
}

#[test]
fn why_finds_a_test_that_waits_for_its_own_transaction() {
    let script = cups("hold -c '\\! psql -qc \"update tea set cup = 9\"'; :");
    let run = named(postgres(""), &["sh", "-c", &script]).start();
    explained(&run, &["wait for each other in a circle", "started during cart holds"], &["likely held by "]);
    end(run);
}

#[test]
fn why_names_a_stopped_vite_that_npm_test_waits_for() {
    let frontend = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/demo/frontend");
    assert!(frontend.join("node_modules/.bin/vite").exists(), "scripts/test installs Vite");
    let config = format!(
        "[services.frontend]\ncommand = ['npm', 'run', 'dev']\ncwd = '{}'\nport = 3000\n\
         ready = {{ http = 'http://127.0.0.1:3000/' }}\n",
        frontend.display()
    );
    let run = script("until [ -e stopped ]; do sleep 0.01; done; exec npm test")
        .config(&config)
        .file("package.json", r#"{ "scripts": { "test": "node test.js" } }"#)
        .file("test.js", "fetch('http://127.0.0.1:3000/main.js')")
        .start();
    run.until_file("id");
    let command = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let vite = run.members().into_iter().find(|pid| command(pid).contains(".bin/vite")).unwrap();
    kill(Pid::from_raw(vite), Signal::SIGSTOP).unwrap();
    std::fs::write(run.path().join("stopped"), "").unwrap();
    explained(
        &run,
        &[&format!("look at pid {vite} (node "), "), of service frontend: it is stopped"],
        &["(npm test)", "(node test.js)", "127.0.0.1:3000, on which "],
    );
    end(run);
}
