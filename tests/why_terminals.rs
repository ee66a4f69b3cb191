//! `cgrun why` follows terminals to both ends: the program that reads one, and the program that could type there.

use crate::harness::Session;
use crate::why::{end, explained, script, session};

/// Writes the session's id to a file, as `session` does.
const NAMED: &str = "echo $CGRUN_SESSION >new-id; mv new-id id;";

/// Starts a program at a terminal of its own, and executes `then` with `master`, its other end.
fn at_own_terminal(program: &str, then: &str) -> String {
    format!(
        "import os, pty, time\n\
         pid, master = pty.fork()\n\
         if pid == 0: os.execvp('sh', ['sh', '-c', '''{program}'''])\n\
         {then}"
    )
}

#[test]
fn why_says_that_a_process_reads_the_terminal() {
    for ask in ["python3 -c 'input()'", "bash -c 'read -e line'", "cat /dev/tty"] {
        let terminal = Session::new().on_terminal();
        std::fs::write(terminal.path().join("ask.sh"), format!("{NAMED} {ask}; :")).unwrap();
        terminal.enter("cgrun sh ask.sh");
        let program = ask.replace('\'', "");
        explained(&terminal, &[&format!("({program}): it reads "), "the terminal /dev/pts/"], &[]);
        terminal.press("\x03").shows("]> ");
        terminal.leave().assert_nothing_left();
    }
}

#[test]
fn why_says_that_a_process_in_the_background_wanted_the_terminal() {
    let terminal = Session::new().on_terminal();
    std::fs::write(terminal.path().join("job.sh"), format!("{NAMED} python3 job.py; :")).unwrap();
    let job = "import os, subprocess\nsubprocess.run('cat', preexec_fn=os.setpgrp)";
    std::fs::write(terminal.path().join("job.py"), job).unwrap();
    terminal.enter("cgrun sh job.sh");
    let why = "(cat): it is stopped by SIGTTIN: it reads the terminal, but runs in the background";
    explained(&terminal, &[why], &[]);
    terminal.press("\x03").shows("]> ");
    terminal.leave().assert_nothing_left();
}

#[test]
fn why_follows_a_terminal_to_the_program_that_asks_a_question() {
    let run = script("mkfifo keys; exec 3<>keys; script -qc 'sleep 0; cat' /dev/null <&3").start();
    explained(
        &run,
        &["(cat): it reads its stdin, the terminal /dev/pts/", ", at which ", "could type"],
        &["waits for events, among them output of "],
    );
    end(run);
}

#[test]
fn why_names_the_program_that_asks_what_nobody_expects() {
    let expect = at_own_terminal(
        "stty -echo; read password",
        "text = b''\nwhile b'Welcome' not in text: text += os.read(master, 100)",
    );
    let run = session(&["python3", "expect.py"]).file("expect.py", expect).start();
    explained(
        &run,
        &[
            "(sh -c stty -echo; read password): it reads its stdin, the terminal /dev/pts/",
            "(python3 expect.py) could type",
        ],
        &["waits for output of ", " at the terminal /dev/pts/"],
    );
    end(run);
}

#[test]
fn why_names_the_program_that_does_not_read_the_terminal_of_another() {
    let silent = at_own_terminal("exec yes", "os.waitpid(pid, 0)");
    let run = session(&["python3", "silent.py"]).file("silent.py", silent).start();
    explained(
        &run,
        &["these two wait for each other: ", "(python3 silent.py)", "(yes)"],
        &["writes to the terminal /dev/pts/", "waits for its child "],
    );
    end(run);
}

#[test]
fn why_follows_tmux_to_the_program_in_its_window() {
    let terminal = Session::new().on_terminal();
    let tmux = format!("{NAMED} exec tmux -S socket -f /dev/null new-session 'read line; :'");
    std::fs::write(terminal.path().join("tmux.sh"), tmux).unwrap();
    terminal.enter("cgrun sh tmux.sh");
    explained(&terminal, &["read line; :): it reads its stdin, the terminal /dev/pts/", "(tmux "], &[]);
    terminal.press("\r").shows("]> ");
    terminal.leave().assert_nothing_left();
}
