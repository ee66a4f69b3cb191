//! Starts a program directly inside a cgroup.
//!
//! `clone3(CLONE_INTO_CGROUP)` puts the child into its cgroup before it runs a single instruction. It can
//! fail in two ways: the call is refused (seccomp profiles answer ENOSYS or EPERM), or the kernel kills the
//! child at birth because its old and new cgroups were killed a different number of times (before Linux
//! commit 8e359920). In both cases we fall back to the older way: fork, then the child writes itself into
//! `cgroup.procs`. A close-on-exec pipe cannot distinguish that from a successful exec, so the child sends
//! one byte when it is about to execute.
//!
//! setns(2) puts only the later children of a process into a PID namespace. So a helper enters the namespace,
//! creates the process that executes as its sibling (`CLONE_PARENT`), which makes it our child, and exits.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::pipe::PipeFlags;

use super::child::Child;
use super::fork::fork;
pub(crate) use super::handshake::{SpawnError, Step};
use super::handshake::{born, outcome, report};
use super::namespace::Entrance;
use super::pidfd::Process;
pub(crate) use super::program::{Directory, Group, Program, SpawnOptions, Streams};
use super::shared_memory::{self, Stack};

/// A killed child that is not stuck exits well within this time.
const ENDING: Duration = Duration::from_secs(2);

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
    let mut child = Child::new(program, options, namespace);
    let Some(into) = into else {
        child.dies_with = namespace.is_none().then(|| rustix::process::getpid().as_raw_nonzero().get());
        return start(&child, None, None);
    };
    match start(&child, Some(into.directory), None) {
        Ok(process) => Ok(process),
        // The session is at its process limit, which joining its cgroup later would bypass.
        Err(error) if error.source.raw_os_error() == Some(libc::EAGAIN) => Err(error),
        Err(error) if matches!(error.step, Step::Fork | Step::Birth) => {
            let procs = (into.procs)().map_err(|source| SpawnError { step: Step::Join, source })?;
            start(&child, None, Some(procs.as_raw_fd()))
        }
        Err(error) => Err(error),
    }
}

/// What a child that shares our memory needs.
struct Beginning<'a> {
    child: &'a Child<'a>,
    report: RawFd,
}

/// # Safety
/// Only in a fresh child; `beginning` leads to a [`Beginning`].
unsafe extern "C" fn begin(beginning: *const c_void) -> ! {
    // SAFETY: the caller's.
    unsafe {
        let Beginning { child, report } = &*beginning.cast::<Beginning<'_>>();
        child.run(*report, None)
    }
}

fn start(
    child: &Child<'_>,
    directory: Option<BorrowedFd<'_>>,
    procs: Option<RawFd>,
) -> Result<Process, SpawnError> {
    let fork_failed = |source: io::Error| SpawnError { step: Step::Fork, source };
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| fork_failed(e.into()))?;
    let beginning = Beginning { child, report: writer.as_raw_fd() };
    let mut stack = Stack::new();
    let process = match directory.filter(|_| child.shares_memory) {
        Some(directory) => {
            let beginning = (&raw const beginning).cast();
            // SAFETY: `begin` calls `Child::run`. All that it uses outlives the report below, after which the child has
            // executed, has exited, or is killed.
            unsafe { shared_memory::create(directory, &mut stack, begin, beginning) }.map(Some)
        }
        // SAFETY: this process has one thread, so the child finds no lock held; it only makes async-signal-safe calls
        // on memory laid out above, then executes or exits.
        None => unsafe { fork(directory) },
    };
    let process = match process.map_err(fork_failed)? {
        // SAFETY: this is the freshly forked child.
        None => unsafe { child.run(writer.as_raw_fd(), procs) },
        Some(process) => process,
    };
    drop(writer);
    let report = report(File::from(reader));
    // Until here, the child may have used what the compiler cannot know to be in use.
    std::hint::black_box((&mut stack, &beginning));
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
            source: io::Error::other("it did not start within 30 s; is its cgroup frozen?"),
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
