//! The holder of a port is named, and left alone unless the user asked to reclaim the port.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal::SIGTERM;

use crate::harness::{Running, Session, Stranger, is_listening};

fn web(port: u16) -> String {
    format!("[services.web]\ncommand = ['python3', '{{helpers}}/server.py', '{port}']\nport = {port}\n")
}

/// Runs `cgrun check` with these arguments next to a session.
fn check(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgrun"));
    command.arg("check").args(arguments).current_dir(directory).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

mod watched {
    use super::*;

    #[test]
    fn a_preexisting_holder_is_reported_and_left_alone() {
        let session = Session::new().sh("exit 7");
        let mut stranger = Stranger::serve(session.path(), 3000, &[]);
        let run = session.run();
        run.assert_code(7);
        run.assert_said(&format!("port 3000 is taken by pid {} (", stranger.pid()));
        run.assert_said("ago by root); it does not belong to this session and is left alone");
        assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
        assert!(stranger.is_alive() && is_listening(3000));
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn a_holder_that_appears_during_the_session_is_reported_and_left_alone() {
        let session = Session::new().sh("touch running; until [ -e go ]; do sleep 0.01; done; exit 7");
        let running = session.start();
        running.until_file("running");
        let mut stranger = Stranger::serve(running.path(), 8000, &[]);
        std::fs::write(running.path().join("go"), "").unwrap();
        let run = running.finish();
        run.assert_code(7);
        run.assert_said(&format!("port 8000 is taken by pid {}", stranger.pid()));
        run.assert_said("it does not belong to this session and was left alone");
        assert!(stranger.is_alive() && is_listening(8000));
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn a_server_that_the_command_leaves_behind_is_cleaned_up() {
        let script = "python3 \"$HELPERS\"/server.py 8000 --journal journal & until grep -q listens journal; do sleep 0.01; done 2>/dev/null";
        let run = Session::new().sh(script).run();
        run.assert_code(0)
            .assert_said("leaked 1 process")
            .assert_said("server.py 8000")
            .assert_nothing_left();
    }

    #[test]
    fn ports_that_are_not_watched_are_ignored() {
        let session = Session::new().options(["-p", "4000"]).sh("exit 7");
        let stranger = Stranger::serve(session.path(), 3000, &[]);
        let run = session.run();
        run.assert_code(7).assert_silent();
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn ports_of_the_command_line_replace_those_of_the_config() {
        for (options, code_word) in [(&[][..], "port 4000"), (&["-p", "4001"], "port 4001")] {
            let session = Session::new().config("[session]\nports = [4000]\n").options(options).sh("exit 7");
            let strangers = [4000, 4001].map(|port| Stranger::serve(session.path(), port, &[]));
            let run = session.run();
            run.assert_code(7).assert_said(code_word);
            assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
            drop(strangers);
            run.assert_nothing_left();
        }
    }
}

mod taken {
    use super::*;

    #[test]
    fn the_holder_is_named_with_user_and_age() {
        let session = Session::new().config(&web(8001)).command(["touch", "ran"]);
        let mut stranger = Stranger::serve(session.path(), 8001, &["--name", "a b\x1b"]);
        let run = session.run();
        run.assert_code(125);
        let said = run.stderr();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&format!("cgrun: port 8001 is taken by pid {} (", stranger.pid())), "{said}");
        assert!(said.contains("helpers/server.py"), "{said}");
        assert!(
            said.contains(
                "s ago by root); service web needs the port: stop that process, or pass --reclaim-ports"
            ),
            "{said}"
        );
        assert!(!run.path().join("ran").exists());
        assert!(stranger.is_alive());
        drop(stranger);
        run.assert_nothing_left();
    }
}

mod reclaim {
    use super::*;

    fn session(port: u16) -> Session {
        Session::new().config(&web(port)).options(["--reclaim-ports"]).command(["touch", "ran"])
    }

    #[test]
    fn asks_the_holder_first() {
        let session = session(8001);
        let mut stranger = Stranger::serve(session.path(), 8001, &["--journal", "journal"]);
        let run = session.run();
        assert!(!stranger.is_alive());
        run.assert_code(0).assert_nothing_left();
        run.assert_said("port 8001 is taken by pid").assert_said("stopping that process (--reclaim-ports)");
        assert!(run.read("journal").contains("server SIGTERM"));
        assert!(run.path().join("ran").exists());
    }

    #[test]
    fn kills_a_stubborn_holder() {
        let session = session(8001).options(["--grace", "1s"]);
        let mut stranger = Stranger::serve(session.path(), 8001, &["--ignore", "SIGTERM"]);
        let run = session.run();
        assert!(!stranger.is_alive());
        run.assert_code(0).assert_nothing_left();
        assert!(run.path().join("ran").exists());
    }

    #[test]
    fn spares_the_holders_clients() {
        let session = session(8001);
        let directory = session.path().to_path_buf();
        let mut server = Stranger::serve(&directory, 8001, &["--answers", "none"]);
        let mut client = Stranger::start(&directory, "client.py", &["8001", "connected"]);
        crate::harness::until("the client is connected", || directory.join("connected").exists());
        let run = session.run();
        run.assert_code(0);
        assert!(!server.is_alive());
        assert!(client.is_alive());
        drop(client);
        run.assert_nothing_left();
    }

    #[test]
    fn spares_the_holder_of_a_port_that_no_service_needs() {
        let session = session(8001);
        let mut stranger = Stranger::serve(session.path(), 3000, &[]);
        let run = session.run();
        run.assert_code(0).assert_said("port 3000 is taken by").assert_said("is left alone");
        assert!(stranger.is_alive());
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn stops_waiting_when_asked_to_stop() {
        let session = session(8001).options(["--grace", "60s"]);
        let mut stranger = Stranger::serve(session.path(), 8001, &["--ignore", "SIGTERM"]);
        let run = session.start();
        run.until_said("stopping that process (--reclaim-ports)");
        run.signal(SIGTERM);
        let run = run.finish();
        run.assert_signal(SIGTERM).assert_faster_than(Duration::from_secs(20));
        assert!(!run.path().join("ran").exists());
        assert!(stranger.is_alive());
        drop(stranger);
        run.assert_nothing_left();
    }

    /// The holder's directory in /proc is not visible, as from inside a container that shares the host's network.
    #[test]
    fn does_not_recommend_itself() {
        let session = session(8001);
        let mut stranger = Stranger::serve(session.path(), 8001, &[]);
        let own_proc = ["unshare", "--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_cgrun")];
        let run = session.start_through(&own_proc).finish();
        run.assert_code(125).assert_said("(or that is in another PID namespace)");
        run.assert_said("service web needs the port: stop that process\n");
        let said = run.stderr();
        assert!(!said.contains("reclaim-ports") && !said.contains("stopping"), "{said}");
        assert!(stranger.is_alive());
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn spares_its_own_parent() {
        let listen = "import os, socket, subprocess, sys; s = socket.create_server(('127.0.0.1', 8001)); \
                      sys.exit(subprocess.run([os.environ['CGRUN'], *sys.argv[1:]]).returncode + 100)";
        let run = session(8001).start_through(&["python3", "-c", listen]).finish();
        run.assert_code(225)
            .assert_said("port 8001")
            .assert_said("because it started cgrun")
            .assert_nothing_left();
        assert!(!run.path().join("ran").exists());
    }

    #[test]
    fn spares_itself_if_it_inherited_the_socket() {
        let listen = "import os, socket, sys; s = socket.create_server(('127.0.0.1', 8001)); s.set_inheritable(True); \
                      os.execv(os.environ['CGRUN'], ['cgrun', *sys.argv[1:]])";
        let run = session(8001).start_through(&["python3", "-c", listen]).finish();
        run.assert_code(125).assert_said("port 8001").assert_said("cgrun itself").assert_nothing_left();
        assert!(!run.path().join("ran").exists());
    }
}

mod udp {
    use super::*;

    /// Binds a UDP port once the file exists, if one is named, and answers.
    const SERVER: &str = "import os, socket, sys, time\n\
        while len(sys.argv) > 2 and not os.path.exists(sys.argv[2]): time.sleep(0.002)\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"127.0.0.1\", int(sys.argv[1])))\n\
        open(\"bound\", \"w\").close()\n\
        while True: s.sendto(*s.recvfrom(99))\n";
    const CONFIG: &str = "[services.statsd]\ncommand = ['python3', 'udp.py', '8125']\nport = '8125/udp'\n\
        ready = { timeout = '4s' }\n";

    fn session() -> Session {
        Session::new().file("udp.py", SERVER).command(["touch", "ran"])
    }

    fn stranger(session: &Session) -> Stranger {
        let program = session.path().join("udp.py");
        let stranger = Stranger::start(session.path(), program.to_str().unwrap(), &["8125"]);
        crate::harness::until("the stranger is bound", || session.path().join("bound").exists());
        std::fs::remove_file(session.path().join("bound")).unwrap();
        stranger
    }

    #[test]
    fn a_service_is_ready_when_it_has_bound_its_port() {
        let config = CONFIG.replace("'8125']", "'8125', 'go']").replace("4s", "20s");
        let session = session().config(
            &(config + "[services.go]\ncommand = ['sh', '-c', 'sleep 0.3; touch go; exec sleep 900']\n"),
        );
        let run = session.sh("[ -e bound ] && touch ran").run();
        run.assert_code(0).assert_nothing_left();
        assert!(run.path().join("ran").exists());
    }

    #[test]
    fn a_service_that_binds_the_tcp_port_instead_is_not_ready() {
        let config = "[services.web]\ncommand = ['python3', '{helpers}/server.py', '8125']\nport = '8125/udp'\n\
            ready = { timeout = '2s' }\n";
        let run = session().config(config).run();
        run.assert_code(125).assert_said("(port 8125/udp) within 2 s: nothing listens on port 8125/udp");
        run.assert_nothing_left();
    }

    #[test]
    fn a_service_that_binds_another_port_is_named_with_that() {
        let run = session().config(&CONFIG.replace("'8125']", "'8126']").replace("4s", "2s")).run();
        run.assert_code(125).assert_nothing_left();
        run.assert_said(
            "nothing listens on port 8125/udp; the session listens on 127.0.0.1:8126/udp instead",
        );
    }

    #[test]
    fn a_taken_port_is_named() {
        let session = session().config(CONFIG);
        let stranger = stranger(&session);
        let run = session.run();
        run.assert_code(125).assert_said(&format!("port 8125/udp is taken by pid {} (", stranger.pid()));
        run.assert_said("service statsd needs the port");
        let check = run.cgrun(&["check", "-p", "8125/udp"]);
        check.assert_code(1).assert_said("port 8125/udp is taken by pid");
        assert!(!run.cgrun(&["check", "-c", "/dev/null", "-p", "8125"]).stderr.contains("port 8125"));
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn a_taken_port_is_reclaimed_if_asked_to() {
        let session = session().config(CONFIG).options(["--reclaim-ports"]);
        let stranger = stranger(&session);
        let run = session.run();
        run.assert_code(0).assert_said("port 8125/udp is taken by pid").assert_said("(--reclaim-ports)");
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn the_same_number_of_tcp_is_another_port() {
        let session = session().config(CONFIG);
        let stranger = Stranger::serve(session.path(), 8125, &[]);
        let run = session.run();
        run.assert_code(0);
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn a_leak_is_reported_with_its_port() {
        let options = ["-p", "8125/udp", "--report", "json=report.json", "--on-leak", "fail"];
        let session = session().options(options);
        let run = session.sh("python3 udp.py 8125 & until [ -e bound ]; do sleep 0.01; done").run();
        run.assert_code(121).assert_said("listening on 127.0.0.1:8125/udp").assert_nothing_left();
        let report: serde_json::Value = serde_json::from_str(&run.read("report.json")).unwrap();
        assert_eq!(report["ports"]["watched"], serde_json::json!(["8125/udp"]));
        assert_eq!(report["leaks"][0]["listening_on"][0], "127.0.0.1:8125/udp");
    }

    #[test]
    fn cannot_be_probed_by_tcp() {
        let config = CONFIG.replace("{ timeout", "{ tcp = '8125/udp', timeout");
        let run = session().config(&config).run();
        run.assert_code(125).assert_said("cgrun.toml:4:17: tcp takes a TCP port").assert_nothing_left();
    }
}

/// Leaves a connection of this port in TIME_WAIT, as a server that closes it first does.
fn leave_in_time_wait(port: u16) {
    let server = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    drop(server.accept().unwrap());
    // The other end closes second.
    std::io::Read::read(&mut &client, &mut [0]).unwrap();
}

const TIME_WAIT: &str = "port 8001 has closed connections in TIME_WAIT, for up to (60|5[0-9]) s more: until then, a server that does not set SO_REUSEADDR";

#[test]
fn a_service_that_cannot_bind_a_port_in_time_wait_gets_a_hint() {
    let config = "[services.web]\nport = 8001\n\
        command = ['python3', '-c', 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 8001)); s.listen()']\n";
    let session = Session::new().config(config).command(["touch", "ran"]);
    leave_in_time_wait(8001);
    let run = session.run();
    run.assert_code(125).assert_said("Address already in use").assert_matches(TIME_WAIT);
    run.assert_nothing_left();
    // Servers that set SO_REUSEADDR start, and there is no hint.
    let run = Session::again().config(&web(8001)).command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
    assert!(!run.stderr().contains("TIME_WAIT"), "{}", run.stderr());
}

mod check_command {
    use super::*;

    #[test]
    fn names_a_free_port_in_time_wait() {
        let session = Session::new().options(["check", "-p", "8001"]);
        leave_in_time_wait(8001);
        let run = session.start_through(ALONE).finish();
        run.assert_code(0).assert_matches(TIME_WAIT).assert_nothing_left();
        let run = Session::again().options(["check", "-p", "8002"]).start_through(ALONE).finish();
        run.assert_code(0).assert_silent().assert_nothing_left();
    }

    /// Runs in a cgroup namespace with its own cgroup2 mount, in which no other session of this host is
    /// visible.
    const ALONE: &[&str] = &[
        "unshare",
        "-C",
        "-m",
        "sh",
        "-c",
        "mkdir cg && mount -t cgroup2 none cg && exec \"$CGRUN\" \"$@\"",
        "sh",
    ];

    #[test]
    fn passes_if_all_is_clean() {
        let run = Session::new().options(["check"]).start_through(ALONE).finish();
        run.assert_code(0).assert_silent().assert_nothing_left();
    }

    #[test]
    fn names_the_holder_of_a_port() {
        let session = Session::new().options(["check"]);
        let stranger = Stranger::serve(session.path(), 3000, &[]);
        let run = session.start_through(ALONE).finish();
        run.assert_code(1).assert_said(&format!("port 3000 is taken by pid {} (", stranger.pid()));
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn checks_the_given_ports() {
        for (options, code) in [(&["check", "-p", "4000"][..], 1), (&["check", "--port", "4001"], 0)] {
            let session = Session::new().options(options);
            let stranger = Stranger::serve(session.path(), 4000, &[]);
            let run = session.start_through(ALONE).finish();
            run.assert_code(code);
            drop(stranger);
            run.assert_nothing_left();
        }
    }

    #[test]
    fn checks_the_ports_of_the_services_in_the_config() {
        for keys in ["port = 4000", "ready = { tcp = 4000 }", "ready = { http = 'http://127.0.0.1:4000' }"] {
            let config = format!("[services.web]\ncommand = ['true']\n{keys}\n");
            let session = Session::new().config(&config).options(["check"]);
            let stranger = Stranger::serve(session.path(), 4000, &[]);
            let run = session.start_through(ALONE).finish();
            run.assert_code(1).assert_said("port 4000 is taken by");
            drop(stranger);
            run.assert_nothing_left();
        }
    }

    #[test]
    fn calls_unknown_what_it_cannot_determine() {
        // Nothing has signed this session, and it holds a process.
        let script = "mkdir cg && mount -t cgroup2 none cg && mkdir cg/cgrun-bcdfghjk && \
            { sleep 900 & echo $! >cg/cgrun-bcdfghjk/cgroup.procs; } && { \"$CGRUN\" \"$@\"; code=$?; } ; \
            kill $!; wait $!; rmdir cg/cgrun-bcdfghjk; exit $code";
        let launcher = ["unshare", "-C", "-m", "sh", "-c", script, "sh"];
        let run = Session::new().options(["check"]).start_through(&launcher).finish();
        run.assert_code(125).assert_said("session bcdfghjk may be left over").assert_nothing_left();
        let session = Session::again().options(["check"]);
        let stranger = Stranger::serve(session.path(), 3000, &[]);
        let run = session.start_through(&launcher).finish();
        run.assert_code(1).assert_said("port 3000 is taken").assert_said("session bcdfghjk may be left over");
        drop(stranger);
        run.assert_nothing_left();
    }

    #[test]
    fn waits_for_a_session_that_is_just_being_made() {
        let script = "mkdir cg && mount -t cgroup2 none cg && mkdir cg/cgrun-bcdfghjk && \
            { sleep 0.3; rmdir cg/cgrun-bcdfghjk; } & until [ -e cg/cgrun-bcdfghjk ]; do sleep 0.01; done; \
            \"$CGRUN\" \"$@\"; code=$?; wait; exit $code";
        let launcher = ["unshare", "-C", "-m", "sh", "-c", script, "sh"];
        let run = Session::new().options(["check"]).start_through(&launcher).finish();
        run.assert_code(0).assert_silent().assert_nothing_left();
    }

    #[test]
    fn refuses_invalid_arguments() {
        let run = Session::new().options(["check", "-p", "0"]).run();
        run.assert_code(125).assert_said("a port is a number from 1 to 65535");
        drop(run);
        let run = Session::new().config("porrts = 1\n").options(["check"]).run();
        run.assert_code(125).assert_said("unknown key `porrts`").assert_nothing_left();
    }

    /// The path of the session's cgroup as cgrun prints it.
    fn session_cgroup(running: &Running) -> String {
        let id = std::fs::read_to_string(running.path().join("id")).unwrap();
        format!("cgrun-{}", id.trim())
    }

    #[test]
    fn names_a_session_whose_cgrun_is_dead() {
        let running = Session::new().sh("echo $CGRUN_SESSION >id.new; mv id.new id; sleep 1000").start();
        running.until_file("id");
        let name = session_cgroup(&running);
        let live = check(running.path(), &[]);
        assert!(!said(&live).contains(&name), "a live session is not stale:\n{}", said(&live));
        // Kill both at once, so that neither can clean up after the other.
        running.kill_everything();
        let directory = running.path().to_path_buf();
        running.until("everything is dead", || running.members().is_empty());
        let dead = check(&directory, &[]);
        assert_eq!(dead.status.code(), Some(1));
        assert!(said(&dead).contains(&format!("{name}; end it with: cgrun sweep")), "{}", said(&dead));
        running.finish();
    }
}
