//! At a real terminal, in a shell with job control, cgrun behaves as the command alone would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal::{self, SIGHUP};

use crate::fixtures::{NEVER_READY, STUBBORN};
use crate::harness::terminal::{CTRL_BACKSLASH, CTRL_C, CTRL_Z, ENTER, ESCAPE};
use crate::harness::{Session, Terminal};

/// A script that runs until the file `go` exists, whatever is typed. `ints` counts the Ctrl-Cs.
const UNTIL_GO: &str = "trap 'echo >>ints' INT; touch running; until [ -e go ]; do sleep 0.02; done; exit 5";

/// A service that uses part of its grace to save its state.
const SAVER: &str = r#"
[session]
grace = "60s"
[services.saver]
command = ["sh", "-c", "trap 'sleep 1; touch saved; exit' TERM; echo ready; while :; do sleep 1000 & wait; done"]
ready = { log = "ready" }
"#;

fn until_go() -> Terminal {
    Session::new().file("until_go", UNTIL_GO).on_terminal()
}

impl Terminal {
    fn go(&self) {
        std::fs::write(self.path().join("go"), "").unwrap();
    }

    fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    fn ctrl_cs(&self) -> usize {
        std::fs::read_to_string(self.path().join("ints")).unwrap_or_default().lines().count()
    }

    fn until_frozen(&self, frozen: bool) {
        let events = self.session_cgroup().join("cgroup.events");
        let wanted = format!("frozen {}\n", u8::from(frozen));
        self.until(&wanted, || std::fs::read_to_string(&events).unwrap().contains(&wanted));
    }

    /// Waits until the command has finished drawing and waits for a key.
    fn until_command_waits(&self) {
        let procs = self.session_cgroup().join("command/cgroup.procs");
        let sleeps =
            |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") S ");
        self.until("the command waits", || std::fs::read_to_string(&procs).unwrap().lines().all(sleeps));
    }

    fn until_command_is_in_foreground(&self) {
        let procs = self.session_cgroup().join("command/cgroup.procs");
        let has_terminal = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            // Its process group is that of the terminal, and it is not stopped (proc_pid_stat(5)).
            fields[2] == fields[5] && fields[0] != "T"
        };
        self.until("the terminal", || std::fs::read_to_string(&procs).unwrap().lines().all(has_terminal));
    }

    /// Stops the job with Ctrl-Z and waits for the prompt.
    fn stop(&self) {
        self.press(CTRL_Z).shows("Stopped");
        self.prompt(128 + 20);
        self.until_frozen(true);
    }
}

// --- Ctrl-C ------------------------------------------------------------------------------

#[test]
fn ctrl_c_reaches_the_command_once() {
    let terminal = until_go();
    terminal.enter("cgrun sh until_go").until_file("running");
    terminal.press(CTRL_C).until("a Ctrl-C", || terminal.ctrl_cs() > 0);
    terminal.go();
    terminal.prompt(5);
    assert_eq!(terminal.ctrl_cs(), 1);
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_c_leaves_pytest_its_exit_code() {
    let tests = "import pathlib, time\n\ndef test_long():\n    pathlib.Path('running').touch()\n    while True: time.sleep(0.02)\n";
    let terminal = Session::new().file("test_it.py", tests).on_terminal();
    terminal.enter(&format!("cgrun {} test_it.py", pytest().display())).until_file("running");
    terminal.press(CTRL_C);
    let shown = terminal.prompt(2);
    assert!(shown.contains("KeyboardInterrupt") && !shown.contains("cgrun:"), "{shown}");
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_c_that_kills_the_command_ends_a_loop_of_the_shell() {
    let terminal = Session::new().on_terminal();
    let script = "for it in 1 2 3; do echo round $it; cgrun sh -c 'touch running; exec sleep 1000'; done";
    terminal.enter(script).until_file("running");
    terminal.press(CTRL_C);
    let shown = terminal.prompt(130);
    assert!(shown.contains("round 1") && !shown.contains("round 2"), "{shown}");
    assert!(!shown.contains("cgrun:"), "{shown}");
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_second_ctrl_c_within_the_grace_ends_the_session_at_once() {
    let terminal = Session::new().config(SAVER).on_terminal();
    terminal.enter("cgrun python3 $HELPERS/ignore.py INT TERM").until_file("ignoring");
    terminal.press(CTRL_C).until_file("got-SIGINT");
    // A signal that is still pending at cgrun would swallow the next one (signal(7)).
    std::thread::sleep(Duration::from_millis(600));
    terminal.press(CTRL_C).prompt(130);
    assert!(!terminal.has("saved"), "the grace was not cut short");
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_ctrl_c_long_after_another_counts_as_the_first() {
    let terminal = until_go();
    terminal.enter("cgrun --grace 300ms sh until_go").until_file("running");
    for count in 1..=2 {
        terminal.press(CTRL_C).until("a Ctrl-C", || terminal.ctrl_cs() == count);
        std::thread::sleep(Duration::from_millis(400));
    }
    terminal.go();
    terminal.prompt(5);
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_c_during_startup_ends_the_session() {
    let terminal = Session::new().config(NEVER_READY).on_terminal();
    terminal.enter("cgrun touch ran").until_file("started");
    terminal.press(CTRL_C).prompt(130);
    assert!(!terminal.has("ran"));
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_c_during_cleanup_warns_and_the_next_one_kills() {
    let terminal = Session::new().config(STUBBORN).on_terminal();
    terminal.enter("cgrun sh -c 'exit 3'").until_file("asked");
    terminal.press(CTRL_C).shows("received SIGINT while cleaning up; send it again to kill everything now");
    // Two signals that arrive within 20 ms would count as one.
    std::thread::sleep(Duration::from_millis(200));
    terminal.press(CTRL_C).prompt(3);
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_command_that_signals_its_whole_job_does_not_end_the_session() {
    let terminal = Session::new().on_terminal();
    terminal.enter("cgrun bash -c \"trap '' TERM; kill 0; exit 5\"").prompt(5);
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_backslash_ends_the_session_as_it_would_the_command() {
    let terminal = Session::new().config(SAVER).on_terminal();
    terminal.enter("ulimit -c 0; cgrun sh -c 'touch running; exec sleep 1000'").until_file("running");
    terminal.press(CTRL_BACKSLASH).prompt(131);
    assert!(terminal.has("saved"));
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_backslash_asks_a_command_that_handles_it_and_cgrun_what_runs() {
    let script = "trap 'echo dump' QUIT; touch running; until [ -e go ]; do sleep 0.02; done; exit 5";
    let terminal = Session::new().file("handles", script).on_terminal();
    terminal.enter("cgrun sh handles").until_file("running");
    let shown = terminal.press(CTRL_BACKSLASH).shows("look at ");
    assert!(shown.contains("the command is still running; Ctrl-\\ again ends the session:"), "{shown}");
    terminal.go();
    terminal.prompt(5);
    terminal.leave().assert_nothing_left();
}

#[test]
fn cgrun_dies_of_the_ctrl_backslash_that_its_command_handles_and_dies_of() {
    let script = "import os, signal, time\n\
        def dump(*_):\n    \
            print('dump', flush=True)\n    \
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)\n    \
            os.kill(os.getpid(), signal.SIGQUIT)\n\
        signal.signal(signal.SIGQUIT, dump)\n\
        open('running', 'w').close()\n\
        while True: time.sleep(1)\n";
    let terminal = Session::new().file("handles.py", script).on_terminal();
    terminal.enter("ulimit -c 0; cgrun python3 handles.py").until_file("running");
    terminal.press(CTRL_BACKSLASH).shows("dump");
    // The shell says so of a process that died of the signal.
    terminal.shows("Quit");
    terminal.prompt(131);
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_second_ctrl_backslash_ends_the_session() {
    let script = "trap '' QUIT; touch running; until [ -e go ]; do sleep 0.02; done; exit 5";
    let terminal = Session::new().file("ignores", script).on_terminal();
    terminal.enter("cgrun --grace 1s sh ignores").until_file("running");
    terminal.press(CTRL_BACKSLASH).shows("still running");
    terminal.press(CTRL_BACKSLASH).prompt(131);
    terminal.leave().assert_nothing_left();
}

// --- Ctrl-Z ------------------------------------------------------------------------------

#[test]
fn ctrl_z_stops_the_whole_session_and_fg_resumes_it() {
    let ticking = "[services.clock]\ncommand = ['sh', '-c', 'while :; do echo tick; sleep 0.02; done']\n\
        ready = { log = 'tick' }";
    let terminal = Session::new().file("until_go", UNTIL_GO).config(ticking).on_terminal();
    terminal.enter("cgrun sh until_go").until_file("running");
    let ticks = || std::fs::metadata(terminal.log_path("clock")).unwrap().len();
    terminal.stop();
    let before = ticks();
    // The test is that nothing happens in this time.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ticks(), before, "the service kept running");
    terminal.enter("fg").until_frozen(false);
    terminal.until("the service goes on", || ticks() > before);
    terminal.stop();
    terminal.enter("fg").until_frozen(false);
    terminal.go();
    terminal.prompt(5);
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_command_that_stops_itself_stops_the_session() {
    // Pagers do this: they restore the terminal first, some only at the next key.
    let terminal = Session::new().on_terminal();
    terminal.enter("cgrun sh -c 'kill -TSTP $$; exit 5'").shows("Stopped");
    terminal.prompt(148);
    terminal.until_frozen(true);
    terminal.enter("fg").prompt(5);
    terminal.leave().assert_nothing_left();
}

#[test]
fn bg_resumes_the_session() {
    let terminal = until_go();
    terminal.enter("cgrun sh until_go").until_file("running");
    terminal.stop();
    terminal.enter("bg").prompt(0);
    terminal.until_frozen(false);
    terminal.enter("echo $((6 * 7))").shows("42");
    terminal.prompt(0);
    terminal.go();
    terminal.enter("wait %1").prompt(5);
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_z_during_startup_stops_the_session() {
    let config = "[services.slow]\nready = { log = 'here', timeout = '3s' }\n\
        command = ['sh', '-c', 'touch started; until [ -e go ]; do sleep 0.02; done; echo here; exec sleep 1000']";
    let terminal = Session::new().config(config).on_terminal();
    terminal.enter("cgrun echo ran").until_file("started");
    terminal.stop();
    std::thread::sleep(Duration::from_millis(3500));
    terminal.enter("fg").until_frozen(false);
    terminal.go();
    assert!(terminal.prompt(0).contains("ran"));
    terminal.leave().assert_nothing_left();
}

#[test]
fn no_deadline_passes_while_the_session_is_stopped() {
    let terminal = until_go();
    terminal.enter("cgrun --timeout 3s sh until_go").until_file("running");
    terminal.stop();
    std::thread::sleep(Duration::from_millis(3500));
    terminal.enter("fg").until_frozen(false);
    terminal.go();
    terminal.prompt(5);
    terminal.leave().assert_nothing_left();
}

#[test]
fn kill_ends_a_stopped_session() {
    let terminal = Session::new().config(SAVER).on_terminal();
    terminal.enter("cgrun sh -c 'touch running; exec sleep 1000'").until_file("running");
    terminal.stop();
    // With -b the shell reports a change of its jobs at once.
    terminal.enter("set -b").prompt(0);
    terminal.enter("kill %1").shows("Terminated");
    assert!(terminal.has("saved"));
    terminal.leave().assert_nothing_left();
}

// --- background --------------------------------------------------------------------------

#[test]
fn a_session_in_the_background_leaves_the_terminal_to_the_shell() {
    let terminal = until_go();
    terminal.enter("cgrun sh until_go &").prompt(0);
    terminal.until_file("running");
    terminal.enter("read line").enter("typed for the shell").prompt(0);
    terminal.enter("echo $line").shows("typed for the shell");
    terminal.prompt(0);
    terminal.press(CTRL_C).prompt(130);
    terminal.go();
    terminal.enter("wait %1").prompt(5);
    assert_eq!(terminal.ctrl_cs(), 0);
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_background_command_that_reads_the_keyboard_stops_until_fg() {
    let terminal = Session::new().on_terminal();
    // With -b the shell reports a change of its jobs at once.
    terminal.enter("set -b").prompt(0);
    terminal.enter("cgrun sh -c 'read line; echo \"got <$line>\"' &").prompt(0);
    terminal.shows("Stopped");
    terminal.enter("jobs -l").shows("Stopped (tty input)");
    terminal.until_frozen(true);
    terminal.enter("fg").until_frozen(false);
    terminal.enter("hello").shows("got <hello>");
    terminal.prompt(0);
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_report_from_the_background_does_not_stop_it() {
    let terminal = until_go();
    terminal.enter("stty tostop").prompt(0);
    terminal.enter("cgrun -v --on-leak fail sh -c 'sleep 1000 & exit 0' &").prompt(0);
    terminal.enter("wait %1");
    let shown = terminal.prompt(121);
    assert!(shown.contains("cgrun:") && shown.contains("sleep 1000"), "{shown}");
    terminal.leave().assert_nothing_left();
}

// --- process groups of the command's own ---------------------------------------------------

/// Makes its own process group, says so, and prints what it reads.
const OWN_GROUP: &str =
    "import os, sys\nos.setpgrp()\nopen('running', 'w')\nprint('got', sys.stdin.readline().strip())\n";

#[test]
fn a_command_in_a_process_group_of_its_own_reads_the_keyboard() {
    let terminal = Session::new().file("own.py", OWN_GROUP).on_terminal();
    terminal.enter("cgrun python3 own.py; echo then $?").until_file("running");
    terminal.enter("hello").shows("got hello");
    terminal.shows("then 0");
    terminal.prompt(0);
    terminal.leave().assert_nothing_left();
}

#[test]
fn the_child_of_timeout_reads_the_keyboard() {
    let terminal = Session::new().on_terminal();
    terminal.enter("cgrun timeout 60 head -n1");
    terminal.enter("hello").shows("hello");
    terminal.prompt(0);
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_z_stops_a_command_in_a_process_group_of_its_own() {
    let terminal = Session::new().file("own.py", OWN_GROUP).file("job", "cgrun python3 own.py").on_terminal();
    // Once as the shell's job, once in a script that is the job and has to stop too.
    for job in ["cgrun python3 own.py", "sh job"] {
        terminal.enter(job).until_file("running");
        terminal.until_command_is_in_foreground();
        terminal.stop();
        terminal.enter("fg").until_frozen(false);
        terminal.enter("hello").shows("got hello");
        terminal.prompt(0);
        std::fs::remove_file(terminal.path().join("running")).unwrap();
    }
    terminal.leave().assert_nothing_left();
}

#[test]
fn ctrl_c_during_cleanup_reaches_cgrun_after_a_command_had_the_terminal() {
    let terminal = Session::new().file("own.py", OWN_GROUP).config(STUBBORN).on_terminal();
    terminal.enter("cgrun python3 own.py").until_file("running");
    terminal.enter("hello").until_file("asked");
    terminal.press(CTRL_C).shows("received SIGINT while cleaning up; send it again to kill everything now");
    std::thread::sleep(Duration::from_millis(200));
    terminal.press(CTRL_C).prompt(0);
    terminal.leave().assert_nothing_left();
}

/// Without a shell above, nothing could continue a stopped job.
#[test]
fn as_the_terminals_first_process_cgrun_serves_a_command_in_a_process_group_of_its_own() {
    let terminal = Session::new().file("own.py", OWN_GROUP).on_terminal();
    terminal.enter("exec cgrun python3 own.py").until_file("running");
    terminal.enter("hello").shows("got hello");
    terminal.finish().assert_code(0).assert_nothing_left();
}

/// The terminal belongs to another process group of the session, so that the command has to wait for it.
#[test]
fn a_command_that_no_shell_can_continue_does_not_keep_the_processor_busy() {
    let rival = "import os, time\nr = os.open('/dev/tty', os.O_RDWR)\nif os.fork() == 0:\n    os.setpgrp()\n    \
        import signal; signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n    os.tcsetpgrp(r, os.getpgrp())\n    \
        open('taken', 'w')\n    while not os.path.exists('go'): time.sleep(0.01)\n    os._exit(0)\n\
        while not os.path.exists('taken'): time.sleep(0.01)\nos.setpgrp()\nopen('running', 'w')\n\
        print('got', os.read(r, 10))\n";
    let terminal = Session::new().file("rival.py", rival).on_terminal();
    terminal.enter("exec cgrun python3 rival.py").until_file("running");
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", terminal.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    // The test is that little is done in this time; a tick is 10 ms.
    std::thread::sleep(Duration::from_secs(2));
    let used = ticks() - before;
    assert!(used < 20, "{used} ticks");
    terminal.go();
    terminal.enter("hello").shows("got b'hello");
    terminal.finish().assert_code(0).assert_nothing_left();
}

// --- the terminal's modes --------------------------------------------------------------------

const RAW: &str = "import time, tty\ntty.setraw(0)\nopen('raw', 'w')\ntime.sleep(1000)\n";

fn assert_modes_are_restored(launch: &str, code: i32, end: impl Fn(&Terminal)) {
    let terminal = Session::new().file("raw.py", RAW).on_terminal();
    let modes = || {
        terminal.enter("stty -a");
        terminal.prompt(0)
    };
    let before = modes();
    assert!(before.contains("icanon"), "{before}");
    terminal.enter(launch).until_file("raw");
    end(&terminal);
    terminal.prompt(code);
    assert_eq!(modes(), before);
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_command_that_is_killed_in_raw_mode_leaves_the_terminal_in_order() {
    assert_modes_are_restored("cgrun sh -c 'echo $$ >pid; exec python3 raw.py'", 137, |terminal| {
        let pid = std::fs::read_to_string(terminal.path().join("pid")).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    });
}

#[test]
fn a_timeout_in_raw_mode_leaves_the_terminal_in_order() {
    assert_modes_are_restored("cgrun --timeout 2s python3 raw.py", 124, |_| {});
}

#[test]
fn modes_that_the_command_sets_and_leaves_are_kept() {
    let terminal = Session::new().on_terminal();
    terminal.enter("cgrun stty -iutf8 tostop").prompt(0);
    terminal.enter("stty -a").shows(" tostop");
    terminal.prompt(0);
    terminal.leave().assert_nothing_left();
}

// --- programs that use the terminal --------------------------------------------------------

#[test]
fn a_shell_inside_has_job_control() {
    let terminal = Session::new().on_terminal();
    let inner = |code: i32| {
        let shown = terminal.shows("]inner> ");
        assert!(shown.ends_with(&format!("[{code}]inner> ")), "{shown}");
        shown
    };
    terminal.enter("cgrun env PS1='[$?]inner> ' bash --norc --noprofile --noediting -i");
    assert!(!inner(0).contains("no job control"));
    terminal.enter("sh -c 'touch one; exec sleep 1000'").until_file("one");
    terminal.press(CTRL_C);
    inner(130);
    terminal.enter("python3 $HELPERS/ignore.py CONT").until_file("ignoring");
    terminal.press(CTRL_Z).shows("Stopped");
    inner(148);
    terminal.enter("fg").until_file("got-SIGCONT");
    terminal.press(CTRL_C);
    inner(130);
    terminal.enter("exit 7").prompt(7);
    terminal.leave().assert_nothing_left();
}

/// Runs `program` under cgrun and asserts that the terminal is in the same mode before it starts, while it is
/// stopped, and after it has exited.
fn assert_terminal_is_left_in_order(terminal: &Terminal, program: &str, quit: &str, drive: impl Fn()) {
    let modes = || {
        terminal.enter("stty -a");
        terminal.prompt(0)
    };
    let before = modes();
    assert!(before.contains("icanon"), "{before}");
    terminal.enter(&format!("cgrun {program}"));
    drive();
    // less notices a signal that arrives while it draws only at the next key.
    terminal.until_command_waits();
    terminal.stop();
    assert_eq!(modes(), before, "stopped");
    terminal.enter("fg").until_frozen(false);
    drive();
    terminal.press(quit).prompt(0);
    assert_eq!(modes(), before, "exited");
}

#[test]
fn less_leaves_the_terminal_in_order() {
    let lines: String = (1..=200).map(|number| format!("line {number};\n")).collect();
    let terminal = Session::new().file("lines", lines).on_terminal();
    assert_terminal_is_left_in_order(&terminal, "less lines", "q", || {
        terminal.press("G").shows("line 200;");
        terminal.press("g").shows("line 1;");
    });
    terminal.leave().assert_nothing_left();
}

#[test]
fn an_editor_leaves_the_terminal_in_order() {
    let terminal = Session::new().file("note", "written before\n").on_terminal();
    assert_terminal_is_left_in_order(&terminal, "vi -u NONE note", ":wq\r", || {
        terminal.shows("written before");
        terminal.press("Oinserted").shows("inserted");
        terminal.press(ESCAPE);
    });
    let run = terminal.leave();
    run.assert_nothing_left();
    assert_eq!(run.read("note"), "inserted\ninserted\nwritten before\n");
}

#[test]
fn the_debugger_of_pytest_survives_ctrl_c() {
    let tests = "def test_wrong():\n    assert 1 == 2\n";
    let terminal = Session::new().file("test_it.py", tests).on_terminal();
    let debug = |launcher: &str, code: i32| {
        terminal.enter(&format!("{launcher} {} --pdb test_it.py", pytest().display())).shows("(Pdb) ");
        // Python may show its prompt, then receive a signal, and handle it only after the next key.
        terminal.press(CTRL_C).press(ENTER).shows("KeyboardInterrupt");
        terminal.enter("p 6*7").shows("42");
        terminal.shows("(Pdb) ");
        terminal.enter("q");
        let shown = terminal.prompt(code);
        assert!(!shown.contains("cgrun:"), "{shown}");
    };
    debug("", 2);
    debug("cgrun", 2);
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_new_window_size_reaches_the_command() {
    let script =
        "trap 'touch resized' WINCH; touch running; until [ -e resized ]; do sleep 0.02; done; stty size";
    let terminal = Session::new().on_terminal();
    terminal.enter(&format!("cgrun sh -c \"{script}\"")).until_file("running");
    terminal.resize(50, 132).shows("50 132");
    terminal.prompt(0);
    terminal.leave().assert_nothing_left();
}

#[test]
fn a_pipeline_ends_as_it_does_without_cgrun() {
    let terminal = Session::new().on_terminal();
    for launcher in ["", "cgrun"] {
        terminal.enter(&format!("{launcher} sh -c yes | head -1; echo \"${{PIPESTATUS[@]}}\""));
        let shown = terminal.prompt(0);
        assert_eq!(shown, "y\r\n141 0\r\n", "{launcher}");
    }
    terminal.leave().assert_nothing_left();
}

// --- the terminal goes away ----------------------------------------------------------------

/// Asserts that everything exits when the terminal closes. The shell passes the SIGHUP on and dies of it.
fn assert_closing_ends_everything(terminal: Terminal) {
    let run = terminal.close();
    run.assert_signal(SIGHUP).assert_nothing_left();
    assert!(run.path().join("saved").exists(), "the service was not given its grace");
}

#[test]
fn a_closed_terminal_ends_the_session() {
    let terminal = Session::new().config(SAVER).on_terminal();
    // The kernel sends another SIGHUP after the shell has exited. Both count as one hangup.
    terminal.enter("trap 'sleep 0.3' EXIT").prompt(0);
    terminal.enter("cgrun sh -c 'touch running; exec sleep 1000'").until_file("running");
    assert_closing_ends_everything(terminal);
}

#[test]
fn a_closed_terminal_ends_a_session_in_the_background() {
    let terminal = Session::new().config(SAVER).on_terminal();
    terminal.enter("cgrun sh -c 'touch running; exec sleep 1000' &").until_file("running");
    terminal.prompt(0);
    assert_closing_ends_everything(terminal);
}

#[test]
fn a_closed_terminal_ends_a_stopped_session() {
    let terminal = Session::new().config(SAVER).on_terminal();
    terminal.enter("cgrun sh -c 'touch running; exec sleep 1000'").until_file("running");
    terminal.stop();
    assert_closing_ends_everything(terminal);
}

// --- the status line -----------------------------------------------------------------------

const SLOW: &str = r#"
[services.slow]
command = ["sh", "-c", "touch started; until [ -e go ]; do sleep 0.02; done; echo here; exec sleep 1000"]
ready = { log = "here" }
"#;

const WAITING: &str = "\r\x1b[2Kcgrun: waiting for slow (";

#[test]
fn the_status_line_is_drawn_and_erased() {
    let terminal = Session::new().config(SLOW).on_terminal();
    terminal.enter("cgrun echo ran");
    let mut shown = terminal.shows(WAITING);
    terminal.go();
    shown += &terminal.prompt(0);
    // Everything is drawn on the same line, which is empty at the end.
    let (waited, after) = shown.rsplit_once("\r\x1b[2K").unwrap();
    assert_eq!(after, "ran\r\n");
    assert!(!waited.contains('\n'), "{waited:?}");
    terminal.leave().assert_nothing_left();
}

#[test]
fn the_status_line_is_not_drawn_from_the_background() {
    let terminal = Session::new().config(SLOW).on_terminal();
    terminal.enter("cgrun echo ran").shows(WAITING);
    terminal.stop();
    terminal.enter("bg").prompt(0);
    terminal.until_frozen(false);
    // The test is that nothing is drawn in this time.
    std::thread::sleep(Duration::from_millis(500));
    terminal.go();
    terminal.enter("wait %1");
    let shown = terminal.prompt(0);
    assert!(shown.contains("ran") && !shown.contains("waiting"), "{shown}");
    terminal.leave().assert_nothing_left();
}

fn pytest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/demo/venv/bin/pytest")
}
