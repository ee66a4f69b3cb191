//! Simulates a user at an interactive shell on a terminal.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Instant;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use rustix::termios::{Winsize, tcsetwinsize};

use super::running::LIMIT;
use super::{Finished, Running, Session};

/// Keys, as a terminal sends them.
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_Z: &str = "\x1a";
pub(crate) const CTRL_BACKSLASH: &str = "\x1c";
pub(crate) const ENTER: &str = "\r";
pub(crate) const ESCAPE: &str = "\x1b";

/// A shell whose prompt shows the last exit code, `[0]> `. `cgrun` is in its `PATH`. The terminal does not
/// echo what is typed, so everything on the screen was written by a program.
pub(crate) struct Terminal {
    run: Running,
    master: File,
    screen: RefCell<Screen>,
}

struct Screen {
    bytes: Vec<u8>,
    /// The number of bytes that a test has consumed.
    seen: usize,
    /// A file that failing tests print.
    copy: File,
}

impl Terminal {
    pub(crate) fn start(session: Session) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        // The terminal hangs up once no process holds this end.
        fcntl(&master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        let mut modes = tcgetattr(&slave).unwrap();
        modes.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&slave, SetArg::TCSANOW, &modes).unwrap();

        let mut shell = Command::new("bash");
        let program = super::cgrun_program();
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        shell
            .args(["--norc", "--noprofile", "--noediting", "-i"])
            .env("PATH", path)
            .env("PS1", "[$?]> ")
            .env("TERM", "xterm")
            .env("HISTFILE", "")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave.try_clone().unwrap());
        let copy = File::create(session.path().join("stderr")).unwrap();
        let run = session.launch_on(shell);
        drop(slave);
        let screen = RefCell::new(Screen { bytes: Vec::new(), seen: 0, copy });
        let terminal = Self { run, master: master.into(), screen };
        terminal.resize(24, 80).prompt(0);
        terminal
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) -> &Self {
        (&self.master).write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Types a line.
    pub(crate) fn enter(&self, line: &str) -> &Self {
        self.press(line).press(ENTER)
    }

    /// Reads until `text` appears. Returns everything new up to and including it.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let screen = &mut *self.screen.borrow_mut();
            let new = &screen.bytes[screen.seen..];
            if let Some(at) = find(new, text.as_bytes()) {
                let end = at + text.len();
                screen.seen += end;
                return String::from_utf8_lossy(&new[..end]).into_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let shown = String::from_utf8_lossy(new).into_owned();
            assert!(!left.is_zero(), "never on the screen: {text:?}, but:\n{shown}");
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::try_from(left).unwrap()).unwrap() == 0 {
                continue;
            }
            let mut chunk = [0; 4096];
            // On Linux, EIO means that no process has the terminal open any more.
            let length = (&self.master).read(&mut chunk).unwrap_or(0);
            assert!(length > 0, "the shell has exited; never on the screen: {text:?}, but:\n{shown}");
            screen.bytes.extend_from_slice(&chunk[..length]);
            screen.copy.write_all(&chunk[..length]).unwrap();
        }
    }

    /// Waits for the shell's prompt with this exit code in it. Returns everything before it.
    #[track_caller]
    pub(crate) fn prompt(&self, code: i32) -> String {
        let mut shown = self.shows("]> ");
        let prompt = shown.split_off(shown.rfind('[').unwrap());
        assert_eq!(prompt, format!("[{code}]> "), "{shown}");
        shown
    }

    /// Changes the size of the window.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> &Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
        self
    }

    /// Exits the shell, which must be at its prompt.
    pub(crate) fn leave(self) -> Finished {
        self.enter("exit 0");
        self.finish()
    }

    /// Waits until the shell has exited, or what it executed in its place.
    pub(crate) fn finish(self) -> Finished {
        let Self { run, master, .. } = self;
        let finished = run.finish();
        drop(master);
        finished
    }

    /// Closes the window, possibly while programs run in it, and waits until all of them have exited.
    pub(crate) fn close(self) -> Finished {
        let Self { run, master, .. } = self;
        drop(master);
        run.until("all processes have exited", || run.members().is_empty());
        run.finish()
    }
}

impl Deref for Terminal {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.run
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
