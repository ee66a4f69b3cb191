//! The supervisor's signals, read from a signalfd, and the last one it may die of.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What the supervisor acts on. Blocking SIGTTOU also means that a report written from the background
/// is not stopped by the terminal (termios(3), `TOSTOP`).
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

/// One signal that came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caught {
    pub signal: Signal,
    /// The kernel sent it for the terminal, so that the whole foreground group has it already.
    pub from_terminal: bool,
}

impl Caught {
    /// Whether it asks us to end.
    pub(crate) fn is_about_ending(self) -> bool {
        matches!(self.signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
    }

    /// Whether it asks us to stop for a while: Ctrl-Z, or the use of the terminal from the background.
    pub(crate) fn is_about_stopping(self) -> bool {
        matches!(self.signal, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU)
    }
}

/// All handled signals, blocked and turned into reads.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks the handled signals in this (the only) thread. A SIGHUP that was ignored when we
    /// started (`nohup`) stays ignored.
    pub(crate) fn block() -> io::Result<Self> {
        let mut caught = SigSet::empty();
        for signal in HANDLED {
            if signal != Signal::SIGHUP || !is_ignored(signal as i32) {
                caught.add(signal);
            }
        }
        caught.thread_block()?;
        // It continues us all the same; pending, it tells that it came.
        SigSet::from(Signal::SIGCONT).thread_block()?;
        // Inherited as ignored, the kernel would reap our children by itself and tell us nothing.
        // SAFETY: SIG_DFL is no handler of ours, so nothing of ours runs in signal context.
        unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        // A report that is too large for a limit (setrlimit(2)) is an error, not our end.
        // SAFETY: as above, of SIG_IGN.
        unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
        Ok(Self(SignalFd::with_flags(&caught, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next pending signal, without waiting.
    pub(crate) fn next(&self) -> io::Result<Option<Caught>> {
        while let Some(info) = self.0.read_signal()? {
            if let Ok(signal) = Signal::try_from(info.ssi_signo as i32) {
                let from_terminal = info.ssi_code == libc::SI_KERNEL;
                return Ok(Some(Caught { signal, from_terminal }));
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

/// Lets SIGSEGV and SIGBUS end us, as they end others. Rust's own handler tells a stack overflow, but
/// takes the first one that somebody sends for nothing.
pub(crate) fn die_of_crashes() {
    for signal in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: SIG_DFL is no handler of ours, so nothing of ours runs in signal context.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
}

/// Whether a blocked `signal` came and was not read. A stop signal takes back a pending SIGCONT.
pub(crate) fn is_pending(signal: Signal) -> bool {
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending(2) fills `pending` where it returns 0, and only then is it read.
    unsafe {
        libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), signal as i32) == 1
    }
}

/// Whether this process ignores `signal`, as inherited from whoever started it.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null `act` only reads the present disposition into `current` (sigaction(2)).
    let rc = unsafe { libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) };
    // SAFETY: on success the kernel has filled `current`.
    rc == 0 && unsafe { current.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Stops this process by `signal`, so that whoever waits for us sees that signal; returns when we are
/// continued. Where nobody could continue us (an orphaned process group, setpgid(2)) the kernel does
/// not stop us, and this returns at once.
pub(crate) fn stop_by(signal: Signal) -> io::Result<()> {
    let mut set = SigSet::empty();
    set.add(signal);
    nix::sys::signal::raise(signal)?;
    set.thread_unblock()?;
    Ok(set.thread_block()?)
}

/// Ends this process by a real SIGSEGV, for tests.
#[cfg(debug_assertions)]
pub(crate) fn crash() -> ! {
    // SAFETY: none; that is the purpose. The page at 8 is never mapped, so the kernel sends SIGSEGV.
    unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(0) };
    std::process::abort()
}

/// Ends this process by `signal`, so that whoever waits for us sees that signal; without a core.
pub(crate) fn die_of(signal: Signal) -> ! {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let mut set = SigSet::empty();
    set.add(signal);
    // SAFETY: SIG_DFL is no handler of ours, so nothing of ours runs in signal context.
    let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    let _ = nix::sys::signal::raise(signal);
    let _ = set.thread_unblock();
    // Only a signal whose default action is not to end the process comes this far.
    std::process::exit(128 + signal as i32)
}
