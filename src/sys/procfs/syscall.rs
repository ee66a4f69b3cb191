//! What a thread waits in: its system call (proc_pid_syscall(5)), and the function of the kernel (proc_pid_wchan(5)).

use std::io;
use std::path::PathBuf;

use rustix::process::Pid;

use crate::sys::small_file::read_single;

/// No stack of a 64-bit process is below, and no other is above (`TASK_SIZE` of a 32-bit process).
const END_OF_32_BITS: u64 = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syscall {
    /// It does not wait.
    Running,
    /// It waits, but in no system call: for a page of its memory, or because a signal stopped it.
    Outside,
    /// The calls of a 32-bit process have other numbers.
    Foreign,
    Within {
        number: i64,
        arguments: [u64; 6],
    },
}

/// The numbers of the threads of a process, the first one first, and at most so many.
pub(crate) fn thread_ids(pid: Pid, most: usize) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ids = tasks.filter_map(|task| Pid::from_raw(task.file_name().to_str()?.parse().ok()?));
    let others = ids.filter(|id| *id != pid);
    std::iter::once(pid).chain(others).take(most).collect()
}

/// Reading it needs the right to trace the process (ptrace(2)).
pub(crate) fn syscall(pid: Pid, thread: Pid) -> io::Result<Syscall> {
    let text = read_single(directory(pid, thread).join("syscall"))?;
    parse(&String::from_utf8_lossy(&text)).ok_or_else(|| io::Error::other("unknown format"))
}

/// The function in which the kernel lets it wait. `None` if it does not wait, or that is hidden.
pub(crate) fn kernel_function(pid: Pid, thread: Pid) -> Option<String> {
    kernel_functions(pid, thread, 1).pop()
}

/// That function and those that called it, as far as we are allowed to know, and at most so many.
pub(crate) fn kernel_functions(pid: Pid, thread: Pid, most: usize) -> Vec<String> {
    let is_known = |name: &String| !name.is_empty() && !name.starts_with("0x");
    let stack = kernel_stack(pid, thread).unwrap_or_default();
    let known: Vec<_> = stack.into_iter().take_while(is_known).take(most).collect();
    if known.is_empty() { waiting_in(pid, thread).into_iter().collect() } else { known }
}

fn waiting_in(pid: Pid, thread: Pid) -> Option<String> {
    let text = String::from_utf8(read_single(directory(pid, thread).join("wchan")).ok()?).ok()?;
    (text != "0" && !text.is_empty()).then_some(text)
}

/// The functions of the kernel that a thread is in, the innermost first: `[<0>] pipe_read+0x3a1/0x4a0`. Only root can read
/// them.
pub(crate) fn kernel_stack(pid: Pid, thread: Pid) -> Option<Vec<String>> {
    let text = String::from_utf8(read_single(directory(pid, thread).join("stack")).ok()?).ok()?;
    let name = |line: &str| Some(line.split_once("] ")?.1.split('+').next()?.to_string());
    Some(text.lines().filter_map(name).collect())
}

fn directory(pid: Pid, thread: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/task/{thread}"))
}

fn parse(text: &str) -> Option<Syscall> {
    let mut words = text.split_whitespace();
    let first = words.next()?;
    if first == "running" {
        return Some(Syscall::Running);
    }
    let number = first.parse().ok()?;
    let hexadecimal = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let numbers: Vec<u64> = words.map(hexadecimal).collect::<Option<_>>()?;
    let stack = *numbers.iter().rev().nth(1)?;
    match numbers.first_chunk() {
        _ if number < 0 => Some(Syscall::Outside),
        _ if stack < END_OF_32_BITS => Some(Syscall::Foreign),
        Some(&arguments) if numbers.len() == 8 => Some(Syscall::Within { number, arguments }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_file_is_understood() {
        assert_eq!(parse("running\n"), Some(Syscall::Running));
        assert_eq!(parse("-1 0x7ffc3e2377c8 0x7f1463799503\n"), Some(Syscall::Outside));
        let text = "61 0xffffffff 0x0 0x2 0x0 0x1 0x7 0x7ffc3e2377c8 0x7f1463799503";
        let arguments = [0xffff_ffff, 0, 2, 0, 1, 7];
        assert_eq!(parse(text), Some(Syscall::Within { number: 61, arguments }));
        assert_eq!(parse("7 0x1 0x0 0x2 0x0 0x1 0x7 0xffb2d0c8 0xf7f99503"), Some(Syscall::Foreign));
        for bad in ["", "x", "61", "61 0x1", "61 1 2 3 4 5 6 7 8"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_thread_that_waits_shows_its_call() {
        let (reader, writer) = std::io::pipe().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            let mut reader = reader;
            std::io::Read::read(&mut reader, &mut [0])
        });
        let (us, thread) = (rustix::process::getpid(), told.recv().unwrap());
        let is_reading = |call| matches!(call, Syscall::Within { number: libc::SYS_read, .. });
        while !is_reading(syscall(us, thread).unwrap()) {
            std::thread::yield_now();
        }
        assert!(kernel_function(us, thread).is_some_and(|name| name.contains("pipe_read")));
        assert!(thread_ids(us, 1000).contains(&thread) && thread_ids(us, 1) == [us]);
        drop(writer);
        waiting.join().unwrap().unwrap();
    }
}
