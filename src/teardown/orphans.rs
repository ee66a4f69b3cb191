//! Layer 6: descendants that left the cgroup. Their parents are dead by now, so the kernel has made
//! them our children, and ECHILD proves that there are none.

use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::kill::Dying;
use super::layers::Orphans;
use super::verdict::Verdict;
use super::{Context, Wait, marked};
use crate::leaks::How;
use crate::runtime::clock;
use crate::sys::children;
use crate::sys::pidfd::Process;
use crate::sys::proc::{self, ProcessInfo};
use crate::text::plain;

const LOOK: Duration = Duration::from_millis(20);
/// So long at most are children reaped before the living are looked at.
const REAPING: Duration = Duration::from_millis(200);

/// Ends every child that is left: asked first, unless the user is in a hurry, then killed. What a
/// dying child leaves behind becomes our child in turn, until there is none. Those who were `killed` in
/// the cgroup, and have not ended, have not left it.
pub fn end(context: &mut Context, killed: &[Pid], wait: &mut Wait<'_>, verdict: &mut Verdict) {
    let mut asked: Vec<Pid> = Vec::new();
    let mut kill_from = clock::now() + context.grace;
    // Begins with the first kill, however short the limit.
    let mut dying: Option<Dying> = None;
    loop {
        match reap(context).and_then(|()| children::any_left()) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return verdict.unknown(format!("cannot tell whether children are left: {error}")),
        }
        (wait.ensure_guardian)(context);
        let now = clock::now();
        if wait.requests.end_the_grace() {
            kill_from = kill_from.min(now);
        }
        let mut left: Vec<_> = match children::list() {
            Ok(left) => left.into_iter().filter_map(ProcessInfo::read).filter(|it| !it.is_zombie).collect(),
            Err(error) => return verdict.unknown(format!("cannot list our children: {error}")),
        };
        let others = left.len();
        let init = context.containment.init();
        left.retain(|process| Some(process.pid) != context.guardian && Some(process.pid) != init);
        if context.had_preexisting {
            spare_strangers(&mut left, context, verdict);
        }
        if left.is_empty() && others > 0 {
            return;
        }
        if dying.as_mut().is_some_and(|dying| dying.are_stuck(left.len())) {
            verdict.survivors.extend(
                left.iter()
                    .filter(|process| !killed.contains(&process.pid))
                    .map(|process| format!("{process} had left the session's cgroup and does not end")),
            );
            if left.is_empty() {
                verdict.unknown("a child of ours neither shows nor ends");
            }
            return;
        }
        let killing = now >= kill_from;
        if killing {
            dying.get_or_insert_with(|| Dying::new(context.kill_wait));
        }
        for process in left {
            let pid = process.pid;
            let first = !asked.contains(&pid);
            if !first && !killing {
                continue;
            }
            if first {
                asked.push(pid);
                // One that is dying has left the cgroup before it is a zombie.
                if !killed.contains(&pid) && !proc::is_exiting(pid) {
                    verdict.add_leak(How::Escaped, process);
                }
            }
            // Our own unreaped child: the number cannot have changed hands.
            // Whether it was asked matters little: ECHILD alone proves the end.
            let sent = Process::open(pid).and_then(|child| match child {
                Some(child) if killing => child.signal(Signal::SIGKILL),
                Some(child) => child.signal(Orphans::STOP_SIGNAL).and_then(|_| child.signal(Signal::SIGCONT)),
                None => Ok(false),
            });
            if let (true, Err(error)) = (killing, sent) {
                verdict.unknown(format!("cannot kill pid {pid}: {}", plain(&error)));
            }
        }
        // Re-parenting announces itself by nothing, but for the parent's own end.
        let reaped = wait.on(&[], Some(clock::now() + LOOK), |pid, status| context.note_exit(pid, status));
        verdict.expect(reaped);
    }
}

/// Children that we had before the session are not of it; what they leave behind becomes our child as
/// well, and only the marker tells it from what the session has left.
fn spare_strangers(left: &mut Vec<ProcessInfo>, context: &Context, verdict: &mut Verdict) {
    left.retain(|process| !context.preexisting.contains(&process.pid));
    let sessions = verdict.expect(context.containment.ids()).unwrap_or_default();
    left.retain(|process| {
        let ours = marked::carries(process.pid, &sessions).unwrap_or(false);
        if !ours {
            verdict.unknown(format!(
                "{process} became our child: of this session, or of a process before it? Left alone"
            ));
        }
        ours
    });
}

/// Reaps whoever has ended.
pub fn reap(context: &mut Context) -> std::io::Result<()> {
    let (ended, _) = children::reap(REAPING)?;
    ended.into_iter().for_each(|(pid, status)| context.note_exit(pid, status));
    Ok(())
}
