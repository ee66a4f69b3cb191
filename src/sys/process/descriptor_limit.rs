//! The limit on open descriptors (`ulimit -n`). cgrun needs some for each service, and raises its own limit as far as
//! it can. The programs that it starts get the limit that cgrun was started with, because some of them close all
//! descriptors up to it, and others cannot cope with numbers above 1023 (select(2)).

use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for any session.
const ENOUGH: u64 = 65_536;
/// How many a session without services has open at once.
const NEEDED: u64 = 10;

static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// Raises our limit. A failure is not reported here, since the limit may well be enough.
pub(crate) fn raise() {
    let original = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= ENOUGH);
    if is_enough(original.current) || ORIGINAL.set(original).is_err() {
        return;
    }
    // Only a privileged process can raise the hard limit.
    let hard = if is_enough(original.maximum) { original.maximum } else { Some(ENOUGH) };
    if setrlimit(Resource::Nofile, Rlimit { current: Some(ENOUGH), maximum: hard }).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: original.maximum, maximum: original.maximum });
    }
}

/// An error if not even a session without services has enough descriptors. Later, the verification would fail for the
/// same reason.
pub(crate) fn check() -> io::Result<()> {
    let Some(limit) = getrlimit(Resource::Nofile).current.filter(|&limit| limit < ENOUGH) else {
        return Ok(());
    };
    let lowest = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0)?;
    let enough = u64::try_from(lowest.as_raw_fd()).is_ok_and(|lowest| lowest + NEEDED <= limit);
    if enough { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EMFILE)) }
}

/// The limit that cgrun was started with.
pub(crate) fn at_start() -> Rlimit {
    ORIGINAL.get().cloned().unwrap_or_else(|| getrlimit(Resource::Nofile))
}

/// The limit for the programs that we start, if it is not our own.
pub(super) fn original() -> Option<libc::rlimit> {
    let raw = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    ORIGINAL.get().map(|it| libc::rlimit { rlim_cur: raw(it.current), rlim_max: raw(it.maximum) })
}
