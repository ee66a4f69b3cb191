//! Tries something in a child, so that it changes nothing here.

use std::io::{self, Read, Write};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::fork::fork_with;

/// What the child says in place of a reason.
const WORKS: &str = "+";

/// Why it does not work, in words. The outer error is about the child.
///
/// Must be called while this process has a single thread.
pub(crate) fn in_a_child(attempt: impl FnOnce() -> Result<(), String>) -> io::Result<Result<(), String>> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: this process has one thread, so the child finds no lock held.
    let Some(child) = Pid::from_raw(unsafe { fork_with(0) }?) else {
        let said = attempt().err().unwrap_or(WORKS.into());
        let _ = std::fs::File::from(writer).write_all(said.as_bytes());
        // SAFETY: exits without unwinding, so no code of the parent runs.
        unsafe { libc::_exit(0) }
    };
    drop(writer);
    let mut said = String::new();
    let read = std::fs::File::from(reader).read_to_string(&mut said);
    waitpid(Some(child), WaitOptions::empty())?;
    read?;
    match said.as_str() {
        WORKS => Ok(Ok(())),
        "" => Err(io::Error::other("the child that tried it died")),
        _ => Ok(Err(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_says_why_it_failed_and_changes_nothing() {
        let mut changed = false;
        let change = || {
            changed = true;
            Ok(())
        };
        assert_eq!(in_a_child(change).unwrap(), Ok(()));
        assert!(!changed);
        assert_eq!(in_a_child(|| Err("no".into())).unwrap(), Err("no".into()));
        // SAFETY: ends the child at once.
        in_a_child(|| unsafe { libc::_exit(1) }).unwrap_err();
    }
}
