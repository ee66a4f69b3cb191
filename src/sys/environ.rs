//! The environment that a process was executed with (`/proc/PID/environ`, proc_pid_environ(5)).
//!
//! Between two images a process has none, as one whose first thread has ended has none under its own
//! number. Neither is one that was cleared.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::process::Pid;

use super::proc::{self, is_gone};

/// An environment is read up to here (the kernel's own bound for one argument list is larger).
const READ: usize = 1 << 20;
/// Most are read at once: what is read in two may be of two images.
const USUAL: usize = 1 << 16;
/// So long one is waited for that is just executed. Nothing announces when it is done.
const EXECUTING: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_micros(200);

/// Those that were waited for in vain, by their start. No one is twice, nor more than so many in all: the
/// disk may be away that they are executed from.
static HUNG: Mutex<Vec<(Pid, u64)>> = Mutex::new(Vec::new());
const MOST_HUNG: usize = 10;

/// One variable of the environment that `pid` was executed with. `None` also when it is not ours to
/// read, or the process cleared it.
pub fn variable(pid: Pid, name: &str) -> Option<OsString> {
    let [value] = variables(pid, [name]).ok()?;
    value
}

/// As [`variable`], several at once. An error as of [`environ`].
pub fn variables<const N: usize>(pid: Pid, names: [&str; N]) -> io::Result<[Option<OsString>; N]> {
    let bytes = environ(pid)?;
    Ok(names.map(|name| {
        bytes.split(|&byte| byte == 0).find_map(|entry| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(OsString::from_vec(value.to_vec()))
        })
    }))
}

/// `NAME=VALUE` each and NUL between them. Empty where the process has cleared it, or is dead. An error
/// where it is gone or not ours to read, and `TimedOut` where it was not there to be read: the process
/// is just executed.
pub fn environ(pid: Pid) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + EXECUTING;
    let mut image = None;
    loop {
        let found = read(format!("/proc/{pid}/environ"));
        if found.as_ref().map_or_else(|error| !is_gone(error), |bytes| !bytes.is_empty()) {
            return found;
        }
        let Some(stat) = proc::stat(pid) else { return found };
        if stat.vsize == 0 {
            // Without memory: dead, a part of the kernel, or its first thread has ended.
            let answer = match stat.num_threads {
                // It is just going, or another thread takes its number.
                0 => None,
                1 => Some(found),
                _ => of_threads(pid),
            };
            if let Some(answer) = answer {
                return answer;
            }
        } else if stat.startcode != 0 {
            // Read once more of the same: what was opened may have been of the image before.
            let same = Some((stat.startcode, stat.startstack));
            if std::mem::replace(&mut image, same) == same {
                return found;
            }
            if Instant::now() < deadline {
                continue;
            }
        }
        // Where its code begins, the kernel writes down last (`load_elf_binary`, linux/fs/binfmt_elf.c).
        if !is_worth_waiting((pid, stat.starttime), deadline) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it is just executed, and that takes long"));
        }
        std::thread::sleep(LOOK);
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

/// That of a process whose first thread has ended: also one that another thread is just executing, until
/// that has taken its number. `None` where none of them can tell yet.
fn of_threads(pid: Pid) -> Option<io::Result<Vec<u8>>> {
    let mut all_dying = true;
    for thread in proc::threads(pid) {
        let Some(stat) = proc::stat_at(&thread) else { continue };
        if proc::is_leaving(&stat) {
            continue;
        }
        all_dying = false;
        match read(thread.join("environ")) {
            Err(error) if is_gone(&error) => {}
            Ok(bytes) if bytes.is_empty() && (stat.vsize == 0 || stat.startcode == 0) => {}
            answer => return Some(answer),
        }
    }
    // One of them may just have taken the number of the first.
    let is_dying = all_dying && proc::stat(pid).is_none_or(|stat| proc::is_leaving(&stat));
    is_dying.then(|| Ok(Vec::new()))
}

fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(USUAL);
    // The kernel gives as much as there is room for.
    while rustix::io::read(&file, spare_capacity(&mut bytes))? > 0
        && bytes.len() == bytes.capacity()
        && bytes.len() < READ
    {
        bytes.reserve(READ - bytes.len());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What `asked` says of a Python program with this environment, once `ready` of it.
    fn of_python<T>(
        program: &str,
        variables: &[(&str, &str)],
        ready: impl Fn(Pid) -> bool,
        asked: impl Fn(Pid) -> T,
    ) -> T {
        // What is called so may be a script that needs its environment.
        let print = ["-c", "import sys; print(sys.executable)"];
        let python = Command::new("python3").args(print).output().unwrap().stdout;
        let mut command = Command::new(String::from_utf8(python).unwrap().trim_end());
        command.args(["-c", program]).env_clear().envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let patience = Instant::now() + Duration::from_secs(20);
        while !ready(pid) {
            assert!(Instant::now() < patience, "it is not ready");
            std::thread::sleep(LOOK);
        }
        let answer = asked(pid);
        drop(child.stdin.take());
        child.wait().unwrap();
        answer
    }

    #[test]
    fn more_than_is_usual_is_read_to_the_end() {
        let (much, more) = ("x".repeat(USUAL - 20), "y".repeat(100_000));
        let variables = [("MUCH", much.as_str()), ("MORE", &more), ("LAST", "z")];
        let is_there = |pid| variable(pid, "LAST").is_some();
        let found = of_python("input()", &variables, is_there, |pid| super::variables(pid, ["MUCH", "MORE"]));
        assert_eq!(found.unwrap(), [Some(much.into()), Some(more.into())]);
    }

    #[test]
    fn one_without_its_first_thread_has_it_still_and_may_have_none() {
        let alone = "import ctypes, threading\n\
            threading.Thread(target=input).start()\n\
            ctypes.CDLL(None).pthread_exit(None)";
        let is_alone = |pid| proc::stat(pid).is_some_and(|stat| stat.state == 'Z');
        let found = of_python(alone, &[("NAME", "value")], is_alone, |pid| variable(pid, "NAME"));
        assert_eq!(found, Some("value".into()));
        // It would be an error if it had been waited for.
        assert_eq!(of_python(alone, &[], is_alone, environ).unwrap(), b"");
    }

    #[test]
    fn of_what_is_gone_it_is_an_error_and_the_dead_have_none() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        while proc::start_time(pid).is_some() {
            std::thread::sleep(LOOK);
        }
        assert!(environ(pid).map_or_else(|error| is_gone(&error), |bytes| bytes.is_empty()));
        child.wait().unwrap();
        assert!(is_gone(&environ(pid).unwrap_err()));
    }
}
