//! Starts a program directly inside a cgroup.
//!
//! `clone3(CLONE_INTO_CGROUP)` puts the child into its cgroup before it runs a single instruction. It can
//! fail in two ways: the call is refused (seccomp profiles answer ENOSYS or EPERM), or the kernel kills the
//! child at birth because its old and new cgroups were killed a different number of times (before Linux
//! commit 8e359920). In both cases we fall back to the older way: fork, then the child writes itself into
//! `cgroup.procs`. A close-on-exec pipe cannot tell that death from a successful exec, so the child sends one
//! byte when it is about to execute.
//!
//! setns(2) puts only the later children of a process into a PID namespace. So a helper enters the namespace,
//! creates the process that executes as its sibling (`CLONE_PARENT`), which makes it our child, and exits.

use std::ffi::{CString, c_char, c_int};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

use super::descriptor_limit;
use super::fork::{fork, fork_with};
use super::handshake::{ABOUT_TO_EXEC, BORN, born, outcome, report};
pub(crate) use super::handshake::{SpawnError, Step};
use super::identity::Identity;
use super::listen_pid::ListenPid;
use super::namespace::{self, Entrance};
use super::pidfd::Process;
use crate::sys::signals::is_ignored;

const LAST_SIGNAL: c_int = 64;
/// Signals that a command never inherits as ignored. SIGINT and SIGQUIT: a shell without job control ignores them in
/// every job it starts in the background. SIGPIPE and SIGXFSZ: cgrun itself ignores them. SIGCHLD: the command could not
/// wait for its children.
const NEVER_KEPT: [c_int; 5] = [libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE, libc::SIGXFSZ, libc::SIGCHLD];
/// A killed child that is not stuck exits well within this time.
const ENDING: Duration = Duration::from_secs(2);

/// Everything that execve(2) needs, prepared before the fork because the child must not allocate.
pub(crate) struct Program {
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    directory: Directory,
}

/// Where a program runs.
pub(crate) enum Directory {
    /// In our own working directory, even if it could not enter that. This is the path.
    Ours(CString),
    Other(CString),
}

impl Program {
    /// The working directory, for people.
    pub(crate) fn cwd(&self) -> String {
        let (Directory::Ours(path) | Directory::Other(path)) = &self.directory;
        path.to_string_lossy().into_owned()
    }

    /// `path` is executed as given; `argv` includes the program's own name.
    pub(crate) fn new(path: CString, argv: Vec<CString>, env: Vec<CString>, directory: Directory) -> Self {
        Self { path, argv, env, directory }
    }
}

/// Which process group the program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Our process group, so that the terminal and the shell see one job.
    Shared,
    /// Its own process group.
    Own,
    /// Its own session (setsid(2)), which has no controlling terminal.
    Session,
}

/// The program's standard streams; `None` means ours.
#[derive(Clone, Copy, Default)]
pub(crate) struct Streams<'a> {
    pub input: Option<BorrowedFd<'a>>,
    /// Standard output and error.
    pub output: Option<BorrowedFd<'a>>,
}

/// How a program starts.
pub(crate) struct SpawnOptions<'a> {
    pub group: Group,
    pub streams: Streams<'a>,
    /// Keep ignoring the signals that were ignored on purpose when we started.
    pub keep_ignored: bool,
    /// The user it runs as, if not ours.
    pub identity: Option<&'a Identity>,
}

/// A cgroup to start in.
pub(crate) struct TargetCgroup<'a> {
    /// The cgroup's directory.
    pub directory: BorrowedFd<'a>,
    /// Opens its `cgroup.procs` for writing, in case clone3(2) fails.
    pub procs: &'a dyn Fn() -> io::Result<OwnedFd>,
}

/// Starts `program`, in the given cgroup and PID namespace, if any. Signals that we inherited as ignored are
/// reset, except those that the options keep. The signal mask is emptied.
///
/// Must be called while this process has a single thread.
pub(crate) fn spawn(
    program: &Program,
    options: &SpawnOptions<'_>,
    into: Option<&TargetCgroup<'_>>,
    namespace: Option<Entrance<'_>>,
) -> Result<Process, SpawnError> {
    let child = Child::new(program, options, namespace);
    let Some(into) = into else {
        let dies_with = namespace.is_none().then(|| rustix::process::getpid().as_raw_nonzero().get());
        return Child { dies_with, ..child }.start(None, None);
    };
    match child.start(Some(into.directory), None) {
        Ok(process) => Ok(process),
        // The session is at its process limit, which joining its cgroup later would bypass.
        Err(error) if error.source.raw_os_error() == Some(libc::EAGAIN) => Err(error),
        Err(error) if matches!(error.step, Step::Fork | Step::Birth) => {
            let procs = (into.procs)().map_err(|source| SpawnError { step: Step::Join, source })?;
            child.start(None, Some(procs.as_raw_fd()))
        }
        Err(error) => Err(error),
    }
}

/// Everything that the child needs, as plain numbers and pointers.
struct Child<'a> {
    program: &'a Program,
    argv: Vec<*const c_char>,
    /// The same command through a shell, for a script without a `#!` line (as in execvp(3)).
    shell_argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    listen_pid: Option<ListenPid>,
    descriptor_limit: Option<libc::rlimit>,
    group: Group,
    input: RawFd,
    output: RawFd,
    reset: Vec<c_int>,
    namespace: Option<(RawFd, c_int)>,
    /// Our working directory, if entering the namespace changes it.
    here: Option<OwnedFd>,
    /// The parent to die with. Set if only its descent ties the child to the session: it must not survive us
    /// if we die before it carries our marker.
    dies_with: Option<libc::pid_t>,
    identity: Option<&'a Identity>,
}

impl<'a> Child<'a> {
    fn new(program: &'a Program, options: &SpawnOptions<'a>, namespace: Option<Entrance<'_>>) -> Self {
        let SpawnOptions { group, streams, keep_ignored, identity } = *options;
        let pointers = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|it| it.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let argv = pointers(&program.argv);
        let mut env = pointers(&program.env);
        let listen_pid = ListenPid::named_us(&program.env).map(|(position, variable)| {
            env[position] = variable.as_ptr();
            variable
        });
        let shell_argv = [c"/bin/sh".as_ptr(), program.path.as_ptr()]
            .into_iter()
            .chain(argv.iter().skip(1).copied())
            .collect();
        let reset = (1..=LAST_SIGNAL)
            .filter(|signal| !keep_ignored || NEVER_KEPT.contains(signal))
            .filter(|&signal| is_ignored(signal))
            .collect();
        Self {
            program,
            argv,
            shell_argv,
            env,
            listen_pid,
            descriptor_limit: descriptor_limit::original(),
            group,
            input: streams.input.map_or(-1, |fd| fd.as_raw_fd()),
            output: streams.output.map_or(-1, |fd| fd.as_raw_fd()),
            reset,
            namespace: namespace.map(|namespace| namespace.raw()),
            here: namespace.and_then(|_| {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(".", flags, Mode::empty()).ok()
            }),
            dies_with: None,
            identity,
        }
    }

    fn start(&self, directory: Option<BorrowedFd<'_>>, procs: Option<RawFd>) -> Result<Process, SpawnError> {
        let fork_failed = |source: io::Error| SpawnError { step: Step::Fork, source };
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| fork_failed(e.into()))?;
        // SAFETY: this process has one thread, so the child finds no lock held; it only makes
        // async-signal-safe calls on memory laid out above, then executes or exits.
        let process = match unsafe { fork(directory) }.map_err(fork_failed)? {
            // SAFETY: this is the freshly forked child.
            None => unsafe { self.run(writer.as_raw_fd(), procs) },
            Some(process) => process,
        };
        drop(writer);
        let report = report(File::from(reader));
        let process = match report.as_ref().ok().and_then(|(said, _)| born(said)) {
            None => process,
            Some(born) => {
                let _ = rustix::process::waitpid(Some(process.pid), rustix::process::WaitOptions::empty());
                Process::open_new_child(born).map_err(fork_failed)?
            }
        };
        let said = match report {
            Ok((said, true)) => outcome(&said),
            Ok((_, false)) => Err(SpawnError {
                step: Step::Begin,
                source: io::Error::other("it did not start within 10 s; is its cgroup frozen?"),
            }),
            Err(error) => Err(fork_failed(error)),
        };
        match said {
            Ok(()) => Ok(process),
            Err(error) => {
                let _ = process.signal(Signal::SIGKILL);
                // If it is stuck in the kernel, the teardown handles it later.
                let _ = process.wait(ENDING);
                let _ = rustix::process::waitpid(Some(process.pid), rustix::process::WaitOptions::NOHANG);
                Err(error)
            }
        }
    }

    /// Returns to our working directory if a mount namespace was entered, which leads to its root. By its path if that
    /// leads there, because a descriptor leads to the mounts outside.
    ///
    /// # Safety
    /// Only in a freshly forked child; async-signal-safe.
    unsafe fn enter_our_directory(&self) -> bool {
        let Directory::Ours(path) = &self.program.directory else { return true };
        let is_absolute = path.as_bytes().starts_with(b"/");
        // SAFETY: `self` was built by the parent, with an open descriptor and a path that ends with NUL.
        unsafe {
            (is_absolute && libc::chdir(path.as_ptr()) == 0)
                || self.here.as_ref().is_some_and(|here| libc::fchdir(here.as_raw_fd()) == 0)
        }
    }

    /// # Safety
    /// Only in a freshly forked child. Async-signal-safe calls only (signal-safety(7)).
    unsafe fn run(&self, report: RawFd, procs: Option<RawFd>) -> ! {
        let fail = |step: Step| -> ! {
            let errno = Errno::last_raw().to_ne_bytes();
            let message = [step as u8, errno[0], errno[1], errno[2], errno[3]];
            // SAFETY: writes five bytes from the stack, then leaves without unwinding.
            unsafe {
                libc::write(report, message.as_ptr().cast(), message.len());
                libc::_exit(127)
            }
        };
        // SAFETY: all pointers lead into `self`, which the parent built and the fork copied. The parent's
        // call of `spawn` borrows the descriptors, so they were open when it forked and are open here. A
        // `sigset_t` is plain bits, which may all be zero.
        unsafe {
            if let Some(procs) = procs {
                if libc::write(procs, c"0".as_ptr().cast(), 1) != 1 {
                    fail(Step::Join);
                }
            }
            if let Some((init, flags)) = self.namespace {
                if !namespace::enter(init, flags) {
                    fail(Step::Enter);
                }
                if !self.enter_our_directory() {
                    fail(Step::Chdir);
                }
                match fork_with(libc::CLONE_PARENT) {
                    Ok(0) => {}
                    Err(_) => fail(Step::Fork),
                    Ok(pid) => {
                        let pid = pid.to_ne_bytes();
                        let message = [BORN, pid[0], pid[1], pid[2], pid[3]];
                        libc::write(report, message.as_ptr().cast(), message.len());
                        libc::_exit(0)
                    }
                }
            }
            let grouped = match self.group {
                Group::Shared => 0,
                Group::Own => libc::setpgid(0, 0),
                Group::Session => libc::setsid(),
            };
            if grouped == -1
                || (self.input >= 0 && libc::dup2(self.input, 0) == -1)
                || (self.output >= 0
                    && (libc::dup2(self.output, 1) == -1 || libc::dup2(self.output, 2) == -1))
            {
                fail(Step::Prepare);
            }
            if let Some(identity) = self.identity {
                if !identity.assume() {
                    fail(Step::Become);
                }
            }
            // Set after becoming another user, because that clears it (prctl(2)).
            if let Some(parent) = self.dies_with {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 || libc::getppid() != parent {
                    fail(Step::Prepare);
                }
            }
            if let Directory::Other(path) = &self.program.directory {
                if libc::chdir(path.as_ptr()) == -1 {
                    fail(Step::Chdir);
                }
            }
            if let Some(limit) = &self.descriptor_limit {
                // Lower, which is always permitted.
                libc::setrlimit(libc::RLIMIT_NOFILE, limit);
            }
            if let Some(variable) = &self.listen_pid {
                variable.set_to_us();
            }
            for &signal in &self.reset {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            libc::write(report, [ABOUT_TO_EXEC].as_ptr().cast(), 1);
            libc::execve(self.program.path.as_ptr(), self.argv.as_ptr(), self.env.as_ptr());
            if Errno::last_raw() == libc::ENOEXEC {
                libc::execve(c"/bin/sh".as_ptr(), self.shell_argv.as_ptr(), self.env.as_ptr());
            }
        }
        fail(Step::Exec)
    }
}
