//! From a system call and its arguments to what it waits for.

use std::ffi::OsString;
use std::io::ErrorKind::PermissionDenied;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use rustix::process::Pid;

use super::events;
use super::files::Files;
use super::wait::{Children, Direction, FileKind, Wait};
use crate::sys::procfs::mappings::is_shared;
use crate::sys::procfs::memory::read_memory;
use crate::sys::procfs::namespaces::{child_with_number, group_with_number};
use crate::sys::procfs::syscall::{Syscall, kernel_function, syscall};

/// No path is longer (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;
/// Where the kernel waits for the other end of a FIFO (fs/pipe.c); the last one before Linux 5.5.
const OF_FIFOS: [&str; 3] = ["wait_for_partner", "fifo_open", "pipe_wait"];
/// `FUTEX_PRIVATE_FLAG`: no other process can share the futex.
const PRIVATE: u64 = 128;

/// What this thread waits for, and whether we are not allowed to see its system call.
pub(super) fn wait_of_thread(pid: Pid, thread: Pid, files: &Files) -> (Wait, bool) {
    let call = syscall(pid, thread);
    let is_hidden = call.as_ref().is_err_and(|error| error.kind() == PermissionDenied);
    let wait = match call {
        Ok(Syscall::Within { number, arguments }) => within(pid, thread, number, arguments, files)
            .unwrap_or_else(|| by_function(pid, thread, number, files)),
        Ok(Syscall::Running) => Wait::Running,
        Ok(Syscall::Outside) => Wait::Other("for the kernel, in no system call".into()),
        Ok(Syscall::Foreign) => {
            by_function_alone(pid, thread, files, Some("its system calls are those of a 32-bit program"))
        }
        Err(_) => by_function_alone(pid, thread, files, None),
    };
    (wait, is_hidden)
}

/// `None` if the number says too little.
fn within(pid: Pid, thread: Pid, number: i64, arguments: [u64; 6], files: &Files) -> Option<Wait> {
    let [first, second, third, ..] = arguments;
    let file = || files.file(first as i32);
    Some(match number {
        libc::SYS_read
        | libc::SYS_pread64
        | libc::SYS_readv
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg
        | libc::SYS_splice
        | libc::SYS_preadv
        | libc::SYS_preadv2 => Wait::Read(file()),
        libc::SYS_write
        | libc::SYS_pwrite64
        | libc::SYS_writev
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_sendmmsg
        | libc::SYS_sendfile
        | libc::SYS_vmsplice => Wait::Write(file()),
        libc::SYS_connect => Wait::Connect(file()),
        libc::SYS_accept | libc::SYS_accept4 => Wait::Accept(file()),
        libc::SYS_wait4 => Wait::Child(match first as i32 {
            -1 => Children::Any,
            0 => Children::Any,
            number if number < 0 => group(pid, -number),
            number => child(pid, number),
        }),
        libc::SYS_waitid => Wait::Child(match (first as u32, second as i32) {
            (libc::P_PID, number) => child(pid, number),
            (libc::P_PGID, number) => group(pid, number),
            (libc::P_PIDFD, number) => match files.file(number).kind {
                FileKind::Process(Some(pid)) => Children::One(Some(pid)),
                _ => Children::Any,
            },
            _ => Children::Any,
        }),
        libc::SYS_flock => Wait::FileLock(file()),
        libc::SYS_fcntl if matches!(second as i32, libc::F_SETLKW | libc::F_OFD_SETLKW) => {
            Wait::FileLock(file())
        }
        // pthread_join(3) uses a futex that could be shared, in memory that is not.
        libc::SYS_futex => {
            Wait::Futex { shared: second & PRIVATE == 0 && is_shared(pid, first) != Some(false) }
        }
        libc::SYS_nanosleep => Wait::Sleep(duration(pid, first)),
        libc::SYS_clock_nanosleep => {
            let time = duration(pid, third);
            let until_then = |time| time_left(time, first);
            Wait::Sleep(if second == 0 { time } else { time.and_then(until_then) })
        }
        libc::SYS_ppoll => events::of_poll(pid, files, first, second),
        libc::SYS_pselect6 => events::of_select(pid, files, first, [second, third]),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => events::of_epoll(files, first as i32),
        libc::SYS_rt_sigsuspend | libc::SYS_rt_sigtimedwait => Wait::Signal,
        libc::SYS_openat => open(pid, thread, second, third)?,
        _ => return of_older_calls(pid, thread, number, arguments, files),
    })
}

fn child(pid: Pid, number: i32) -> Children {
    Children::One(child_with_number(pid, number))
}

fn group(pid: Pid, number: i32) -> Children {
    group_with_number(pid, number).map_or(Children::One(None), Children::Group)
}

/// The calls that 64-bit ARM does not have.
#[cfg(target_arch = "x86_64")]
fn of_older_calls(pid: Pid, thread: Pid, number: i64, arguments: [u64; 6], files: &Files) -> Option<Wait> {
    let [first, second, third, ..] = arguments;
    Some(match number {
        libc::SYS_poll => events::of_poll(pid, files, first, second),
        libc::SYS_select => events::of_select(pid, files, first, [second, third]),
        libc::SYS_epoll_wait => events::of_epoll(files, first as i32),
        libc::SYS_pause => Wait::Signal,
        libc::SYS_open => open(pid, thread, first, second)?,
        _ => return None,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn of_older_calls(
    _pid: Pid,
    _thread: Pid,
    _number: i64,
    _arguments: [u64; 6],
    _files: &Files,
) -> Option<Wait> {
    None
}

/// `None` if the path cannot be read. Not only a FIFO can take long: a file system may not answer, which must not be asked
/// what the path leads to.
fn open(pid: Pid, thread: Pid, path: u64, flags: u64) -> Option<Wait> {
    // A read may cross into a page that is not there.
    let bytes = [LONGEST_PATH, 256, 16].into_iter().find_map(|length| read_memory(pid, path, length))?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    let writes = flags as i32 & libc::O_ACCMODE != libc::O_RDONLY;
    let direction = if writes { Direction::Out } else { Direction::In };
    let path = OsString::from_vec(bytes[..end].to_vec());
    Some(match kernel_function(pid, thread) {
        Some(name) if OF_FIFOS.iter().any(|it| name.contains(it)) => Wait::Open(path, direction),
        Some(name) => {
            Wait::Other(format!("until {} is open, in the kernel ({name})", path.to_string_lossy()))
        }
        None => Wait::Other(format!("until {} is open", path.to_string_lossy())),
    })
}

/// How long it is until this time of the clock.
fn time_left(time: Duration, clock: u64) -> Option<Duration> {
    let is_monotonic = clock == libc::CLOCK_MONOTONIC as u64;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    is_monotonic.then(|| time.saturating_sub(now))
}

/// A `struct timespec` in the memory of the process.
fn duration(pid: Pid, address: u64) -> Option<Duration> {
    let bytes = read_memory(pid, address, 16)?;
    let number = |range: std::ops::Range<usize>| Some(i64::from_ne_bytes(bytes.get(range)?.try_into().ok()?));
    let (seconds, nanoseconds) = (number(0..8)?, number(8..16)?);
    Some(Duration::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?))
}

fn by_function(pid: Pid, thread: Pid, number: i64, files: &Files) -> Wait {
    match kernel_function(pid, thread) {
        Some(name) => of_function(&name, files),
        None => Wait::Other(format!("in system call {number}")),
    }
}

/// What can be said without the system call.
fn by_function_alone(pid: Pid, thread: Pid, files: &Files, known: Option<&str>) -> Wait {
    let function = kernel_function(pid, thread);
    match function.as_deref().map(|name| of_function(name, files)) {
        Some(Wait::Other(_)) | None => {
            let in_kernel = function.map(|name| format!("in the kernel: {name}"));
            Wait::Unknown(known.map(String::from).or(in_kernel))
        }
        Some(wait) => wait,
    }
}

fn of_function(name: &str, files: &Files) -> Wait {
    let is_pipe = |kind: &FileKind| matches!(kind, FileKind::Pipe(_));
    let is_socket = |kind: &FileKind| matches!(kind, FileKind::Socket(_));
    let is_terminal = |kind: &FileKind| matches!(kind, FileKind::Terminal(_));
    let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match () {
        () if is(&["do_wait"]) => Wait::Child(Children::Any),
        () if is(&["vfork"]) => Wait::Child(Children::Any),
        () if is(&["pipe_read"]) => Wait::Read(files.only(Direction::In, is_pipe)),
        () if is(&["pipe_write"]) => Wait::Write(files.only(Direction::Out, is_pipe)),
        () if is(&["futex"]) => Wait::Futex { shared: false },
        () if is(&["nanosleep"]) => Wait::Sleep(None),
        () if is(&["ep_poll", "do_poll", "do_select", "poll_schedule"]) => Wait::Events(Vec::new()),
        () if is(&["unix_stream_read", "unix_stream_data_wait", "tcp_recvmsg", "sk_wait_data"]) => {
            Wait::Read(files.only(Direction::In, is_socket))
        }
        () if is(&["inet_csk_accept"]) => Wait::Accept(files.only(Direction::In, is_socket)),
        () if is(&["inet_stream_connect", "inet_wait_for_connect"]) => {
            Wait::Connect(files.only(Direction::In, is_socket))
        }
        () if is(&["flock", "locks_lock", "posix_lock", "fcntl_setlk"]) => {
            Wait::FileLock(super::wait::File::unknown(None))
        }
        () if is(&["n_tty_read"]) => Wait::Read(files.only(Direction::In, is_terminal)),
        () if is(&["sigsuspend", "sigtimedwait", "do_pause", "sys_pause"]) => Wait::Signal,
        () => Wait::Other(format!("in the kernel ({name})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::procfs::stat::ProcStat;

    #[test]
    fn a_function_of_the_kernel_says_something_where_the_call_is_hidden() {
        let files = Files::of(&ProcStat::read(rustix::process::getpid()).unwrap());
        assert_eq!(of_function("do_wait", &files), Wait::Child(Children::Any));
        assert_eq!(of_function("hrtimer_nanosleep", &files), Wait::Sleep(None));
        assert_eq!(of_function("do_epoll_wait_ep_poll", &files), Wait::Events(Vec::new()));
        assert!(matches!(of_function("anon_pipe_read", &files), Wait::Read(_)));
        assert!(matches!(of_function("nfs_wait_bit_killable", &files), Wait::Other(_)));
    }
}
