//! The supervisor's signals, read from a signalfd, and how it stops or kills itself with a signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::Pid;

/// The signals that the supervisor acts on. Blocking SIGTTOU also keeps the terminal from stopping a write
/// from the background (termios(3), `TOSTOP`).
const HANDLED: [Signal; 11] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
];

/// Signals that stay ignored if they were ignored when we started: this was done on purpose, for example by nohup(1),
/// so that the command does not exit or stop because of them. SIGINT and SIGQUIT are not here, because a shell without
/// job control ignores them in every job it starts in the background.
const LEFT_IGNORED: [Signal; 5] =
    [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// The error number of a signal that the guardian relays (sigaction(2), `si_errno`). No real signal has it.
pub(super) const RELAYED: libc::c_int = 0x6367;

/// A signal that we received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caught {
    pub signal: Signal,
    /// The kernel sent it for the terminal, so the whole foreground group has received it.
    pub from_terminal: bool,
}

impl Caught {
    /// Whether it asks us to exit.
    pub(crate) fn is_about_ending(self) -> bool {
        matches!(self.signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
    }

    /// Whether it asks us to pause: Ctrl-Z, or the use of the terminal from the background.
    pub(crate) fn is_about_stopping(self) -> bool {
        self.signal == Signal::SIGTSTP || self.is_about_terminal_use()
    }

    /// Whether it is for the use of the terminal from the background.
    pub(crate) fn is_about_terminal_use(self) -> bool {
        matches!(self.signal, Signal::SIGTTIN | Signal::SIGTTOU)
    }
}

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A process that we can see sent it with kill(2).
    Process(Pid),
    /// The guardian received it and passed it on.
    Guardian,
    /// The kernel, a process outside our PID namespace, or one that used sigqueue(3).
    Other,
}

/// Signals that are blocked and read from a signalfd.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks the handled signals in this (the only) thread.
    pub(crate) fn block() -> io::Result<Self> {
        let mut caught = SigSet::empty();
        for signal in HANDLED {
            if !(LEFT_IGNORED.contains(&signal) && is_ignored(signal as i32)) {
                caught.add(signal);
            }
        }
        caught.thread_block()?;
        // SIGCONT continues us even if blocked. While it is pending we can see that it came.
        SigSet::from(Signal::SIGCONT).thread_block()?;
        // If SIGCHLD were inherited as ignored, the kernel would reap our children itself and we would not
        // know. SAFETY: SIG_DFL is no handler of ours, so nothing of ours runs in signal context.
        unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        // A report larger than the file size limit (setrlimit(2)) should be an error, not kill us. SAFETY: as
        // above, for SIG_IGN.
        unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
        Ok(Self(SignalFd::with_flags(&caught, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// SIGTERM alone, which must be blocked already. `None` if it was ignored when we started.
    pub(crate) fn sigterm() -> io::Result<Option<Self>> {
        if is_ignored(Signal::SIGTERM as i32) {
            return Ok(None);
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Some(Self(SignalFd::with_flags(&SigSet::from(Signal::SIGTERM), flags)?)))
    }

    /// Those that ask us to exit, which must be blocked already: to notice that one has come without reading it.
    pub(crate) fn about_ending() -> io::Result<Self> {
        let asks = |signal: &Signal| Caught { signal: *signal, from_terminal: false }.is_about_ending();
        let ours: SigSet = HANDLED.into_iter().filter(asks).filter(|&it| !is_ignored(it as i32)).collect();
        Ok(Self(SignalFd::with_flags(&ours, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next pending signal, without waiting, and where it comes from.
    pub(crate) fn next(&self) -> io::Result<Option<(Caught, Sender)>> {
        while let Some(info) = self.0.read_signal()? {
            if let Ok(signal) = Signal::try_from(info.ssi_signo as i32) {
                let from_terminal = info.ssi_code == libc::SI_KERNEL;
                let sender = match info.ssi_code {
                    libc::SI_USER | libc::SI_TKILL => {
                        Pid::from_raw(info.ssi_pid as i32).map_or(Sender::Other, Sender::Process)
                    }
                    libc::SI_QUEUE if info.ssi_errno == RELAYED => Sender::Guardian,
                    _ => Sender::Other,
                };
                return Ok(Some((Caught { signal, from_terminal }, sender)));
            }
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets SIGSEGV and SIGBUS kill us, as they kill other programs. Rust's own handler detects a stack overflow,
/// but swallows the first such signal that another process sends.
#[cfg(not(all(not(test), target_env = "gnu")))]
pub(crate) fn die_of_crashes() {
    for signal in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: SIG_DFL is no handler of ours, so nothing of ours runs in signal context.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
}

/// Whether a blocked `signal` is pending. A stop signal discards a pending SIGCONT.
pub(crate) fn is_pending(signal: Signal) -> bool {
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending(2) fills `pending` if it returns 0, and only then is it read.
    unsafe {
        libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), signal as i32) == 1
    }
}

/// Whether this process ignores `signal`, as inherited from its parent.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null `act` only reads the present disposition into `current` (sigaction(2)).
    let rc = unsafe { libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) };
    // SAFETY: on success the kernel has filled `current`.
    rc == 0 && unsafe { current.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Stops this process with `signal`, so that our parent sees that signal. Returns when we are continued. In
/// an orphaned process group (setpgid(2)), which no shell could continue, the kernel does not stop us and
/// this returns at once.
pub(crate) fn stop_by(signal: Signal) -> io::Result<()> {
    nix::sys::signal::raise(signal)?;
    deliver(signal)
}

/// Like [`stop_by`], but stops our whole process group.
pub(crate) fn stop_group_by(signal: Signal) -> io::Result<()> {
    nix::sys::signal::killpg(nix::unistd::getpgrp(), signal)?;
    deliver(signal)
}

/// Lets a pending signal have its effect on us.
fn deliver(signal: Signal) -> io::Result<()> {
    let set = SigSet::from(signal);
    set.thread_unblock()?;
    Ok(set.thread_block()?)
}

/// Kills this process with a real SIGSEGV, for tests.
#[cfg(debug_assertions)]
pub(crate) fn crash() -> ! {
    // SAFETY: none; that is the purpose. The page at 8 is never mapped, so the kernel sends SIGSEGV.
    unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(0) };
    std::process::abort()
}

/// Kills this process with `signal`, so that our parent sees that signal. Leaves no core dump.
pub(crate) fn die_of(signal: Signal) -> ! {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let mut set = SigSet::empty();
    set.add(signal);
    // SAFETY: SIG_DFL is no handler of ours, so nothing of ours runs in signal context.
    let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    let _ = nix::sys::signal::raise(signal);
    let _ = set.thread_unblock();
    // Reached only if the default action of the signal is not to kill the process.
    std::process::exit(128 + signal as i32)
}
