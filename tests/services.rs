//! Services start in order, are ready only if they are ours, get what they need, and stop with the session.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::harness::{Finished, Session, Stranger, is_listening, until};

/// A session whose command leaves a file behind if it runs.
fn session() -> Session {
    Session::new().command(["touch", "ran"])
}

/// A service that runs `server.py`. `arguments` are separated by blanks, `keys` are more lines of TOML.
fn server(name: &str, arguments: &str, keys: &str) -> String {
    let mut words = vec!["python3", "{helpers}/server.py"];
    words.extend(arguments.split_whitespace());
    words.extend(["--name", name, "--journal", "../journal"]);
    format!("[services.{name}]\ncommand = {words:?}\ncwd = 'work'\n{keys}\n")
}

/// Writes the config and creates the working directory of the servers.
fn with(session: Session, config: &str) -> Session {
    session.config(config).file("work/here", "")
}

#[track_caller]
fn assert_ran(run: &Finished) {
    run.assert_code(0).assert_nothing_left();
    assert!(run.path().join("ran").exists());
}

#[track_caller]
fn assert_not_ran(run: &Finished) {
    run.assert_code(125).assert_nothing_left();
    assert!(!run.path().join("ran").exists(), "the command ran\n{}", run.stderr());
}

fn lines(run: &Finished) -> Vec<String> {
    run.read("journal").lines().map(str::to_string).collect()
}

/// The position of `line` in the journal.
#[track_caller]
fn at(journal: &[String], line: &str) -> usize {
    journal.iter().position(|it| it == line).unwrap_or_else(|| panic!("no {line} in {journal:?}"))
}

fn log_directories(root: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect()
}

mod startup_failure {
    use super::*;

    #[test]
    fn of_the_second_service_stops_the_first_gracefully() {
        let failing = "[services.second]\ncommand = ['sh', '-c', 'seq 30; echo no database >&2; exit 3']\n\
                       depends_on = ['first']\nready = { log = 'never' }\n";
        let run = with(session(), &(server("first", "8001", "port = 8001") + failing)).run();
        assert_not_ran(&run);
        run.assert_said("service second ended before it was ready: exit status 3");
        run.assert_said("second.log:").assert_said("  | no database\n").assert_said("  | 12\n");
        assert!(!run.stderr().contains("  | 11\n"), "more than the tail:\n{}", run.stderr());
        assert_eq!(lines(&run).last().unwrap(), "first SIGTERM");
        run.assert_faster_than(Duration::from_secs(10));
    }

    #[test]
    fn of_a_service_keeps_its_dependents_from_starting() {
        let run = Session::new().command(["touch", "ran"]);
        let mut program = std::fs::read("/bin/true").unwrap();
        let loader = program.windows(4).position(|bytes| bytes == b"/ld-").expect("the name of its loader");
        program[loader + 1] = b'x';
        let run = run
            .file("broken", program)
            .config("[services.a]\ncommand = ['./broken']\n[services.b]\ncommand = ['sleep', '1000']\n");
        std::fs::set_permissions(run.path().join("broken"), PermissionsExt::from_mode(0o755)).unwrap();
        let run = run.run();
        run.assert_code(125).assert_said("service a could not be started").assert_nothing_left();
        assert_eq!(run.log("a"), "");
        assert!(!run.log_path("b").exists());
    }

    #[test]
    fn includes_a_service_that_exits_0_before_it_is_ready() {
        let run = session().config("[services.web]\ncommand = ['true']\nport = 8001\n").run();
        assert_not_ran(&run);
        run.assert_said("service web ended before it was ready: exit status 0").assert_said("is empty");
    }

    #[test]
    fn includes_a_service_that_is_killed_while_it_starts() {
        let config = "[services.web]\ncommand = ['sh', '-c', 'kill -KILL $$']\nport = 8001\n";
        let run = session().config(config).run();
        assert_not_ran(&run);
        run.assert_said("service web ended before it was ready: killed by SIGKILL");
    }

    #[test]
    fn includes_a_port_that_never_listens() {
        let config = server("web", "8001 --when never", "port = 8001\nready = { timeout = '4s' }");
        let run = with(session(), &config).run();
        assert_not_ran(&run);
        run.assert_said("service web was not ready (port 8001) within 4 s: nothing listens on port 8001");
        run.assert_said("  | web starts");
    }

    #[test]
    fn includes_a_log_line_that_never_comes() {
        let config = server("web", "8001 --say almost", "ready = { log = '^ready', timeout = '1s' }");
        let run = with(session(), &config).run();
        assert_not_ran(&run);
        run.assert_said("was not ready (log line /^ready/) within 1 s: no line of its log matches");
    }

    #[test]
    fn includes_a_log_directory_that_cannot_be_created() {
        let run =
            session().config("[services.web]\ncommand = ['sleep', '1000']\n").options(["--logs", "/proc/x"]);
        let run = run.run();
        assert_not_ran(&run);
        run.assert_said("/proc/x").assert_said("choose another with --logs");
    }
}

mod a_stale_server_cannot_pass_for_ours {
    use super::*;

    #[test]
    fn if_the_port_is_taken_before_the_start() {
        let session = with(session(), &server("web", "8001", "port = 8001"));
        let stranger = Stranger::serve(session.path(), 8001, &[]);
        let run = session.run();
        run.assert_code(125);
        run.assert_said(&format!("port 8001 is taken by pid {} (", stranger.pid()));
        run.assert_said("server.py 8001, started ").assert_said(" ago by root); service web needs the port");
        run.assert_said("stop that process, or pass --reclaim-ports");
        drop(stranger);
        assert_not_ran(&run);
        assert!(!run.path().join("journal").exists(), "the service was started");
    }

    #[test]
    fn if_the_port_of_the_readiness_url_is_taken_before_the_start() {
        let keys = "ready = { http = 'http://127.0.0.1:8001/' }";
        let session = with(session(), &server("web", "8001", keys));
        let stranger = Stranger::serve(session.path(), 8001, &[]);
        let run = session.run();
        run.assert_code(125)
            .assert_said("port 8001 is taken by pid")
            .assert_said("service web needs the port");
        drop(stranger);
        assert_not_ran(&run);
    }

    /// A server outside the session, which listens as soon as the test tells it to.
    fn stranger(directory: &Path, address: &str) -> Stranger {
        let arguments = ["8001", "--address", address, "--when", "go", "--journal", "stranger"];
        let stranger = Stranger::start(directory, "server.py", &arguments);
        until("the stranger waits", || directory.join("stranger").exists());
        stranger
    }

    #[test]
    fn if_the_port_is_taken_after_the_preflight_check() {
        let config = "[services.web]\ncommand = ['sh', '-c', 'touch started; exec sleep 1000']\n\
                      ready = { http = 'http://127.0.0.1:8001', timeout = '3s' }\n";
        let session = session().config(config);
        let stranger = stranger(session.path(), "127.0.0.1");
        let running = session.start();
        running.until_file("started");
        std::fs::write(running.path().join("go"), "").unwrap();
        let run = running.finish();
        run.assert_code(125);
        run.assert_said("within 3 s: port 8001 is taken by pid").assert_said("outside this session");
        run.assert_said(&stranger.pid().to_string());
        drop(stranger);
        assert_not_ran(&run);
    }

    #[test]
    fn if_it_listens_at_another_address_of_the_same_port() {
        // The service listens only after the stranger does.
        let config =
            server("web", "8001 --when ../stranger-listens", "port = 8001\nready = { timeout = '6s' }");
        let session = with(session(), &config);
        let stranger = stranger(session.path(), "127.0.0.2");
        let running = session.start();
        running.until_file("journal");
        std::fs::write(running.path().join("go"), "").unwrap();
        running.until("the stranger listens", || is_listening(8001));
        std::fs::write(running.path().join("stranger-listens"), "").unwrap();
        let run = running.finish();
        run.assert_code(125).assert_said("outside this session");
        assert!(lines(&run).contains(&"web listens".to_string()), "ours never listened");
        drop(stranger);
        assert_not_ran(&run);
    }
}

mod readiness {
    use super::*;

    #[test]
    fn by_http_waits_for_a_good_status() {
        for answers in ["200", "302", "500,404,200"] {
            let config = server(
                "web",
                &format!("8001 --answers {answers}"),
                "port = 8001\nready = { http = 'http://127.0.0.1:8001/health?x=1' }",
            );
            let run = with(session(), &config).run();
            assert_ran(&run);
            let asked = lines(&run).iter().filter(|line| *line == "web asked").count();
            assert_eq!(asked, answers.split(',').count());
        }
    }

    #[test]
    fn by_http_works_with_a_port_that_only_the_url_names() {
        let keys = "ready = { http = 'http://127.0.0.1:8001', timeout = '20s' }";
        assert_ran(&with(session(), &server("web", "8001", keys)).run());
    }

    #[test]
    fn by_http_tries_every_address_of_localhost() {
        for address in ["127.0.0.1", "::1", "0.0.0.0", "::", ":: --v6-only", "127.0.0.2"] {
            let keys = "ready = { http = 'http://localhost:8001', timeout = '20s' }";
            assert_ran(&with(session(), &server("web", &format!("8001 --address {address}"), keys)).run());
        }
    }

    #[test]
    fn by_http_fails_if_the_status_never_becomes_good() {
        let config = server(
            "web",
            "8001 --answers 503",
            "ready = { http = 'http://127.0.0.1:8001/x', timeout = '4s' }",
        );
        let run = with(session(), &config).run();
        assert_not_ran(&run);
        run.assert_said(
            "service web was not ready (http://127.0.0.1:8001/x) within 4 s: it answers with HTTP 503",
        );
    }

    #[test]
    fn by_http_fails_without_a_response() {
        let config = server(
            "web",
            "8001 --answers none",
            "ready = { http = 'http://127.0.0.1:8001', timeout = '4s' }",
        );
        let run = with(session(), &config).run();
        assert_not_ran(&run);
        run.assert_said("was not ready (http://127.0.0.1:8001/) within 4 s: it has not answered");
        run.assert_faster_than(Duration::from_secs(15));
    }

    #[test]
    fn by_http_fails_if_the_response_is_garbage() {
        let config = server(
            "web",
            "8001 --answers garbage",
            "ready = { http = 'http://127.0.0.1:8001', timeout = '4s' }",
        );
        let run = with(session(), &config).run();
        assert_not_ran(&run);
        run.assert_said("within 4 s: its answer is not HTTP");
    }

    #[test]
    fn by_tcp_waits_for_a_connection() {
        assert_ran(&with(session(), &server("web", "8001", "ready = { tcp = 8001, timeout = '20s' }")).run());
        assert_ran(&with(session(), &server("web", "8001", "port = 8001")).run());
    }

    #[test]
    fn by_log_waits_for_a_line() {
        for pieces in ["ready:8001\\n", "rea dy: 80 01\\n", "x\\nready:8 001\\ny\\n", "ready:8001"] {
            let config = server(
                "web",
                &format!("8001 --say {pieces}"),
                "ready = { log = '^ready:\\d+$', timeout = '20s' }",
            );
            assert_ran(&with(session(), &config).run());
        }
    }

    #[test]
    fn by_log_reads_on_after_the_log_was_truncated() {
        // A shell truncates the file that it opens. The pause lets cgrun read the first line.
        let config = r#"[services.web]
command = ['sh', '-c', 'echo this takes a while, it is not ready yet; sleep 0.5; echo ready >/dev/stderr; exec sleep 900']
ready = { log = '^ready$', timeout = '20s' }
"#;
        assert_ran(&session().config(config).run());
    }

    /// A service that answers with these bytes at this address.
    fn answering(address: &str, answers: &[&str], url: &str, timeout: &str) -> Session {
        let mut words = vec!["python3", "{helpers}/answers.py", "8001", address];
        words.extend(answers);
        let config = format!(
            "[services.web]\ncommand = {words:?}\nport = 8001\nready = {{ http = '{url}', timeout = '{timeout}' }}\n"
        );
        Session::again().command(["touch", "ran"]).config(&config)
    }

    const URL: &str = "http://127.0.0.1:8001/";

    #[test]
    fn by_http_accepts_any_http() {
        Session::new();
        for answer in [
            r"HTTP/1.0 200 OK\r\n\r\nbody",
            r"HTTP/1.1 200\r\n\r\n",
            r"HTTP/1.1 200 OK\n\n",
            r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            r"HTTP/1.1 301 Moved\r\nLocation: http://example.org/\r\n\r\n",
            r"HT|TP/1|.1 20|0 O|K\r|\n\r\n",
            r"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            r"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r|\n|HTTP/1.1 103 Early Hints\r\n\r\n|HTTP/1.1 204 No\r\n\r\n",
        ] {
            assert_ran(&answering("127.0.0.1", &[answer], URL, "20s").run());
        }
    }

    #[test]
    fn by_http_names_what_is_not_good_enough() {
        Session::new();
        for (answer, why) in [
            (r"HTTP/1.1 401 Unauthorized\r\n\r\n", "it answers with HTTP 401"),
            (r"HTTP/1.1 101 Switching Protocols\r\n\r\n", "it answers with HTTP 101"),
            (r"HTTP/1.1 103 Early Hints\r\n\r\n", "it closed the connection without an answer"),
            (r"\x15\x03\x01\x00\x02\x02\x46", "it answers with TLS; write https:// in the URL"),
            (r"\x00\x00\x12\x04\x00", "its answer is not HTTP"),
        ] {
            let run = answering("127.0.0.1", &[answer], URL, "2s").run();
            assert_not_ran(&run);
            run.assert_said(why);
            assert!(!run.stderr().contains("TIME_WAIT"), "{}", run.stderr());
        }
    }

    #[test]
    fn by_http_is_patient_with_a_server_that_takes_long() {
        Session::new();
        let slow = r"sleep:7:HTTP/1.1 200 OK\r\n\r\n";
        assert_ran(&answering("127.0.0.1", &[slow], URL, "40s").run());
    }

    #[test]
    fn by_http_names_the_address_that_the_service_listens_on_instead() {
        Session::new();
        let run = answering("::1", &[r"HTTP/1.1 200 OK\r\n\r\n"], URL, "2s").run();
        assert_not_ran(&run);
        run.assert_said("Connection refused; it listens on [::1]:8001: write localhost in the URL");
    }

    /// It closes its port while a request waits for the answer, like a server that restarts.
    #[test]
    fn by_http_uses_no_cpu_while_nothing_listens() {
        let server = r#"
import socket, time
listener = socket.create_server(("127.0.0.1", 8001))
connection, _ = listener.accept()
connection.recv(4096)
listener.close()
connection.close()
time.sleep(900)
"#;
        let config = "[services.web]\ncommand = ['python3', 'server.py']\n\
            ready = { http = 'http://127.0.0.1:8001/', timeout = '4s' }\n";
        let run = session().file("server.py", server).config(config).run();
        assert_not_ran(&run);
        run.assert_said("nothing listens on port 8001");
        let used = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let used = [used.user_time(), used.system_time()].map(|it| it.num_milliseconds());
        assert!(used.iter().sum::<i64>() < 1000, "{used:?} ms");
    }

    #[test]
    fn names_the_port_that_the_service_listens_on_instead() {
        let run = with(session(), &server("web", "8002", "port = 8001\nready = { timeout = '2s' }")).run();
        assert_not_ran(&run);
        run.assert_said("nothing listens on port 8001; the session listens on 127.0.0.1:8002 instead");
    }

    #[test]
    fn by_log_reads_past_what_is_not_utf_8() {
        let config = r#"[services.web]
command = ['sh', '-c', 'head -c 300000 /dev/urandom; printf "\n\377ready \376 now\n"; exec sleep 900']
ready = { log = 'ready . now$', timeout = '20s' }
"#;
        assert_ran(&session().config(config).run());
    }

    #[test]
    fn by_log_does_not_see_colours() {
        for line in [
            "ready in \\033[1m291\\033[22m ms\\n",
            "\\033[32m\\033[1mready\\033[0m in 7 ms\\r\\n",
            "\\033[2Kready in 7 ms",
            "10%%\\r100%%\\rready in 7 ms\\n",
        ] {
            let config = format!(
                "[services.web]\ncommand = ['sh', '-c', 'printf \"{line}\"; exec sleep 900']\n\
                ready = {{ log = '^ready in \\d+ ms$', timeout = '20s' }}\n"
            );
            assert_ran(&session().config(&config).run());
        }
        let config = "[services.web]\ncommand = ['sh', '-c', 'printf \"\\033[1mup\\n\"; exec sleep 900']\n\
            ready = { log = '\\x1b\\[1mup', timeout = '20s' }\n";
        assert_ran(&session().config(config).run());
    }

    #[test]
    fn by_log_names_the_buffer_of_the_program_if_the_log_is_empty() {
        let python = "import time; print(\"ready\"); time.sleep(900)";
        let plain = || Session::again().command(["touch", "ran"]).env("PYTHONUNBUFFERED", "");
        Session::new();
        let config = |program: &str| {
            format!("[services.web]\ncommand = {program}\nready = {{ log = 'ready', timeout = '1s' }}\n")
        };
        let run = plain().config(&config(&format!("['python3', '-c', '{python}']"))).run();
        assert_not_ran(&run);
        run.assert_said("is empty\ncgrun:   hint: Python buffers its output")
            .assert_said("PYTHONUNBUFFERED = \"1\"");
        let script = format!("#!/usr/bin/env python3\n{python}\n");
        let session = plain().file("serve", script).config(&config("['./serve']"));
        std::fs::set_permissions(session.path().join("serve"), PermissionsExt::from_mode(0o755)).unwrap();
        session.run().assert_said("hint: Python buffers its output");
        let unbuffered =
            config(&format!("['python3', '-c', '{python}']")) + "env = { PYTHONUNBUFFERED = '1' }\n";
        assert_ran(&plain().config(&unbuffered).run());
        let run = plain().config(&config("['sleep', '900']")).run();
        run.assert_said("hint: many programs buffer their output").assert_said("stdbuf -oL");
    }

    /// Answers over TLS, with a self-signed certificate, and with each of these statuses in turn.
    const TLS_SERVER: &str = r#"
import http.server, os, ssl, subprocess, sys, time
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
    "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"], check=True, capture_output=True)
statuses = [int(status) for status in sys.argv[1:]]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("asked", "a") as journal:
            journal.write(self.path + "\n")
        time.sleep(float(os.environ.get("SECONDS", 0)))
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

    fn over_tls(statuses: &str, timeout: &str) -> Session {
        let config = format!(
            "[services.web]\ncommand = ['python3', 'tls.py', {statuses}]\nport = 8443\n\
             ready = {{ http = 'https://localhost:8443/health', timeout = '{timeout}' }}\n"
        );
        session().file("tls.py", TLS_SERVER).config(&config)
    }

    #[test]
    fn by_https_waits_for_a_good_status_and_takes_any_certificate() {
        let run = over_tls("'503', '404', '302'", "20s").env("https_proxy", "http://127.0.0.1:9").run();
        assert_ran(&run);
        assert_eq!(run.read("asked"), "/health\n".repeat(3));
    }

    #[test]
    fn by_https_is_patient_with_a_slow_server() {
        assert_ran(&over_tls("'200'", "40s").env("SECONDS", "7").run());
    }

    #[test]
    fn by_https_asks_for_the_url_as_it_is() {
        let session = over_tls("'200'", "20s");
        let path = session.path().join("cgrun.toml");
        let config = std::fs::read_to_string(&path).unwrap().replace("/health", "/?ids=[1-3]&names={a,b}");
        std::fs::write(path, config).unwrap();
        let run = session.run();
        assert_ran(&run);
        assert_eq!(run.read("asked"), "/?ids=[1-3]&names={a,b}\n");
    }

    #[test]
    fn by_https_fails_if_the_status_never_becomes_good() {
        let run = over_tls("'503'", "4s").run();
        assert_not_ran(&run);
        run.assert_said("service web was not ready (https://localhost:8443/health) within 4 s: its readiness command failed");
        run.assert_said("  | curl: (22) The requested URL returned error: 503");
    }

    #[test]
    fn by_https_needs_curl() {
        let run = over_tls("'200'", "4s")
            .start_through(&[
                "sh",
                "-c",
                "mkdir bin; ln -s $(command -v python3) bin; PATH=$PWD/bin exec \"$CGRUN\" \"$@\"",
                "sh",
            ])
            .finish();
        assert_not_ran(&run);
        run.assert_said("service web, its readiness command: curl: command not found");
    }

    #[test]
    fn by_command_repeats_the_command_until_it_passes() {
        let ask = "echo asked >>asked; [ $(wc -l <asked) -ge 3 ]";
        let keys = format!("ready = {{ command = ['sh', '-c', '{ask}'], timeout = '20s' }}");
        let run = with(session(), &server("web", "8001", &keys)).run();
        assert_ran(&run);
        assert_eq!(run.read("work/asked").lines().count(), 3);
    }

    #[test]
    fn by_command_fails_if_the_command_hangs() {
        let keys = "ready = { command = ['sleep', '1000'], timeout = '300ms' }";
        let run = with(session(), &server("web", "8001", keys)).run();
        assert_not_ran(&run);
        run.assert_said(
            "service web was not ready (sleep 1000) within 0.3 s: its readiness command is still running",
        );
        run.assert_faster_than(Duration::from_secs(15));
    }

    #[test]
    fn by_command_fails_if_the_command_never_passes() {
        let keys = "ready = { command = ['sh', '-c', 'exit 7'], timeout = '1s' }";
        let run = with(session(), &server("web", "8001", keys)).run();
        assert_not_ran(&run);
        run.assert_said("within 1 s: its readiness command failed: exit status 7");
    }

    #[test]
    fn needs_the_port_to_be_ours_whatever_the_probe_says() {
        let keys = "port = 8002\nready = { tcp = 8001, timeout = '4s' }";
        let run = with(session(), &server("web", "8001", keys)).run();
        assert_not_ran(&run);
        run.assert_said("nothing listens on port 8002");
    }
}

mod order {
    use super::*;

    #[test]
    fn independent_services_start_in_parallel() {
        // Each becomes ready only when the other runs.
        let meet = |us: &str, other: &str| {
            let script =
                format!("touch {us}; until [ -e {other} ]; do sleep 0.01; done; echo ready; sleep 1000");
            format!(
                "[services.{us}]\ncommand = ['sh', '-c', '{script}']\nready = {{ log = 'ready', timeout = '20s' }}\n"
            )
        };
        assert_ran(&session().config(&(meet("a", "b") + &meet("b", "a"))).run());
    }

    #[test]
    fn dependencies_start_first_and_stop_last() {
        let config = [
            server("a", "8001", "port = 8001\ndepends_on = ['b']"),
            server("b", "8002", "port = 8002\ndepends_on = ['c']"),
            server("c", "8003", "port = 8003"),
        ];
        let run = with(session(), &config.concat()).run();
        assert_ran(&run);
        assert_eq!(
            lines(&run),
            [
                "c started",
                "c listens",
                "b started",
                "b listens",
                "a started",
                "a listens",
                "a SIGTERM",
                "b SIGTERM",
                "c SIGTERM"
            ]
        );
    }

    #[test]
    fn services_stop_only_after_the_command() {
        let config = server("web", "8001", "port = 8001");
        let script =
            "trap 'echo command ends >>journal; exit 0' TERM; touch running; while :; do sleep 0.01; done";
        let running = with(Session::new().sh(script), &config).start();
        running.until_file("running").signal(nix::sys::signal::Signal::SIGTERM);
        let run = running.finish();
        run.assert_nothing_left();
        let journal = lines(&run);
        assert!(at(&journal, "command ends") < at(&journal, "web SIGTERM"), "{journal:?}");
    }
}

mod surroundings {
    use super::*;

    #[test]
    fn include_environment_and_working_directory() {
        let config = "[services.web]\ncommand = ['sh', '-c', 'echo $PWD $A $B $CGRUN_SESSION >out; echo ready; sleep 1000']\n\
                      cwd = 'sub/dir'\nenv = { A = 'x=1', B = 'é' }\nready = { log = 'ready', timeout = '20s' }\n";
        let run = Session::new().file("sub/dir/x", "").config(config).env("A", "overridden");
        let run = run.sh("echo $CGRUN_SESSION $A >ran").run();
        assert_ran(&run);
        let (service, command) = (run.read("sub/dir/out"), run.read("ran"));
        let id = command.split(' ').next().unwrap();
        assert_eq!(command, format!("{id} overridden\n"));
        assert_eq!(service, format!("{} x=1 é {id}\n", run.path().join("sub/dir").display()));
    }

    #[test]
    fn include_the_name_of_the_working_directory_without_a_shell() {
        let config = "[services.web]\ncommand = ['env']\ncwd = 'sub'\ncritical = false\nready = { log = '^PWD=.*/sub$' }\n";
        let run = session().file("sub/here", "").config(config).env("PWD", "/elsewhere").run();
        assert!(
            run.log("web").contains(&format!("PWD={}/sub\n", run.path().display())),
            "{}",
            run.log("web")
        );
    }

    #[test]
    fn resolve_a_relative_program_in_the_working_directory() {
        let config = "[services.web]\ncommand = ['./serve']\ncwd = 'sub'\nready = { log = 'ready', timeout = '20s' }\n";
        let session = session().file("sub/serve", "#!/bin/sh\necho ready\nexec sleep 1000\n").config(config);
        let script = session.path().join("sub/serve");
        std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_ran(&session.run());
    }

    #[test]
    fn include_no_terminal_and_an_input_at_its_end_if_asked_for() {
        let script = "readlink /proc/self/fd/0; ps -o sid= -p $$; echo $$; cat; (: </dev/tty) 2>&1 || echo no terminal; echo ready; sleep 1000";
        let config = format!(
            "[services.web]\ncommand = ['sh', '-c', '{script}']\nready = {{ log = 'ready', timeout = '20s' }}\nstdin = 'null'\n"
        );
        let run = session().config(&config).run();
        assert_ran(&run);
        let log = run.log("web");
        let said: Vec<_> = log.lines().map(str::trim).collect();
        assert_eq!(said[0], "/dev/null", "{log}");
        assert_eq!(said[1], said[2], "it leads a session of its own: {log}");
        assert!(said.contains(&"no terminal"), "{log}");
    }
}

mod a_socket_passed_to_cgrun {
    use super::*;

    const CHECK: &str = "echo $LISTEN_FDS $LISTEN_FDNAMES ${LISTEN_PIDFDID-none}; [ $LISTEN_PID = $$ ] && echo mine; \
        readlink /proc/self/fd/3 | sed 's/:.*//'";

    #[test]
    fn belongs_to_the_command() {
        for options in [&["--require", "cgroup"][..], &["--require", "cgroup+pidns"]] {
            let run = Session::new().options(options).sh(CHECK).start_launched(&["with-socket"]).finish();
            run.assert_code(0).assert_nothing_left();
            assert_eq!(run.stdout(), "1 web none\nmine\nsocket\n");
        }
    }

    #[test]
    fn does_not_belong_to_a_service() {
        let config = "[services.web]\nready = { log = 'up' }\nenv = { LISTEN_PORT = '1' }\n\
            command = ['sh', '-c', 'env | grep ^LISTEN_; echo up; exec sleep 900']\n";
        let run = Session::new().config(config).sh(CHECK).start_launched(&["with-socket"]).finish();
        run.assert_code(0).assert_nothing_left();
        assert_eq!(run.log("web"), "LISTEN_PORT=1\nup\n");
    }

    #[test]
    fn of_another_process_is_left_to_it() {
        let session =
            Session::new().env("LISTEN_PID", "1").env("LISTEN_FDS", "1").sh("echo $LISTEN_PID $LISTEN_FDS");
        let run = session.run();
        run.assert_code(0).assert_nothing_left();
        assert_eq!(run.stdout(), "1 1\n");
    }
}

mod standard_input {
    use super::*;

    /// A service that notes what it reads, and the end of its input.
    const READER: &str = "[services.web]\ncommand = ['sh', '-c', 'echo ready; cat >>read; echo ended >>read; exec sleep 900']\n\
        ready = { log = 'ready' }\n";

    #[test]
    fn of_a_service_neither_yields_nor_ends() {
        let run = session()
            .config(READER)
            .sh("touch ran; for i in $(seq 50); do [ -s read ] && exit 3; sleep 0.01; done")
            .run();
        assert_ran(&run);
        assert_eq!(run.read("read"), "", "before the service was stopped");
    }

    #[test]
    fn of_a_service_can_end_at_once() {
        let config = format!("{READER}stdin = 'null'\n");
        let run = session().config(&config).sh("touch ran; until [ -s read ]; do sleep 0.01; done").run();
        assert_ran(&run);
        assert_eq!(run.read("read"), "ended\n");
    }

    #[test]
    fn of_a_service_ends_with_cgrun() {
        use nix::sys::signal::{Signal, kill};
        let running = session().config(READER).sh("touch up; exec sleep 900").start();
        running.until_file("up");
        // Otherwise it would kill the service before that could note the end.
        let guardian = running.guardian().unwrap();
        kill(guardian, Signal::SIGSTOP).unwrap();
        running.signal(Signal::SIGKILL);
        running
            .until("the input ends", || running.path().join("read").metadata().is_ok_and(|it| it.len() > 0));
        assert_eq!(std::fs::read_to_string(running.path().join("read")).unwrap(), "ended\n");
        kill(guardian, Signal::SIGCONT).unwrap();
        running.finish().assert_nothing_left();
    }

    #[test]
    fn is_separate_for_each_service() {
        let other = "[services.other]\ncommand = ['python3', '-c', 'import os; os.set_blocking(0, False); print(\"set\", flush=True); os.execvp(\"sleep\", [\"sleep\", \"900\"])']\n\
            ready = { log = 'set' }\n";
        let reader = format!("{READER}depends_on = ['other']\n");
        let run = session()
            .config(&(other.to_string() + &reader))
            .sh("touch ran; for i in $(seq 30); do [ -s read ] && exit 3; sleep 0.01; done")
            .run();
        assert_ran(&run);
    }
}

mod stop {
    use super::*;

    #[test]
    fn stops_a_service_that_daemonized() {
        let config = server("web", "8001 --daemon", "port = 8001");
        let run = with(session(), &config).run();
        assert_ran(&run);
        assert_eq!(lines(&run), ["web started", "web listens", "web SIGTERM"]);
        assert!(!run.stderr().contains("leaked"), "{}", run.stderr());
    }

    #[test]
    fn sends_the_configured_signal() {
        let run =
            with(session(), &server("web", "8001 --ignore SIGTERM", "port = 8001\nstop_signal = 'INT'"))
                .run();
        assert_ran(&run);
        assert_eq!(lines(&run).last().unwrap(), "web SIGINT");
        assert!(!run.stderr().contains("leaked"), "{}", run.stderr());
    }

    #[test]
    fn kills_and_names_a_service_that_outlives_its_grace() {
        let config = server("web", "8001 --ignore SIGTERM", "port = 8001\ngrace = '300ms'");
        let run = with(session(), &config).options(["--grace", "60s"]).run();
        assert_ran(&run);
        run.assert_said("leaked 1 process").assert_said("server.py 8001");
        run.assert_said("service web did not stop it within its grace");
        run.assert_faster_than(Duration::from_secs(20));
    }

    #[test]
    fn counts_a_killed_service_as_a_leak() {
        let config = server("web", "8001 --ignore SIGTERM", "port = 8001\ngrace = '100ms'");
        let run = with(session(), &config).options(["--on-leak", "fail"]).run();
        run.assert_code(121).assert_nothing_left();
    }

    #[test]
    fn cleans_up_after_a_readiness_command() {
        let ask = r#"trap "" TERM; sleep 900 & [ -e asked ] || { touch asked; exit 1; }"#;
        let keys = format!("ready = {{ command = ['sh', '-c', '{ask}'] }}");
        let run = with(session(), &server("web", "8001", &keys)).options(["--grace", "300ms"]).run();
        assert_ran(&run);
        run.assert_said("leaked 2 processes").assert_said("(sleep 900)");
        run.assert_said("it belongs to the readiness command of service web");
    }

    #[test]
    fn of_a_critical_service_during_the_tests_ends_the_session() {
        let config = "[services.web]\ncommand = ['sh', '-c', 'echo ready; until [ -e go ]; do sleep 0.01; done; exit 4']\n\
                      ready = { log = 'ready', timeout = '20s' }\n";
        let run = Session::new().config(config).sh("touch go; sleep 1000").run();
        run.assert_code(125).assert_nothing_left();
        run.assert_said(
            "service web ended: exit status 4; it must outlive the command, unless it has `critical = false`",
        );
    }

    #[test]
    fn of_another_service_during_the_tests_is_mentioned() {
        let config = "[services.web]\ncommand = ['sh', '-c', 'echo ready; until [ -e go ]; do sleep 0.01; done; exit 4']\n\
                      ready = { log = 'ready', timeout = '20s' }\ncritical = false\n";
        let running = Session::new()
            .config(config)
            .sh("touch go; until [ -e end ]; do sleep 0.01; done; touch ran")
            .start();
        running.until_said("service web ended: exit status 4; it is not critical");
        std::fs::write(running.path().join("end"), "").unwrap();
        assert_ran(&running.finish());
    }
}

mod what_is_said {
    use super::*;

    fn two() -> Session {
        let config = server("a", "8001", "port = 8001") + &server("b", "8002", "port = 8002");
        with(session(), &config)
    }

    #[test]
    fn is_one_line_per_service_without_a_terminal() {
        let run = two().run();
        assert_ran(&run);
        let said = run.stderr();
        let mut said: Vec<_> = said.lines().collect();
        said.sort();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("cgrun: a is ready after "), "{said:?}");
        assert!(said[1].starts_with("cgrun: b is ready after "), "{said:?}");
        assert!(!run.stderr().contains(['\r', '\x1b']));
    }

    #[test]
    fn is_nothing_when_quiet() {
        let run = two().options(["-q"]).run();
        assert_ran(&run);
        run.assert_silent();
    }

    #[test]
    fn includes_errors_even_when_quiet() {
        let config = "[services.web]\ncommand = ['sh', '-c', 'echo broken; exit 3']\nport = 8001\n";
        let run = session().config(config).options(["-q"]).run();
        assert_not_ran(&run);
        run.assert_said("service web ended before it was ready: exit status 3").assert_said("  | broken");
    }

    #[test]
    fn includes_a_summary_when_verbose() {
        let run = two().options(["-v"]).run();
        assert_ran(&run);
        run.assert_said("a is ready after")
            .assert_said("clean: layer 1 (normal exit), contained by a cgroup, took ");
    }

    #[test]
    fn leaves_the_output_of_services_out_of_that_of_the_command() {
        let run = two().run();
        assert_ran(&run);
        assert_eq!(run.stdout(), "");
        assert_eq!(run.log("a"), "a starts\nending\n");
    }

    #[test]
    fn shows_control_characters_of_a_log_as_text() {
        let config = "[services.web]\ncommand = ['printf', '\\033[2Jbroken\\377\\n']\nport = 8001\n";
        let run = session().config(config).run();
        assert_not_ran(&run);
        run.assert_said("  | \\u{1b}[2Jbroken\u{fffd}");
    }
}

mod logs {
    use super::*;

    const SERVICES: &str = "[services.a]\ncommand = ['sh', '-c', 'echo from a; echo ready; sleep 1000']\n\
        ready = { log = 'ready', timeout = '20s' }\n\
        [services.b]\ncommand = ['sh', '-c', 'echo from b >&2; echo ready; sleep 1000']\n\
        ready = { log = 'ready', timeout = '20s' }\n";

    #[test]
    fn are_one_file_per_service_and_run() {
        let run = Session::new().config(SERVICES).sh("\"$CGRUN\" -c nothing.toml true && touch ran");
        let run = run.file("nothing.toml", SERVICES).run();
        assert_ran(&run);
        let runs = log_directories(&run.path().join("state/cgrun/logs"));
        assert_eq!(runs.len(), 2, "{runs:?}");
        for directory in runs {
            let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
            assert_eq!((read("a.log"), read("b.log")), ("from a\nready\n".into(), "from b\nready\n".into()));
            assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
        }
    }

    #[test]
    fn are_not_created_without_services() {
        let run = session().run();
        assert_ran(&run);
        assert!(!run.path().join("state").exists());
    }

    #[test]
    fn are_where_the_config_or_the_option_says() {
        let config = format!("[session]\nlogs = 'out/logs'\n{SERVICES}");
        let run = session().file("sub/cgrun.toml", &config).options(["-c", "sub/cgrun.toml"]).run();
        assert_ran(&run);
        assert_eq!(log_directories(&run.path().join("sub/out/logs")).len(), 1, "from the config's directory");
        drop(run);
        let run = session().config(&config).options(["--logs", "elsewhere"]).run();
        assert_ran(&run);
        assert_eq!(log_directories(&run.path().join("elsewhere")).len(), 1);
        assert!(!run.path().join("out").exists() && !run.path().join("state").exists());
    }

    #[test]
    fn are_removed_only_if_old_and_ours() {
        let session = session().config(SERVICES).options(["--logs", "logs"]);
        let logs = session.path().join("logs");
        let day = Duration::from_secs(86_400);
        for (name, age) in
            [("cgrun-bcdfghjk", 8), ("cgrun-bcdfghjm", 6), ("cgrun-notours", 99), ("other", 99)]
        {
            std::fs::create_dir_all(logs.join(name)).unwrap();
            std::fs::write(logs.join(name).join("a.log"), "").unwrap();
            let directory = std::fs::File::open(logs.join(name)).unwrap();
            directory.set_modified(SystemTime::now() - age * day).unwrap();
        }
        let run = session.run();
        assert_ran(&run);
        assert!(!logs.join("cgrun-bcdfghjk").exists(), "an old one of ours");
        for kept in ["cgrun-bcdfghjm", "cgrun-notours", "other"] {
            assert!(logs.join(kept).join("a.log").exists(), "{kept}");
        }
    }

    #[test]
    fn of_a_live_session_are_kept_however_old() {
        let live = Session::new().config(SERVICES).options(["--logs", "logs"]).sh("touch up; exec sleep 900");
        let live = live.start();
        live.until_file("up");
        let logs = live.path().join("logs");
        let [directory] = log_directories(&logs).try_into().unwrap();
        let opened = std::fs::File::open(&directory).unwrap();
        opened.set_modified(SystemTime::now() - 8 * Duration::from_secs(86_400)).unwrap();
        let other = |session: Session| session.config(SERVICES).options(["--logs"]).options([&logs]);
        other(Session::again()).command(["true"]).run().assert_code(0);
        assert!(directory.join("a.log").exists(), "removed while its session is live");
        live.signal(nix::sys::signal::Signal::SIGTERM);
        live.finish().assert_nothing_left();
        other(Session::again()).command(["true"]).run().assert_code(0).assert_nothing_left();
        assert!(!directory.exists(), "kept although its session has ended");
    }
}

#[test]
fn the_port_of_a_killed_service_is_free_afterwards() {
    let config = server("web", "8001 --ignore SIGTERM", "port = 8001\ngrace = '0s'");
    let run = with(session(), &config).run();
    assert_ran(&run);
    assert!(!is_listening(8001));
}

#[test]
fn a_service_that_fails_as_the_tests_end_fails_the_run() {
    // The command makes the service fail, and exits at the same moment.
    let script = "m=/sys/fs/cgroup; [ -d $m/unified ] && m=$m/unified; \
        d=$m$(sed -n 's,^0::\\(.*\\)/.*,\\1,p' /proc/self/cgroup)/service.b; touch go; \
        while read -r line <$d/cgroup.events && [ \"$line\" = 'populated 1' ]; do :; done";
    Session::new();
    for how in ["exec false", "kill -SEGV $$"] {
        let config = format!("[services.b]\ncommand = ['sh', '-c', 'until [ -e go ]; do :; done; {how}']\n");
        for _ in 0..15 {
            let run = Session::again().config(&config).sh(script).run();
            run.assert_code(125).assert_said("service b ended").assert_nothing_left();
        }
    }
}

#[test]
fn a_service_that_fails_because_its_client_was_stopped_does_not_fail_the_run() {
    let config = "[services.db]\ncommand = ['sh', '-c', 'cat f >/dev/null; exit 1']\n\
        [services.api]\ndepends_on = ['db']\nready = { log = 'up' }\n\
        command = ['sh', '-c', \"exec 3>f; trap 'exec 3>&-; sleep 0.3; exit 0' TERM; echo up; while :; do sleep 0.05 3>&-; done\"]\n";
    let session = Session::new().config(config);
    nix::unistd::mkfifo(&session.path().join("f"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    session.command(["true"]).run().assert_code(0).assert_nothing_left();
}
