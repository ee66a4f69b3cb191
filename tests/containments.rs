//! The same promises hold in every containment: a cgroup, a PID namespace, or the process tree.

use std::time::Duration;

use nix::sys::signal::Signal::{self, SIGKILL, SIGTERM};
use nix::sys::signal::kill;

use crate::fixtures::{LONG, SOON};
use crate::harness::terminal::{CTRL_C, CTRL_Z};
use crate::harness::{Finished, Running, Session, Stranger, TestCgroup};

const CGRUN: &str = env!("CARGO_BIN_EXE_cgrun");

const SERVER: &str = "[session]\ngrace = '300ms'\n[services.backend]\nport = 8000\n\
    command = ['python3', '{helpers}/server.py', '8000', '--name', 'backend', '--journal', 'journal']\n";

/// The kinds of hosts, by the containment that they offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Cgroups,
    /// As in a container with a read-only cgroupfs, in which cgrun can mount another.
    ReadOnlyCgroups,
    /// As in a container in which it cannot.
    NoCgroups,
    /// As in a container that is also not allowed to create namespaces.
    NoNamespaces,
}

impl Host {
    /// The command that starts cgrun on such a host.
    fn launcher(self) -> &'static [&'static str] {
        match self {
            Self::Cgroups => &[],
            Self::ReadOnlyCgroups => &["with-read-only-cgroups"],
            Self::NoCgroups => &["without-cgroups"],
            Self::NoNamespaces => &["without-namespaces"],
        }
    }

    pub(crate) fn start(self, session: Session) -> Running {
        match self.launcher() {
            [] => session.start(),
            launcher => session.start_launched(&[launcher, &[CGRUN]].concat()),
        }
    }

    /// Starts it on such a host through another command, which takes rights away.
    pub(crate) fn start_through(self, session: Session, how: &[&str]) -> Running {
        match self.launcher() {
            [] => session.start_through(&[how, &[CGRUN]].concat()),
            launcher => session.start_launched(&[launcher, how, &[CGRUN]].concat()),
        }
    }

    pub(crate) fn run(self, session: Session) -> Finished {
        self.start(session).finish()
    }

    pub(crate) fn has_cgroups(self) -> bool {
        self.announcement().is_empty()
    }

    /// The message that cgrun prints at the start on such a host.
    fn announcement(self) -> &'static str {
        match self {
            Self::Cgroups | Self::ReadOnlyCgroups => "",
            Self::NoCgroups => "this session is contained only by a PID namespace",
            Self::NoNamespaces => "this session is contained only by a process tree",
        }
    }
}

/// Tests in every containment. Each scenario takes the `Host`, which is also in scope in other files that use this.
macro_rules! everywhere {
    ($($scenario:ident),* $(,)?) => {
        mod cgroup { $(#[test] fn $scenario() { super::$scenario(super::Host::Cgroups) })* }
        mod own_mount { $(#[test] fn $scenario() { super::$scenario(super::Host::ReadOnlyCgroups) })* }
        mod pidns { $(#[test] fn $scenario() { super::$scenario(super::Host::NoCgroups) })* }
        mod tree { $(#[test] fn $scenario() { super::$scenario(super::Host::NoNamespaces) })* }
    };
}

everywhere!(
    passes_on_exit_codes,
    cleans_up_a_background_child,
    cleans_up_a_child_that_ignores_signals,
    cleans_up_a_daemon,
    cleans_up_a_daemon_without_an_environment,
    cleans_up_a_stopped_child,
    cleans_up_a_fork_storm,
    cleans_up_four_hundred_sleepers,
    cleans_up_a_process_that_leaves_the_cgroup,
    starts_and_stops_services,
    accepts_a_daemon_as_a_service,
    notices_the_exit_of_a_daemon,
    refuses_a_stale_server,
    shows_why_a_service_fails,
    dies_of_sigterm_after_the_clean_up,
    ends_after_the_timeout,
    ends_a_command_that_is_idle,
    lets_a_command_that_polls_finish,
    leaves_nothing_when_cgrun_is_killed,
    leaves_nothing_when_the_guardian_is_killed_too,
    leaves_nothing_when_cgrun_is_killed_during_startup,
    cleans_up_a_process_whose_first_thread_has_exited,
    spares_the_orphans_of_a_preexisting_child,
    ends_an_inner_session,
    resumes_after_ctrl_z,
    leaves_ctrl_c_to_the_command,
    fails_a_run_that_leaked_if_asked_to,
    counts_a_process_in_the_middle_of_an_exec,
    asks_a_process_found_late_to_exit,
    counts_the_leftovers_of_an_inner_session,
);

fn passes_on_exit_codes(host: Host) {
    Session::new();
    for code in [0, 3, 255] {
        let run = host.run(Session::again().sh(&format!("echo out; exit {code}")));
        run.assert_code(code).assert_said(host.announcement()).assert_nothing_left();
        assert_eq!(run.stdout(), "out\n");
    }
    host.run(Session::again().sh("kill -9 $$")).assert_code(137).assert_nothing_left();
    host.run(Session::again().command(["no-such-program"])).assert_code(127).assert_nothing_left();
}

fn run_leak(host: Host, options: &[&str], arguments: &[&str]) -> Finished {
    let run = host.run(Session::new().options(options).helper("leak.py", arguments));
    run.assert_code(0).assert_nothing_left().assert_faster_than(SOON);
    run
}

const SHORT: [&str; 2] = ["--grace", "300ms"];

fn cleans_up_a_background_child(host: Host) {
    run_leak(host, &LONG, &["background"]).assert_said("leaked 1 process, found and stopped:");
}

fn cleans_up_a_child_that_ignores_signals(host: Host) {
    let run = run_leak(host, &SHORT, &["deaf"]);
    run.assert_said("leaked 1 process, found and stopped:").assert_said("leak.py deaf");
}

fn cleans_up_a_daemon(host: Host) {
    run_leak(host, &LONG, &["daemon"]).assert_said("leaked 1 process, found").assert_said("leak.py daemon");
}

fn cleans_up_a_daemon_without_an_environment(host: Host) {
    run_leak(host, &LONG, &["blank-daemon"])
        .assert_said("leaked 1 process, found")
        .assert_said("(sleep 900)");
}

fn cleans_up_a_stopped_child(host: Host) {
    run_leak(host, &LONG, &["stopped"]).assert_said("leaked 1 process, found");
}

fn cleans_up_a_fork_storm(host: Host) {
    run_leak(host, &SHORT, &["fork-storm", "60", "deaf"]).assert_said("found and stopped:");
}

fn cleans_up_four_hundred_sleepers(host: Host) {
    run_leak(host, &LONG, &["sleepers", "400"]).assert_said("leaked 400 processes, found and stopped:");
}

fn cleans_up_a_process_that_leaves_the_cgroup(host: Host) {
    if !host.has_cgroups() {
        // There is no cgroup to leave: the kernel refuses.
        let elsewhere = TestCgroup::create("elsewhere");
        let script = "echo 0 >$0/cgroup.procs";
        let run = Session::new().command(["sh", "-c", script, elsewhere.path().to_str().unwrap()]);
        let run = host.run(run);
        run.assert_code(2).assert_said("Read-only file system").assert_nothing_left();
        return;
    }
    // An additional PID namespace also holds processes that left the cgroup.
    let elsewhere = TestCgroup::create("elsewhere");
    let session = Session::new().options(["--require", "cgroup+pidns", "--grace", "300ms"]);
    let run = session.helper("leak.py", &["elsewhere", elsewhere.path().to_str().unwrap(), "deaf"]).run();
    run.assert_code(0).assert_nothing_left();
    assert!(elsewhere.members().is_empty());
}

fn starts_and_stops_services(host: Host) {
    let run = host.run(Session::new().config(SERVER).sh("python3 $HELPERS/get.py 8000"));
    run.assert_code(0).assert_said("backend is ready").assert_nothing_left();
    assert!(run.read("journal").contains("backend SIGTERM"), "{}", run.read("journal"));
}

fn accepts_a_daemon_as_a_service(host: Host) {
    let daemon = SERVER.replace("'journal']", "'journal', '--daemon']");
    let run = host.run(Session::new().config(&daemon).sh("python3 $HELPERS/get.py 8000"));
    run.assert_code(0).assert_said("backend is ready").assert_nothing_left();
    assert!(run.read("journal").contains("backend SIGTERM"), "{}", run.read("journal"));
}

fn notices_the_exit_of_a_daemon(host: Host) {
    let config = "[services.short]\ncommand = ['sh', '-c', 'setsid -f sh -c \"until [ -e go ]; do sleep 0.02; done\"']\n";
    let run = host.start(Session::new().config(config).sh("touch go; exec sleep 900"));
    let run = run.finish();
    run.assert_code(125).assert_said("service short ended").assert_nothing_left().assert_faster_than(SOON);
}

fn refuses_a_stale_server(host: Host) {
    let session = Session::new().config(SERVER).command(["touch", "ran"]);
    let stranger = Stranger::serve(session.path(), 8000, &[]);
    let run = host.run(session);
    run.assert_code(125).assert_said(&format!("port 8000 is taken by pid {}", stranger.pid()));
    assert!(!run.path().join("ran").exists());
}

fn shows_why_a_service_fails(host: Host) {
    let config = "[services.db]\ncommand = ['sh', '-c', 'echo no disk; exit 4']\nready = { log = 'never' }\n";
    let run = host.run(Session::new().config(config).command(["touch", "ran"]));
    run.assert_code(125).assert_said("service db ended before it was ready: exit status 4");
    run.assert_said("| no disk").assert_nothing_left();
}

fn running(host: Host) -> Running {
    let leave = "(trap '' TERM INT HUP; exec sleep 900) & setsid -f sleep 900; touch running; exec sleep 900";
    let run = host.start(Session::new().config(SERVER).sh(leave));
    run.until_file("running");
    run
}

fn dies_of_sigterm_after_the_clean_up(host: Host) {
    let run = running(host);
    run.signal(SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_nothing_left().assert_faster_than(SOON);
    assert!(run.read("journal").contains("backend SIGTERM"));
}

fn ends_after_the_timeout(host: Host) {
    let options = ["--timeout", "300ms", "--grace", "300ms"];
    let run = host.run(Session::new().options(options).sh("trap '' TERM; sleep 900 & wait; wait"));
    run.assert_code(124).assert_said("timed out after 300ms").assert_nothing_left().assert_faster_than(SOON);
}

fn ends_a_command_that_is_idle(host: Host) {
    let run = host.run(Session::new().options(["--idle-timeout", "1s"]).sh("sleep 900 & wait"));
    run.assert_code(124)
        .assert_said("the command was idle for 1s")
        .assert_nothing_left()
        .assert_faster_than(SOON);
}

fn lets_a_command_that_polls_finish(host: Host) {
    Session::new();
    for kind in ["connect", "spawn", "compute"] {
        let session = Session::again().options(["--idle-timeout", "2s"]);
        host.run(session.helper("does_a_little.py", &[kind, "0.5", "4"]))
            .assert_code(0)
            .assert_nothing_left();
    }
}

fn leaves_nothing_when_cgrun_is_killed(host: Host) {
    let run = running(host);
    run.signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL).assert_nothing_left();
}

/// Without a guardian, only the kernel or the next cgrun can clean up.
fn leaves_nothing_when_the_guardian_is_killed_too(host: Host) {
    let run = running(host);
    let guardian = run.guardian().unwrap();
    for signal in [Signal::SIGSTOP, SIGKILL] {
        run.signal(signal);
        kill(guardian, signal).unwrap();
    }
    let run = run.finish();
    match host {
        Host::Cgroups | Host::ReadOnlyCgroups => {
            run.cgrun(&["sweep"]).assert_said("ended session");
        }
        Host::NoCgroups => {}
        // Nothing kills them here, so the test finds and kills them.
        Host::NoNamespaces => {
            // cgrun's children died with it; their children did not.
            let survivors = run.survivors();
            assert_eq!(survivors.len(), 2, "{survivors:#?}");
        }
    }
    run.assert_nothing_left();
}

/// This includes the time between the fork of the command and its exec.
fn leaves_nothing_when_cgrun_is_killed_during_startup(host: Host) {
    Session::new();
    for delay in 0..20 {
        let run = host.start(Session::again().command(["sleep", "900"]));
        run.until("a guardian", || run.guardian().is_some());
        std::thread::sleep(Duration::from_micros(500 * delay));
        run.signal(SIGKILL);
        let run = run.finish();
        run.assert_nothing_left();
    }
}

fn cleans_up_a_process_whose_first_thread_has_exited(host: Host) {
    let script = "import ctypes, threading, time\n\
        threading.Thread(target=lambda: (time.sleep(0.1), open('alone', 'w').close(), time.sleep(900))).start()\n\
        ctypes.CDLL(None).pthread_exit(None)";
    let command = "python3 thread.py & until [ -e alone ]; do sleep 0.02; done";
    let run = host.run(Session::new().options(SHORT).file("thread.py", script).sh(command));
    run.assert_code(0).assert_said("leaked 1 process, found").assert_nothing_left();
    assert_leak_belongs_to_the_command(&run);
}

/// The parent was a child of cgrun before the session began, and is not part of it.
fn spares_the_orphans_of_a_preexisting_child(host: Host) {
    let script = "(until [ -e go ]; do sleep 0.02; done; sleep 77 & echo $! >stranger) & \
        exec \"$@\" sh -c 'touch go; until [ -e stranger ]; do sleep 0.02; done; sleep 0.3'";
    let launcher = crate::harness::helpers().join("launch.py");
    let mut words = vec!["sh", "-c", script, "sh"];
    if !host.has_cgroups() {
        words.extend(["python3", launcher.to_str().unwrap(), host.launcher()[0]]);
    }
    words.push(CGRUN);
    let run = Session::new().start_through(&words).finish();
    run.assert_code(122).assert_said("it was left alone");
    assert!(!run.stderr().contains("leaked"), "{}", run.stderr());
    let survivors = run.survivors();
    assert!(survivors.len() == 1 && survivors[0].contains("sleep 77"), "{survivors:?}");
}

fn ends_an_inner_session(host: Host) {
    // Neither supervisor is alive to stop the inner session.
    let script = "$CGRUN sh -c 'touch running; exec sleep 900' & echo $! >inner; wait";
    let run = host.start(Session::new().options(SHORT).sh(script));
    run.until_file("running");
    // In a PID namespace the pid differs, and the end of the namespace is proof enough.
    if host != Host::NoCgroups {
        let inner = std::fs::read_to_string(run.path().join("inner")).unwrap();
        kill(nix::unistd::Pid::from_raw(inner.trim().parse().unwrap()), SIGKILL).unwrap();
    }
    run.signal(SIGKILL);
    let run = run.finish();
    run.assert_nothing_left();
}

fn resumes_after_ctrl_z(host: Host) {
    let ticking = "[services.clock]\ncommand = ['sh', '-c', 'while :; do echo tick; sleep 0.02; done']\n\
        ready = { log = 'tick' }";
    let script = "touch running; until [ -e go ]; do sleep 0.02; done; exit 5";
    let terminal = Session::new().file("until_go", script).config(ticking).on_terminal();
    terminal.enter(&format!("{} sh until_go", on_the_command_line(host))).until_file("running");
    let ticks = || std::fs::metadata(terminal.log_path("clock")).unwrap().len();
    terminal.press(CTRL_Z).shows("Stopped");
    terminal.prompt(148);
    let before = ticks();
    // The test is that nothing happens in this time.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ticks(), before, "the service kept running");
    terminal.enter("fg");
    terminal.until("the service goes on", || ticks() > before);
    std::fs::write(terminal.path().join("go"), "").unwrap();
    terminal.prompt(5);
    terminal.leave().assert_nothing_left();
}

fn leaves_ctrl_c_to_the_command(host: Host) {
    let script = "trap 'exit 7' INT; touch running; while :; do sleep 0.02; done";
    let terminal = Session::new().file("script", script).on_terminal();
    terminal.enter(&format!("{} sh script", on_the_command_line(host))).until_file("running");
    terminal.press(CTRL_C);
    terminal.prompt(7);
    terminal.leave().assert_nothing_left();
}

fn on_the_command_line(host: Host) -> String {
    match host.launcher() {
        [] => "cgrun".into(),
        launcher => format!("python3 $HELPERS/launch.py {} cgrun", launcher.join(" ")),
    }
}

fn fails_a_run_that_leaked_if_asked_to(host: Host) {
    let run = host.run(Session::new().options(["--on-leak", "fail"]).sh("sleep 900 & echo"));
    run.assert_code(121).assert_said("leaked 1 process").assert_nothing_left();
}

/// During exec, a process has no environment that shows which session it belongs to.
fn counts_a_process_in_the_middle_of_an_exec(host: Host) {
    let script = "ulimit -s unlimited; exec python3 $HELPERS/half_executed.py";
    let run = host.run(Session::new().options(["--on-leak", "fail"]).sh(script));
    run.assert_code(121).assert_said("leaked 1 process").assert_said("(sleep 900 0 0").assert_nothing_left();
    assert_leak_belongs_to_the_command(&run);
}

fn assert_leak_belongs_to_the_command(run: &Finished) {
    assert!(!run.stderr().contains("had left"), "{}", run.stderr());
}

/// The process can be recognized as the command's only after the command's component was found empty.
fn asks_a_process_found_late_to_exit(host: Host) {
    let until = |file: &str| format!("until [ -e {file} ]; do sleep 0.02; done");
    let stop = format!("touch stopping; {}; exit", until("late"));
    let service = format!(
        "[services.slow]\ncommand = ['sh', '-c', 'trap \"{stop}\" TERM; touch up; sleep 900 & wait']\n\
         ready = {{ command = ['test', '-e', 'up'] }}\n"
    );
    let late = format!(
        "trap 'touch asked late; exit' TERM; touch cleared; {}; CGRUN_SESSION=$1 CGRUN_LEAF=command exec sh late.sh",
        until("stopping")
    );
    let asked = "trap 'touch asked; exit' TERM; sleep 900 & : >late; wait";
    let script = format!("env -i sh cleared.sh $CGRUN_SESSION & {}", until("cleared"));
    let session = Session::new().config(&service).file("cleared.sh", &late).file("late.sh", asked);
    let run = host.run(session.sh(&script));
    run.assert_code(0).assert_said("leaked ").assert_nothing_left();
    assert_leak_belongs_to_the_command(&run);
    // If it is seen before it clears its environment, it is asked before it has installed its handler.
    let is_known = host.has_cgroups() || run.stderr().contains("cleared.sh");
    assert!(is_known || run.path().join("asked").exists(), "{}", run.stderr());
}

/// Its environment names a component of another session.
fn counts_the_leftovers_of_an_inner_session(host: Host) {
    let script =
        "CGRUN_OUTER=$CGRUN_SESSION CGRUN_SESSION=bcdfghjk CGRUN_LEAF=service.db sleep 900 & sleep 0.1";
    let run = host.run(Session::new().options(["--on-leak", "fail"]).sh(script));
    run.assert_code(121).assert_said("leaked 1 process").assert_nothing_left();
}

mod require {
    use super::*;

    fn refused(host: Host, require: &str, why: &str) {
        let run = host.run(Session::new().options(["--require", require]).command(["touch", "ran"]));
        run.assert_code(125).assert_said(why).assert_said("--require").assert_nothing_left();
        assert!(!run.path().join("ran").exists());
    }

    #[test]
    fn refuses_to_run_without_a_cgroup() {
        refused(Host::NoCgroups, "cgroup", "no cgroup is available");
    }

    #[test]
    fn refuses_to_run_without_a_pid_namespace() {
        refused(Host::NoNamespaces, "pidns", "no PID namespace is available");
    }

    #[test]
    fn refuses_to_run_with_only_one_of_the_two() {
        refused(Host::NoCgroups, "cgroup+pidns", "no cgroup is available");
    }

    #[test]
    fn accepts_both_in_the_config() {
        let script = "test $$ -lt 10 && exec grep -q cgrun- /proc/self/cgroup";
        let session = Session::new().config("[session]\nrequire = 'cgroup+pidns'\n").sh(script);
        session.run().assert_code(0).assert_silent().assert_nothing_left();
    }

    #[test]
    fn is_silent_if_the_host_offers_it() {
        for (host, require) in [(Host::NoCgroups, "pidns"), (Host::NoNamespaces, "tree")] {
            let run = host.run(Session::new().options(["--require", require]).command(["true"]));
            run.assert_code(0).assert_silent().assert_nothing_left();
        }
    }
}
