//! `cgroup.kill`, and again, until the kernel says that nobody is left.

use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::snapshot::{self, How};
use super::verdict::Verdict;
use super::{Remains, orphans};
use crate::clock;
use crate::containment::ContainmentError;
use crate::events::Wake;
use crate::sys::pidfd::Process;
use crate::sys::proc::ProcessInfo;
use crate::sys::tty::plain;

/// A racing fork can survive one kill (before Linux commit b69bb476), so it is repeated.
const AGAIN: Duration = Duration::from_millis(100);
/// No longer than this, in all.
const BUSY: Duration = Duration::from_secs(60);
/// The kernel holds its notice of an empty cgroup back for 10 to 15 ms; looking costs 2 µs.
const LOOK: Duration = Duration::from_micros(500);
/// After this time a notice that is 15 ms late does not matter any more.
const LOOKING: Duration = Duration::from_millis(300);

/// Kills whatever is left in the session's cgroup. Returns who did not end in time.
pub fn the_rest(remains: &mut Remains, verdict: &mut Verdict) -> Vec<Pid> {
    let emptied = until_empty(remains);
    let containment = &remains.containment;
    match emptied {
        Ok(true) => Vec::new(),
        Ok(false) => {
            let members = verdict.expect(containment.members()).unwrap_or_default();
            let wait = remains.kill_wait.as_secs_f32();
            verdict.survivors.extend(
                members
                    .iter()
                    .filter_map(|&pid| ProcessInfo::read(pid))
                    .map(|process| format!("{process} was killed but has not ended within {wait} s")),
            );
            verdict.unknown(format!("{} still holds processes", containment.name()));
            members
        }
        Err(error) => {
            verdict.unknown(error);
            Vec::new()
        }
    }
}

/// Kills one process and waits for its end.
pub fn one(process: &Process, remains: &Remains, verdict: &mut Verdict) {
    let ended = process.signal(Signal::SIGKILL).and_then(|_| process.wait(remains.kill_wait));
    verdict.expect(ended.map_err(|error| format!("cannot kill pid {}: {}", process.pid, plain(&error))));
}

/// Those that were not seen when the parts were asked to end: they belong to no part, or to one that was
/// empty when it was looked at.
pub fn note_strays(remains: &Remains, verdict: &mut Verdict) {
    if verdict.expect(remains.containment.is_populated()) == Some(false) {
        return;
    }
    let (gone, asked): (Vec<_>, Vec<_>) =
        (0..remains.parts.len()).partition(|&index| verdict.span(index).gone.is_some());
    let strays = remains.containment.strays(asked.iter().map(|&index| &remains.parts[index].leaf));
    let mut strays = verdict.expect(strays).unwrap_or_default();
    for index in gone {
        if strays.is_empty() {
            return;
        }
        let part = &remains.parts[index];
        let members = verdict.expect(part.leaf.members()).unwrap_or_default();
        let (late, others): (Vec<_>, Vec<_>) = strays.into_iter().partition(|pid| members.contains(pid));
        if !late.is_empty() {
            verdict.span(index).gone = None;
            verdict.add_leaks(snapshot::describe(late, &part.how_outlived()));
        }
        strays = others;
    }
    verdict.add_leaks(snapshot::describe(strays, &How::Strayed));
}

/// `false` where it is not empty in time. As long as there are ever fewer, the kernel is busy, not stuck.
fn until_empty(remains: &mut Remains) -> Result<bool, ContainmentError> {
    if !remains.containment.is_populated()? {
        return Ok(true);
    }
    let begin = clock::now();
    let mut deadline = begin + remains.kill_wait;
    let mut fewest = remains.containment.members()?.len();
    loop {
        // Killed at least once, however short the limit.
        remains.containment.kill()?;
        let again = (clock::now() + AGAIN).min(deadline);
        while remains.containment.is_populated()? && clock::now() < again {
            // The first process of a PID namespace ends after all of its others were reaped.
            if remains.containment.init().is_some() {
                orphans::reap(remains)
                    .map_err(ContainmentError::on("reap the children of", "/proc/self".as_ref()))?;
            }
            let look = if clock::since(begin) < LOOKING { clock::now() + LOOK } else { again };
            Wake::wait_for_change(remains.containment.events(), look.min(again));
        }
        if !remains.containment.is_populated()? {
            return Ok(true);
        }
        let left = remains.containment.members()?.len();
        if left < fewest && clock::since(begin) < BUSY {
            fewest = left;
            deadline = clock::now() + remains.kill_wait;
        } else if clock::now() >= deadline {
            return Ok(false);
        }
    }
}
