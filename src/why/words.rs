//! A reason in words: the rest of a sentence whose subject is the process.

use rustix::process::Pid;

use super::graph::Tie;
use super::reason::{Blocker, Reason};
use super::wait::{Children, Direction, File, FileKind, Wait};
use crate::sys::port::Protocol;
use crate::text::{age, elapsed, readable};

/// How many processes are named before the rest is counted.
const NAMED: usize = 2;

/// `name` gives a process a name, such as `4711 (npm run e2e)`.
pub(super) fn words(reason: &Reason, name: &dyn Fn(Pid) -> String) -> String {
    let held = list(&reason.blockers, name);
    let object = reason.object.as_deref().map(readable);
    let at = |what: &str| object.as_ref().map_or(what.to_string(), |object| object.clone());
    match &reason.wait {
        Wait::Stopped(signal) => stopped(*signal).into(),
        Wait::Traced(Some(tracer)) => format!("is stopped by its tracer {}", name(*tracer)),
        Wait::Traced(None) => "is stopped by its tracer".into(),
        Wait::Busy(cpu) => format!("is busy: {:.0} % CPU", cpu * 100.0),
        Wait::Child(which) => child(*which, &reason.blockers, &held),
        Wait::Read(file) => read(file, reason, &at, &held),
        Wait::Write(file) => match (&file.kind, &held) {
            _ if reason.line.is_some() => at_line("writes to", reason, &held),
            (FileKind::Pipe(_), Some(_)) => {
                format!("writes to a full pipe that {} can read", only(&reason.blockers, &held))
            }
            (FileKind::Pipe(_), None) if reason.by_itself => {
                "writes to a full pipe that only it can read".into()
            }
            (FileKind::Pipe(_), None) if reason.by_its_threads => {
                "writes to a full pipe that only its own threads can read".into()
            }
            (FileKind::Pipe(_), None) => "writes to a full pipe; who can read it is unknown".into(),
            (FileKind::Terminal(_), Some(held)) => {
                format!("writes to the terminal {}, whose output {held} does not read", at(""))
            }
            (FileKind::Terminal(_), None) => {
                format!(
                    "writes to the terminal {}, which takes nothing: Ctrl-S may have stopped it, Ctrl-Q continues it",
                    at("")
                )
            }
            (_, Some(held)) => format!("writes to {}, held by {held}", at("a file")),
            (_, None) => format!("writes to {}", at(&described(file))),
        },
        Wait::Connect(_) => match reason.line {
            Some(_) => at_line("connects to", reason, &held),
            None => format!("connects to {}, without an answer", at("a socket")),
        },
        Wait::Accept(_) => format!("waits for connections to {}", at("a socket")),
        Wait::Open(_, Direction::In) => {
            format!("opens the FIFO {} to read; no process opens it to write", at(""))
        }
        Wait::Open(_, Direction::Out) => {
            format!("opens the FIFO {} to write; no process opens it to read", at(""))
        }
        Wait::FileLock(_) => match &held {
            Some(held) => format!("wants the lock on {}, held by {held}", at("a file")),
            None => format!("wants the lock on {}; who holds it is unknown", at("a file")),
        },
        Wait::Futex { shared: false } => "waits for a lock or for another of its threads (futex)".into(),
        Wait::Futex { shared: true } => "waits for a lock that it shares with other processes (futex)".into(),
        Wait::Sleep(Some(duration)) if duration.as_secs() < 2 => {
            format!("sleeps, {} at a time", elapsed(duration.as_secs_f64()))
        }
        Wait::Sleep(Some(duration)) => format!("sleeps for {}", age(*duration)),
        Wait::Sleep(None) => "sleeps".into(),
        Wait::Signal => match &held {
            Some(held) => format!("waits for a signal, such as that of the exit of its child {held}"),
            None => "waits for a signal".into(),
        },
        Wait::DatabaseLock => match &held {
            Some(held) => format!("waits for a lock in the database, likely held by {held}"),
            None => "waits for a lock in the database; who holds it is unknown: see pg_locks".into(),
        },
        Wait::Transaction => {
            at_line("is idle in a transaction, until the next statement from", reason, &held)
        }
        Wait::Events(_) => events(reason, &held),
        Wait::Uninterruptible(Some(function)) => {
            format!("is uninterruptible in the kernel ({})", readable(function))
        }
        Wait::Uninterruptible(None) => {
            "is uninterruptible in the kernel; where is hidden: run as root".into()
        }
        Wait::Other(what) => format!("waits {}", readable(what)),
        Wait::Running => "runs now and then".into(),
        Wait::Unknown(known) => unknown(known.as_deref(), &held),
    }
}

fn unknown(known: Option<&str>, held: &Option<String>) -> String {
    let known = known.map(|known| format!(" ({})", readable(known))).unwrap_or_default();
    match held {
        Some(held) => format!("waits for something unknown, such as the exit of its child {held}{known}"),
        None => format!("waits for something unknown{known}"),
    }
}

/// Jobs in the background are stopped if they use the terminal (termios(3)).
fn stopped(signal: Option<i32>) -> &'static str {
    match signal {
        Some(libc::SIGSTOP) => "is stopped by SIGSTOP",
        Some(libc::SIGTSTP) => "is stopped by SIGTSTP, as by Ctrl-Z",
        Some(libc::SIGTTIN) => "is stopped by SIGTTIN: it reads the terminal, but runs in the background",
        Some(libc::SIGTTOU) => {
            "is stopped by SIGTTOU: it changes the terminal or writes to it, but runs in the background"
        }
        _ => "is stopped, by SIGSTOP or by its terminal",
    }
}

fn child(which: Children, blockers: &[Blocker], held: &Option<String>) -> String {
    match (which, held) {
        (Children::One(_), None) => "waits for one child, which has just exited or cannot be seen".into(),
        (_, Some(held)) if blockers.len() == 1 => format!("waits for its child {held}"),
        (_, Some(held)) => format!("waits for one of its children {held}"),
        (_, None) => "waits for a child, and has none that can be seen".into(),
    }
}

fn read(file: &File, reason: &Reason, at: &dyn Fn(&str) -> String, held: &Option<String>) -> String {
    let stdin = if file.number == Some(0) { "its stdin, " } else { "" };
    match (&file.kind, held) {
        _ if reason.line.is_some_and(|line| line.protocol == Protocol::Udp) => {
            at_line("waits for an answer from", reason, held)
        }
        _ if reason.line.is_some() => at_line("reads from", reason, held),
        (FileKind::Pipe(_), Some(_)) => {
            format!("reads {stdin}a pipe that {} can write to", only(&reason.blockers, held))
        }
        (FileKind::Pipe(_), None) if reason.by_itself => {
            "reads a pipe that only it itself can write to".into()
        }
        (FileKind::Pipe(_), None) if reason.by_its_threads => {
            "reads a pipe that only its own threads can write to".into()
        }
        (FileKind::Pipe(_), None) => format!("reads {stdin}a pipe; who can write to it is unknown"),
        (FileKind::Path(_), Some(held)) => format!("reads {}, which {held} can write to", at("a file")),
        (FileKind::Terminal(_), Some(held)) => {
            format!("reads {stdin}the terminal {}, at which {held} could type", at(""))
        }
        (FileKind::Master(_), Some(held)) => {
            format!("waits for output of {held} at the terminal {}", at(""))
        }
        (FileKind::Terminal(_), None) => format!("reads {stdin}{}", described(file)),
        (FileKind::Socket(_), Some(held)) => {
            format!("reads from a socket, whose other end is held by {held}")
        }
        (FileKind::Socket(_), None) if reason.object.is_some() => format!("waits for data at {}", at("")),
        _ => format!("reads {stdin}{}", at(&described(file))),
    }
}

/// At a connection.
fn at_line(verb: &str, reason: &Reason, held: &Option<String>) -> String {
    let address = readable(reason.object.as_deref().unwrap_or_default());
    let Some(line) = &reason.line else {
        let held = held.as_deref().unwrap_or("a process that is unknown");
        return format!("{verb} {held}");
    };
    format!("{verb} {}{}", line.at(&address, held.as_deref()), line.progress())
}

fn events(reason: &Reason, held: &Option<String>) -> String {
    match held {
        _ if reason.line.is_some_and(|line| line.is_client) => {
            at_line("waits for events, such as a request from", reason, held)
        }
        _ if reason.line.is_some() => at_line("waits for events, among them an answer from", reason, held),
        None => "waits for events".into(),
        Some(held) if reason.are_children => {
            format!("waits for events, such as the exit of its child {held}")
        }
        Some(held) if reason.object.is_some() => {
            format!("waits for events, among them {}", at_terminal(reason, held))
        }
        Some(held) => format!("waits for events, among them data or the exit of {held}"),
    }
}

/// What comes from the other end of a terminal.
fn at_terminal(reason: &Reason, held: &str) -> String {
    let terminal = readable(reason.object.as_deref().unwrap_or_default());
    let Wait::Events(watched) = &reason.wait else { return terminal };
    match watched.iter().any(|(_, file)| matches!(file.kind, FileKind::Master(_))) {
        true => format!("output of {held} at the terminal {terminal}"),
        false => format!("input at {terminal}, from {held}"),
    }
}

fn described(file: &File) -> String {
    match &file.kind {
        FileKind::Pipe(_) => "a pipe".into(),
        FileKind::Socket(_) => "a socket".into(),
        FileKind::Terminal(name) => format!("the terminal {}", readable(name)),
        FileKind::Master(_) => "a terminal of its own, at which no program runs".into(),
        FileKind::Process(_) => "a pidfd".into(),
        FileKind::Anonymous(name) => format!("an {}", readable(name)),
        FileKind::Path(path) => readable(&path.to_string_lossy()),
        FileKind::Unknown => "a file that cannot be seen".into(),
    }
}

fn only(blockers: &[Blocker], held: &Option<String>) -> String {
    let held = held.clone().unwrap_or_default();
    if blockers.len() == 1 { format!("only {held}") } else { held }
}

/// `4711 (a)`, `4711 (a) and 4712 (b)`, `4711 (a), 4712 (b) and 5 others`
fn list(blockers: &[Blocker], name: &dyn Fn(Pid) -> String) -> Option<String> {
    let mut sorted: Vec<&Blocker> = blockers.iter().collect();
    sorted.sort_by_key(|blocker| blocker.tie == Tie::Orders);
    let text = |blocker: &&Blocker| {
        let outside = if blocker.is_ours { "" } else { ", outside of this session" };
        format!("{}{outside}", name(blocker.pid))
    };
    let mut names: Vec<String> = sorted.iter().take(NAMED).map(text).collect();
    match sorted.len().saturating_sub(NAMED) {
        0 => {}
        1 => names.push("1 other".into()),
        more => names.push(format!("{more} others")),
    }
    let last = names.pop()?;
    Some(if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) })
}
