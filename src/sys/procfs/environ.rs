//! The environment that a process was executed with (`/proc/PID/environ`, proc_pid_environ(5)).
//!
//! It is empty while the process is between two images, for the pid of a process whose first thread has
//! exited, and if the process has cleared it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::process::Pid;

use super::stat::{Image, ProcStat, is_thread_exiting, raw_stat, raw_stat_in, threads};
use crate::sys::errno::is_gone;
use crate::sys::time::{self, Instant};

/// The maximum number of bytes read from an environment (the kernel's own limit for an argument list is larger).
const MOST_BYTES: usize = 1 << 20;
/// Most environments fit into one read of this many bytes. Two reads could return parts of two images.
const USUAL_BYTES: usize = 1 << 16;
/// How long to wait for a process in the middle of an exec. No event announces that the exec is over.
const EXEC_WAIT: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_micros(200);

/// The processes whose exec did not finish in time, with their start times. We wait for each only once, and
/// for at most this many: the disk with their programs may be gone.
static HUNG: Mutex<Vec<(Pid, u64)>> = Mutex::new(Vec::new());
const MOST_HUNG: usize = 10;

/// One variable of the environment that `pid` was executed with. Also `None` if we are not allowed to read it
/// or the process has cleared it.
pub(crate) fn variable(pid: Pid, name: &str) -> Option<OsString> {
    let [value] = variables(pid, [name]).ok()?;
    value
}

/// Like [`variable`], but for several at once. Errors are those of [`environ`].
pub(crate) fn variables<const N: usize>(pid: Pid, names: [&str; N]) -> io::Result<[Option<OsString>; N]> {
    let bytes = environ(pid)?;
    Ok(names.map(|name| {
        bytes.split(|&byte| byte == 0).find_map(|entry| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(OsString::from_vec(value.to_vec()))
        })
    }))
}

/// `NAME=VALUE` entries, separated by NUL. Empty if the process is dead or has cleared them. An error if it
/// is gone or we are not allowed to read it, and `TimedOut` if its exec did not finish in time.
pub(crate) fn environ(pid: Pid) -> io::Result<Vec<u8>> {
    environ_since(pid, None)
}

/// Like [`environ`], with fewer reads, for a process whose stat was just read.
pub(crate) fn environ_of(stat: &ProcStat) -> io::Result<Vec<u8>> {
    environ_since(stat.pid, Some(stat.image))
}

/// `last_image` is the image that was seen before.
fn environ_since(pid: Pid, mut last_image: Option<Image>) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + EXEC_WAIT;
    loop {
        let found = read_environ(format!("/proc/{pid}/environ"));
        if found.as_ref().map_or_else(|error| !is_gone(error), |bytes| !bytes.is_empty()) {
            return found;
        }
        let Some(stat) = raw_stat(pid) else { return found };
        if stat.vsize == 0 {
            // It has no memory: it is dead or a kernel thread, or its first thread has exited.
            let answer = match stat.num_threads {
                // It is exiting, or another thread is taking over its pid.
                0 => None,
                1 => Some(found),
                _ => environ_of_threads(pid),
            };
            if let Some(answer) = answer {
                return answer;
            }
        } else if stat.startcode != 0 {
            // Confirm with a second read of the same image: the file may have been opened before the exec.
            let image = Some((stat.startcode, stat.startstack));
            if std::mem::replace(&mut last_image, image) == image {
                return found;
            }
            if Instant::now() < deadline {
                continue;
            }
        }
        // The kernel sets the address of the code last (`load_elf_binary`, linux/fs/binfmt_elf.c).
        if !is_worth_waiting((pid, stat.starttime), deadline) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its exec has not finished in time"));
        }
        time::sleep(RETRY);
    }
}

fn is_worth_waiting(process: (Pid, u64), deadline: Instant) -> bool {
    let Ok(mut hung) = HUNG.lock() else { return false };
    if hung.len() >= MOST_HUNG || hung.contains(&process) {
        return false;
    }
    let is_late = Instant::now() >= deadline;
    if is_late {
        hung.push(process);
    }
    !is_late
}

/// The environment of a process whose first thread has exited. Such a process may also be in the middle of an
/// exec by another thread, until that thread has taken over the pid. `None` if it cannot be read from any
/// thread yet.
fn environ_of_threads(pid: Pid) -> Option<io::Result<Vec<u8>>> {
    let mut are_all_exiting = true;
    for thread in threads(pid) {
        let Some(stat) = raw_stat_in(&thread) else { continue };
        if is_thread_exiting(&stat) {
            continue;
        }
        are_all_exiting = false;
        match read_environ(thread.join("environ")) {
            Err(error) if is_gone(&error) => {}
            Ok(bytes) if bytes.is_empty() && (stat.vsize == 0 || stat.startcode == 0) => {}
            answer => return Some(answer),
        }
    }
    // Another thread may just have taken over the pid.
    let is_exiting = are_all_exiting && raw_stat(pid).is_none_or(|stat| is_thread_exiting(&stat));
    is_exiting.then(|| Ok(Vec::new()))
}

fn read_environ(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    // The kernel returns as much as fits.
    while rustix::io::read(&file, spare_capacity(&mut bytes))? > 0
        && bytes.len() == bytes.capacity()
        && bytes.len() < MOST_BYTES
    {
        bytes.reserve(MOST_BYTES - bytes.len());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sys::procfs::stat::start_time;

    /// Runs a Python program with this environment, and calls `asked` once it is `ready`.
    fn ask_about_python<T>(
        program: &str,
        variables: &[(&str, &str)],
        ready: impl Fn(Pid) -> bool,
        asked: impl Fn(Pid) -> T,
    ) -> T {
        // The `python3` in the path may be a script that needs its environment.
        let print = ["-c", "import sys; print(sys.executable)"];
        let python = Command::new("python3").args(print).output().unwrap().stdout;
        let mut command = Command::new(String::from_utf8(python).unwrap().trim_end());
        command.args(["-c", program]).env_clear().envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let patience = Instant::now() + Duration::from_secs(20);
        while !ready(pid) {
            assert!(Instant::now() < patience, "the program did not become ready");
            time::sleep(RETRY);
        }
        let answer = asked(pid);
        drop(child.stdin.take());
        child.wait().unwrap();
        answer
    }

    #[test]
    fn a_large_environment_is_read_to_the_end() {
        let (much, more) = ("x".repeat(USUAL_BYTES - 20), "y".repeat(100_000));
        let variables = [("MUCH", much.as_str()), ("MORE", &more), ("LAST", "z")];
        let is_there = |pid| variable(pid, "LAST").is_some();
        let found =
            ask_about_python("input()", &variables, is_there, |pid| super::variables(pid, ["MUCH", "MORE"]));
        assert_eq!(found.unwrap(), [Some(much.into()), Some(more.into())]);
    }

    #[test]
    fn a_process_without_its_first_thread_keeps_its_environment() {
        let alone = "import ctypes, threading\n\
            threading.Thread(target=input).start()\n\
            ctypes.CDLL(None).pthread_exit(None)";
        let is_alone = |pid| raw_stat(pid).is_some_and(|stat| stat.state == 'Z');
        let found = ask_about_python(alone, &[("NAME", "value")], is_alone, |pid| variable(pid, "NAME"));
        assert_eq!(found, Some("value".into()));
        // Waiting for it would have ended in a TimedOut error.
        assert_eq!(ask_about_python(alone, &[], is_alone, environ).unwrap(), b"");
    }

    #[test]
    fn a_zombie_has_no_environment_and_a_missing_process_is_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        while start_time(pid).is_some() {
            time::sleep(RETRY);
        }
        assert!(environ(pid).map_or_else(|error| is_gone(&error), |bytes| bytes.is_empty()));
        child.wait().unwrap();
        assert!(is_gone(&environ(pid).unwrap_err()));
    }
}
