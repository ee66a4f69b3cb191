//! The report of a new process before it executes: one byte when it is about to, or the step that failed. A
//! close-on-exec pipe alone could not distinguish a successful exec from a process that was killed before it.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;

use crate::sys::poll::timeout_until;
use crate::sys::time::Instant;

pub(super) const ABOUT_TO_EXEC: u8 = b'x';
/// Precedes the pid of the process that executes, if that is not the one forked first.
pub(super) const BORN: u8 = b'p';
/// The bytes of a pid, and of an error number.
const NUMBER: usize = 4;
/// How long to wait for the report. If another process has frozen the cgroup, the new process never executes
/// anything.
const BEGINNING: Duration = Duration::from_secs(30);

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Creating the process.
    Fork,
    /// Joining the cgroup.
    Join,
    /// Entering the PID namespace.
    Enter,
    /// Becoming another user.
    Become,
    /// Its process group or standard streams.
    Prepare,
    /// Entering the working directory.
    Chdir,
    /// Executing the program.
    Exec,
    /// It was killed before it could execute anything.
    Birth,
    /// It was created, but did nothing.
    Begin,
}

impl Step {
    const ALL: [Self; 9] = [
        Self::Fork,
        Self::Join,
        Self::Enter,
        Self::Become,
        Self::Prepare,
        Self::Chdir,
        Self::Exec,
        Self::Birth,
        Self::Begin,
    ];
}

#[derive(Debug, thiserror::Error)]
#[error("{step:?}: {source}")]
pub(crate) struct SpawnError {
    pub step: Step,
    pub source: io::Error,
}

/// Reads the child's report. The flag tells whether the report was complete in time.
pub(super) fn report(mut reader: File) -> io::Result<(Vec<u8>, bool)> {
    let deadline = Instant::now() + BEGINNING;
    let mut said = Vec::new();
    loop {
        let timeout = timeout_until(deadline, Instant::now());
        match poll(&mut [PollFd::new(&reader, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return Ok((said, false)),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let mut chunk = [0; 16];
        match reader.read(&mut chunk)? {
            0 => return Ok((said, true)),
            length => said.extend_from_slice(&chunk[..length]),
        }
    }
}

/// One message of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    AboutToExec,
    Born(i32),
    Failed(u8, i32),
}

/// Splits a report into messages. Each write is atomic, but two processes may have written, in any order.
fn words(mut said: &[u8]) -> Vec<Said> {
    let mut words = Vec::new();
    while let [word, rest @ ..] = said {
        if *word == ABOUT_TO_EXEC {
            words.push(Said::AboutToExec);
            said = rest;
            continue;
        }
        let Some((number, rest)) = rest.split_first_chunk::<NUMBER>() else { break };
        let number = i32::from_ne_bytes(*number);
        words.push(if *word == BORN { Said::Born(number) } else { Said::Failed(*word, number) });
        said = rest;
    }
    words
}

/// The process that executes, if that is not the one forked first.
pub(super) fn born(said: &[u8]) -> Option<Pid> {
    words(said).into_iter().find_map(|word| match word {
        Said::Born(pid) => Pid::from_raw(pid),
        _ => None,
    })
}

/// The outcome that the child reported before it closed the pipe.
pub(super) fn outcome(said: &[u8]) -> Result<(), SpawnError> {
    let words = words(said);
    let failed = words.iter().find_map(|word| match word {
        Said::Failed(step, errno) => Some((*step, *errno)),
        _ => None,
    });
    match failed {
        None if words.contains(&Said::AboutToExec) => Ok(()),
        Some((step, errno)) => Err(SpawnError {
            step: Step::ALL.into_iter().find(|it| *it as u8 == step).unwrap_or(Step::Prepare),
            source: io::Error::from_raw_os_error(errno),
        }),
        _ => Err(SpawnError {
            step: Step::Birth,
            source: io::Error::other("the process was killed before it could execute anything"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(step: Step, errno: i32) -> Vec<u8> {
        [&[step as u8], &errno.to_ne_bytes()[..]].concat()
    }

    #[test]
    fn reports_are_understood_in_any_order() {
        let born_7 = [&[BORN], &7i32.to_ne_bytes()[..]].concat();
        for said in [[&born_7[..], &[ABOUT_TO_EXEC]].concat(), [&[ABOUT_TO_EXEC], &born_7[..]].concat()] {
            assert_eq!(born(&said), Pid::from_raw(7));
            assert!(outcome(&said).is_ok());
        }
    }

    #[test]
    fn a_failure_is_recognized_before_and_after_a_birth() {
        let enter = outcome(&failed(Step::Enter, libc::EPERM)).unwrap_err();
        assert_eq!((enter.step, enter.source.raw_os_error()), (Step::Enter, Some(libc::EPERM)));
        let exec = [&[ABOUT_TO_EXEC], &failed(Step::Exec, libc::ENOENT)[..]].concat();
        assert_eq!(outcome(&exec).unwrap_err().step, Step::Exec);
    }

    #[test]
    fn an_empty_report_means_that_the_process_was_killed() {
        for said in [&[][..], &[BORN, 7][..]] {
            assert_eq!(outcome(said).unwrap_err().step, Step::Birth);
        }
    }
}
