//! What a new process does between fork and exec. It must not allocate (signal-safety(7)).

use std::ffi::{CString, c_char, c_int};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags};

use super::descriptor_limit;
use super::fork::fork_with;
use super::handshake::{ABOUT_TO_EXEC, BORN, Step};
use super::identity::Identity;
use super::listen_pid::ListenPid;
use super::namespace::{self, Entrance};
use super::program::{Directory, Group, Program, SpawnOptions};
use super::shared_memory;
use crate::sys::signals::is_ignored;

const LAST_SIGNAL: c_int = 64;
/// Signals that a command never inherits as ignored. SIGINT and SIGQUIT: a shell without job control ignores them in
/// every job it starts in the background. SIGPIPE and SIGXFSZ: cgrun itself ignores them. SIGCHLD: the command could not
/// wait for its children.
const NEVER_KEPT: [c_int; 5] = [libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE, libc::SIGXFSZ, libc::SIGCHLD];

/// Everything that the child needs, as plain numbers and pointers.
pub(super) struct Child<'a> {
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
    pub dies_with: Option<libc::pid_t>,
    /// It may share our memory until it executes.
    pub shares_memory: bool,
    identity: Option<&'a Identity>,
}

impl<'a> Child<'a> {
    pub(super) fn new(
        program: &'a Program,
        options: &SpawnOptions<'a>,
        namespace: Option<Entrance<'_>>,
    ) -> Self {
        let SpawnOptions { group, streams, keep_ignored, identity, shares_memory } = *options;
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
            // Another identity would change our memory's owner, and a namespace needs a second fork.
            shares_memory: shares_memory
                && identity.is_none()
                && namespace.is_none()
                && shared_memory::is_safe(),
            identity,
        }
    }

    /// Returns to our working directory, because entering a mount namespace changes it to the root. Uses the path if
    /// possible, because a descriptor leads to the mounts outside.
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
    pub(super) unsafe fn run(&self, report: RawFd, procs: Option<RawFd>) -> ! {
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
                // The original limit is lower, so setting it is always permitted.
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
