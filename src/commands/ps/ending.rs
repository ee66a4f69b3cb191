//! Ends processes one by one: asks each to exit, and kills it if it is still alive when its grace is over.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::plan::KILL_WAIT;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcessKey;
use crate::sys::time::Instant;
use crate::text::plain;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// When it was asked to.
    Asked,
    Killed,
}

/// What came of it.
pub(super) type Outcome = Result<Ending, String>;

/// Ends the processes with these keys, and waits until they have exited.
pub(super) fn end(keys: &[ProcessKey], grace: Duration) -> Vec<Outcome> {
    let opened: Vec<_> = keys.iter().map(|&key| open(key)).collect();
    let asked: Vec<_> = opened.iter().map(|it| each(it, ask)).collect();
    let until = Instant::now() + grace;
    let exited: Vec<_> = opened.iter().map(|it| each(it, |process| wait(process, until))).collect();
    let kill = |(process, exited): (&io::Result<Option<Process>>, &io::Result<bool>)| match exited {
        Ok(true) => Ok(true),
        _ => each(process, |process| process.signal(Signal::SIGKILL)),
    };
    let killed: Vec<_> = opened.iter().zip(&exited).map(kill).collect();
    let until = Instant::now() + KILL_WAIT;
    let gone = opened.iter().map(|it| each(it, |process| wait(process, until)));
    let results = gone.zip(asked).zip(exited).zip(killed);
    results
        .zip(keys)
        .map(|((((gone, asked), exited), killed), (pid, _))| match (gone, exited) {
            (Ok(true), Ok(true)) => Ok(Ending::Asked),
            (Ok(true), _) => Ok(Ending::Killed),
            (gone, _) => Err(match asked.and(killed).and(gone) {
                Ok(_) => format!("pid {pid} did not exit after SIGKILL"),
                Err(error) => format!("cannot end pid {pid}: {}", plain(&error)),
            }),
        })
        .collect()
}

/// Waits until all have exited, for at most `limit`.
pub(super) fn settle(keys: &[ProcessKey], limit: Duration) {
    let until = Instant::now() + limit;
    for key in keys {
        let _ = each(&open(*key), |process| wait(process, until));
    }
}

/// `None` if it has exited. The start time is read after opening: before that, the pid may have been reused.
fn open((pid, started): ProcessKey) -> io::Result<Option<Process>> {
    let process = Process::open(pid)?;
    let is_it = crate::sys::procfs::stat::start_time(pid) == Some(started);
    Ok(process.filter(|_| is_it))
}

/// `true` if it has exited.
fn each(
    process: &io::Result<Option<Process>>,
    act: impl FnOnce(&Process) -> io::Result<bool>,
) -> io::Result<bool> {
    match process {
        Ok(Some(process)) => act(process),
        Ok(None) => Ok(true),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

fn ask(process: &Process) -> io::Result<bool> {
    process.signal(Signal::SIGTERM)?;
    // A stopped process must be continued before it can react.
    process.signal(Signal::SIGCONT)
}

fn wait(process: &Process, until: Instant) -> io::Result<bool> {
    process.wait(until - Instant::now())
}
