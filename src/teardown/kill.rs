//! `cgroup.kill`, and again, until the kernel says that nobody is left.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::verdict::Verdict;
use super::{Context, orphans};
use crate::containment::ContainmentError;
use crate::leaks::{self, How};
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::pidfd::Process;
use crate::sys::proc::ProcessInfo;
use crate::text::plain;

/// A racing fork can survive one kill (before Linux commit b69bb476), so it is repeated.
const AGAIN: Duration = Duration::from_millis(100);
/// After this no more time is given.
const BUSY: Duration = Duration::from_secs(30);
/// The kernel holds its notice of an empty cgroup back for 10 to 15 ms; looking costs 2 µs.
const LOOK: Duration = Duration::from_micros(500);
/// After this time a notice that is 15 ms late does not matter any more.
const LOOKING: Duration = Duration::from_millis(300);

/// Kills whatever is left in the session's cgroup. Returns who did not end in time.
pub fn the_rest(
    context: &mut Context,
    ensure_guardian: &mut dyn FnMut(&mut Context),
    verdict: &mut Verdict,
) -> Vec<Pid> {
    let begin = clock::now();
    let emptied = until_empty(context, ensure_guardian);
    let containment = &context.containment;
    match emptied {
        Ok(true) => Vec::new(),
        Ok(false) => {
            let members = verdict.expect(containment.members()).unwrap_or_default();
            let took = clock::since(begin).as_secs_f32();
            verdict.survivors.extend(
                members
                    .iter()
                    .filter_map(|&pid| ProcessInfo::read(pid))
                    .map(|process| format!("{process} was killed but has not ended within {took:.1} s")),
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
pub fn one(process: &Process, context: &Context, verdict: &mut Verdict) {
    let ended = process.signal(Signal::SIGKILL).and_then(|_| process.wait(context.kill_wait));
    verdict.expect(ended.map_err(|error| format!("cannot kill pid {}: {}", process.pid, plain(&error))));
}

/// Those that were not seen when the components were asked to end: they belong to no component, or to one that was
/// empty when it was looked at.
pub fn note_strays(context: &Context, verdict: &mut Verdict) {
    if verdict.expect(context.containment.is_populated()) == Some(false) {
        return;
    }
    let (gone, asked): (Vec<_>, Vec<_>) =
        (0..context.components.len()).partition(|&index| verdict.span(index).gone.is_some());
    let strays = context.containment.strays(asked.iter().map(|&index| &context.components[index].leaf));
    let mut strays = verdict.expect(strays).unwrap_or_default();
    for index in gone {
        if strays.is_empty() {
            return;
        }
        let component = &context.components[index];
        let members = verdict.expect(component.leaf.members()).unwrap_or_default();
        let (late, others): (Vec<_>, Vec<_>) = strays.into_iter().partition(|pid| members.contains(pid));
        if !late.is_empty() {
            verdict.span(index).gone = None;
            verdict.add_leaks(leaks::describe_all(late, &component.how_outlived()));
        }
        strays = others;
    }
    verdict.add_leaks(leaks::describe_all(strays, &How::ChangedCgroup));
}

/// `false` where it is not empty in time.
fn until_empty(
    context: &mut Context,
    ensure_guardian: &mut dyn FnMut(&mut Context),
) -> Result<bool, ContainmentError> {
    let begin = clock::now();
    let mut dying = Dying::new(context.kill_wait);
    while context.containment.is_populated()? {
        // Killed at least once, however short the limit.
        context.containment.kill()?;
        let again = (clock::now() + AGAIN).min(dying.deadline);
        while context.containment.is_populated()? && clock::now() < again {
            // The first process of a PID namespace ends after all of its others were reaped.
            if context.containment.init().is_some() {
                orphans::reap(context)
                    .map_err(ContainmentError::on("reap the children of", "/proc/self".as_ref()))?;
            }
            let look = if clock::since(begin) < LOOKING { clock::now() + LOOK } else { again };
            Wake::wait_for_change(context.containment.events(), look.min(again));
        }
        // Who cannot be counted is not known to get fewer.
        let left = context.containment.members().map_or(usize::MAX, |members| members.len());
        if dying.are_stuck(left) {
            return Ok(!context.containment.is_populated()?);
        }
        ensure_guardian(context);
    }
    Ok(true)
}

/// A killed crowd. As long as ever fewer are left, the kernel is busy, not stuck.
pub struct Dying {
    wait: Duration,
    begin: Instant,
    deadline: Instant,
    fewest: usize,
}

impl Dying {
    /// So long none of them may end.
    pub fn new(wait: Duration) -> Self {
        let begin = clock::now();
        Self { wait, begin, deadline: begin + wait, fewest: usize::MAX }
    }

    /// Whether they have not become fewer for too long, now that so many are left.
    pub fn are_stuck(&mut self, left: usize) -> bool {
        let now = clock::now();
        if left < self.fewest && now < self.begin + BUSY {
            self.fewest = left;
            self.deadline = now + self.wait;
        }
        now >= self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_stuck_only_when_it_does_not_get_smaller() {
        let wait = Duration::from_millis(100);
        let mut dying = Dying::new(wait);
        assert!(!dying.are_stuck(9));
        for left in [8, 7] {
            std::thread::sleep(wait);
            assert!(!dying.are_stuck(left), "{left} are left");
        }
        std::thread::sleep(wait);
        assert!(dying.are_stuck(7));
        // Who cannot be counted.
        assert!(Dying::new(Duration::ZERO).are_stuck(usize::MAX));
    }
}
