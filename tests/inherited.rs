//! What cgrun inherits from the program that starts it (preloaded libraries, ignored signals, tight limits), and which
//! signals it takes for requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal::{self, SIGHUP, SIGTERM};

use crate::fixtures::{LONG, SOON};
use crate::harness::{Finished, Running, Session, cgrun_program, private_shared_memory};

/// A service that is ready at once.
const SERVICE: &str =
    "[services.it]\ncommand = ['sh', '-c', 'echo ready; exec sleep 1000']\nready = { log = 'ready' }\n";

/// A cgroup of the `pids` controller, wherever this host has it.
struct PidsCgroup(PathBuf);

impl PidsCgroup {
    fn create() -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let is_pids = |mount: &&Vec<&str>| {
            mount[2] == "cgroup" && mount[3].split(',').any(|it| it == "pids")
                || mount[2] == "cgroup2"
                    && std::fs::read_to_string(Path::new(mount[1]).join("cgroup.subtree_control"))
                        .is_ok_and(|it| it.contains("pids"))
        };
        let mounts: Vec<_> = mounts.collect();
        let mount = mounts.iter().find(is_pids).expect("a pids controller");
        let path = Path::new(mount[1]).join(format!("cgrun-test-pids-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for PidsCgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A clock that stands still for every program that asks libc for the time. A program that is killed leaves files of the
/// library in /dev/shm.
fn with_frozen_clock(session: Session) -> Session {
    private_shared_memory();
    let library = std::fs::read_dir("/usr/lib").unwrap().map(|it| it.unwrap().path());
    let library = library.map(|it| it.join("faketime/libfaketime.so.1")).find(|it| it.exists());
    let library = library.expect("libfaketime (Debian's package faketime)");
    session.env("LD_PRELOAD", library).env("FAKETIME", "2020-01-01 00:00:00")
}

/// A session that begins within one tick of the clock of files (4 ms) names what cgrun has left when it shed the library.
#[track_caller]
fn assert_silent_but_for_the_library(run: &Finished) {
    let expected =
        ["possible leftover", "/dev/shm/faketime_", "/dev/shm/sem.faketime_", "hint: with --private shm"];
    let is_expected = |line: &str| expected.iter().any(|it| line.contains(it));
    assert!(run.stderr().lines().all(is_expected), "{}", run.stderr());
}

/// The loader, which can run a program that is its argument (ld.so(8)).
fn loader() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    paths.find(|path| path.contains("/ld-")).expect("a dynamic loader").into()
}

/// Starts cgrun in such a way that it keeps the libraries, as it has to with one from `/etc/ld.so.preload`.
fn start_through_loader(session: Session) -> Running {
    session.start_through(&[loader().to_str().unwrap(), cgrun_program().to_str().unwrap()])
}

// --- a clock that stands still ---------------------------------------------------------------

#[test]
fn the_grace_passes_although_the_clock_stands_still() {
    let run = with_frozen_clock(Session::new()).options(["--grace", "300ms"]).helper("ignore.py", &["TERM"]);
    let run = start_through_loader(run);
    run.until_file("ignoring").signal(SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_said("did not stop when asked").assert_nothing_left();
    run.assert_slower_than(Duration::from_millis(300)).assert_faster_than(SOON);
}

#[test]
fn the_time_to_settle_passes_although_the_clock_stands_still() {
    let run = with_frozen_clock(Session::new()).options(["--on-leak", "fail"]).sh("sleep 1000 &");
    let run = start_through_loader(run).finish();
    run.assert_code(121).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn the_timeout_passes_although_the_clock_stands_still() {
    let run = with_frozen_clock(Session::new()).options(["--timeout", "300ms"]).sh("exec sleep 1000");
    let run = start_through_loader(run).finish();
    run.assert_code(124).assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_service_is_waited_for_although_the_clock_stands_still() {
    let config =
        "[services.slow]\ncommand = ['sleep', '1000']\nready = { log = 'never', timeout = '300ms' }\n";
    let run = with_frozen_clock(Session::new()).config(config).command(["true"]);
    let run = start_through_loader(run).finish();
    run.assert_code(125).assert_said("within 0.3 s").assert_nothing_left().assert_faster_than(SOON);
}

#[test]
fn a_preloaded_library_is_in_the_session_and_not_in_cgrun() {
    let script =
        "grep -c faketime /proc/$PPID/maps; env | grep -c ^CGRUN_KEPT; echo $LD_LIBRARY_PATH; date +%Y";
    let run = with_frozen_clock(Session::new()).env("LD_LIBRARY_PATH", "/nowhere").sh(script).run();
    assert_silent_but_for_the_library(run.assert_code(0).assert_nothing_left());
    assert_eq!(run.stdout(), "0\n0\n/nowhere\n2020\n");
}

#[test]
fn cgrun_keeps_its_name_and_its_library_path_although_it_sheds_a_preloaded_library() {
    let script = "cat /proc/$PPID/comm; tr '\\0' '\\n' </proc/$PPID/environ | grep ^LD_LIBRARY_PATH";
    let run = with_frozen_clock(Session::new()).env("LD_LIBRARY_PATH", "/nowhere").sh(script).run();
    assert_silent_but_for_the_library(run.assert_code(0).assert_nothing_left());
    assert_eq!(run.stdout(), "cgrun\nLD_LIBRARY_PATH=/nowhere\n");
}

#[test]
fn a_preloaded_library_does_not_keep_cgrun_from_a_command_if_the_loader_was_started() {
    let script =
        "sleep 1000 & echo ${CGRUN_SESSION:+contained}; date +%Y; grep -c -m1 faketime /proc/$PPID/maps";
    let run = start_through_loader(with_frozen_clock(Session::new()).sh(script)).finish();
    run.assert_code(0).assert_said("sleep 1000").assert_nothing_left();
    assert_eq!(run.stdout(), "contained\n2020\n1\n");
}

#[test]
fn libraries_that_cgrun_did_not_keep_itself_are_not_restored() {
    let script = "echo \"$LD_PRELOAD\"; env | grep -c ^CGRUN_KEPT";
    let run =
        Session::new().env("CGRUN_KEPT_LD_PRELOAD", "x.so").env("CGRUN_KEPT_NAME", "x").sh(script).run();
    assert_eq!(run.stdout(), "\n0\n");
    run.assert_silent().assert_nothing_left();
    let run = with_frozen_clock(Session::again()).env("CGRUN_KEPT_LD_AUDIT", "x.so");
    let run = run.sh("echo \"$LD_AUDIT\"; env | grep -c ^CGRUN_KEPT; date +%Y").run();
    assert_silent_but_for_the_library(run.assert_code(0).assert_nothing_left());
    assert_eq!(run.stdout(), "\n0\n2020\n");
}

// --- signals that were ignored on purpose ----------------------------------------------------

/// The signals in `mask`, a line of `/proc/PID/status` such as `SigIgn: 0000000000000200`.
fn signals_in(mask: &str) -> Vec<Signal> {
    let bits = u64::from_str_radix(mask.split_whitespace().nth(1).unwrap(), 16).unwrap();
    Signal::iterator().filter(|signal| bits & (1 << (*signal as u32 - 1)) != 0).collect()
}

#[test]
fn signals_ignored_on_purpose_stay_ignored_for_the_command() {
    let every = Signal::iterator().filter(|it| !matches!(it, Signal::SIGKILL | Signal::SIGSTOP));
    let every: Vec<_> = every.map(|it| it.as_str()[3..].to_string()).collect();
    let launch = format!("trap '' {}; exec \"$CGRUN\" \"$@\"", every.join(" "));
    let service = "[services.it]\nready = { log = 'ready' }\n\
        command = ['sh', '-c', 'grep SigIgn /proc/self/status; echo ready; exec sleep 1000']";
    let run = Session::new().config(service).command(["grep", "SigIgn", "/proc/self/status"]);
    let run = run.start_through(&["bash", "-c", &launch, "bash"]).finish();
    run.assert_code(0).assert_nothing_left();
    let ignored = signals_in(&run.stdout());
    let kept =
        [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM, Signal::SIGTSTP];
    assert!(kept.iter().all(|it| ignored.contains(it)), "{ignored:?}");
    // A shell ignores the first two for its background jobs, and the others would break programs.
    let reset = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGCHLD];
    assert!(!reset.iter().any(|it| ignored.contains(it)), "{ignored:?}");
    assert_eq!(
        signals_in(run.log("it").lines().next().unwrap()),
        [],
        "the service must be able to receive its stop signal"
    );
}

#[test]
fn a_sigterm_that_was_ignored_on_purpose_ends_nothing() {
    let script =
        "trap '' TERM; exec \"$CGRUN\" sh -c 'touch running; until [ -e go ]; do sleep 0.01; done; exit 4'";
    let run = Session::new().start_through(&["sh", "-c", script]);
    run.until_file("running").signal(SIGTERM);
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(4).assert_silent().assert_nothing_left();
}

// --- who asks, and how often -----------------------------------------------------------------

/// systemd does this to a unit with `SendSIGHUP=yes`.
#[test]
fn a_sigterm_and_a_sighup_are_one_request() {
    let save =
        "trap 'sleep 1; touch saved; exit 0' TERM HUP; touch running; while :; do sleep 1000 & wait; done";
    Session::new();
    for pair in [[SIGTERM, SIGHUP], [SIGHUP, SIGTERM]] {
        let run = Session::again().options(LONG).sh(save).start();
        run.until_file("running").signal(pair[0]);
        // The second signal comes after the first was read, and long before the command exits.
        std::thread::sleep(Duration::from_millis(30));
        run.signal(pair[1]);
        let run = run.finish();
        run.assert_code(0).assert_nothing_left().assert_faster_than(SOON);
        assert!(run.path().join("saved").exists(), "the command was not given its grace");
    }
}

#[test]
fn a_signal_from_a_process_of_the_session_is_not_the_users() {
    // cgrun becomes the orphan's parent.
    let script = "PARENT=$PPID python3 orphan.py; for it in USR1 USR2 HUP INT QUIT TERM; do kill -$it $PPID; done; touch running; \
                   until [ -e go ]; do sleep 0.01; done; exit 4";
    let orphan = "import os, signal, time\ncgrun = int(os.environ['PARENT'])\n\
        while os.getppid() != cgrun:\n    if os.fork(): os._exit(0)\n    time.sleep(0.05)\n\
        os.kill(cgrun, signal.SIGTERM)\nopen('asked', 'w')\n";
    let run = Session::new().file("orphan.py", orphan).config(SERVICE).sh(script).start();
    run.until_file("running").until_file("asked");
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(4).assert_nothing_left();
}

/// If Xvfb is started with SIGUSR1 ignored, it sends that signal to its parent once it is ready. Its parent is cgrun,
/// because the shell in which it was started has exited.
#[test]
fn the_sigusr1_of_xvfb_does_not_reach_the_command() {
    let script = "(trap '' USR1; Xvfb -displayfd 3 -nolisten tcp 3>ready &) & \
                  until [ -s ready ]; do sleep 0.01; done; sleep 0.2; exit 4";
    Session::new().options(["--allow", "Xvfb"]).sh(script).run().assert_code(4).assert_nothing_left();
}

#[test]
fn a_signal_from_a_child_that_was_there_before_the_session_is_the_users() {
    let watchdog = "(until [ -e running ]; do sleep 0.01; done; kill -TERM $$) & exec \"$CGRUN\" \"$@\"";
    let run =
        Session::new().sh("touch running; exec sleep 1000").start_through(&["sh", "-c", watchdog, "sh"]);
    run.finish().assert_signal(SIGTERM).assert_nothing_left();
}

#[test]
fn cgrun_stop_works_from_within_the_session() {
    let run = Session::new().sh("\"$CGRUN\" stop \"$CGRUN_SESSION\"; exec sleep 1000").run();
    run.assert_signal(SIGTERM).assert_nothing_left().assert_faster_than(SOON);
}

// --- tight limits ----------------------------------------------------------------------------

#[test]
fn a_hard_limit_on_open_files_is_named_or_enough() {
    Session::new();
    let mut codes = Vec::new();
    for limit in 5..20 {
        for kind in ["cgroup", "pidns", "tree"] {
            let launch = format!("ulimit -n {limit}; exec \"$CGRUN\" \"$@\"");
            let run = Session::again().options(["--require", kind]).command(["true"]);
            let run = run.start_through(&["bash", "-c", &launch, "bash"]).finish();
            let said = run.stderr();
            let is_named = run.status.code() == Some(125)
                && said.contains("too many open files: the limit is")
                && !said.contains("leaked");
            assert!(run.status.success() && said.is_empty() || is_named, "{limit}: {}\n{said}", run.status);
            run.assert_nothing_left();
            codes.push(run.status.success());
        }
    }
    assert!(codes.contains(&false) && codes.ends_with(&[true, true, true]), "{codes:?}");
}

/// As in `docker run --pids-limit`.
#[test]
fn a_container_with_too_few_processes_is_named() {
    Session::new();
    for (limit, wanted) in [("1", 125), ("8", 0)] {
        let run = Session::again().command(["true"]);
        let launch =
            format!("echo {limit} >$PIDS/pids.max; echo 0 >$PIDS/cgroup.procs; exec \"$CGRUN\" \"$@\"");
        let pids = PidsCgroup::create();
        let run = run.env("PIDS", &pids.0).start_through(&["sh", "-c", &launch, "sh"]).finish();
        run.assert_code(wanted).assert_nothing_left();
        assert!(wanted == 0 || run.stderr().contains("process limit reached"), "{}", run.stderr());
    }
}

/// Otherwise the next files that cgrun opens would get their numbers, and be read or written by the command.
#[test]
fn closed_standard_streams_become_dev_null() {
    let cgrun = cgrun_program();
    let closed = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh", cgrun.to_str().unwrap()];
    let script = "found=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo \"$found\" >streams";
    let run = Session::new().sh(script).start_through(&closed).finish();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.read("streams"), "/dev/null\n".repeat(3));
}
