//! Ends what sessions have left in container engines, by its labels alone: their cgroups can be gone.

use std::io;

use crate::containers::{Engine, EngineObject, UntilSignal, Waiting, find_stale};
use crate::plan::GRACE;
use crate::report::Reporter;
use crate::sys::process::identity::Identity;

/// Further objects are counted, not listed.
const LISTED: usize = 20;

/// Called when a session with containers starts, and by a sweep. Says what it ended, and returns whether it is known that
/// nothing is left. An engine that is not there, or that we have no right to ask, has nothing. A signal ends it at once, and what
/// is not known then is not worth a word.
pub(crate) fn end_stale_containers(
    engines: &[Engine],
    identity: Option<&Identity>,
    dry_run: bool,
    reporter: &Reporter,
    waiting: &mut UntilSignal,
) -> io::Result<bool> {
    let stale = find_stale(engines, identity, waiting)?;
    if waiting.is_urgent() {
        return Ok(false);
    }
    if dry_run {
        say("would end", stale.objects(), reporter);
        stale.unknown().for_each(|it| reporter.error(it));
        return Ok(stale.unknown().next().is_none());
    }
    let ending = stale.end(engines, identity, GRACE, waiting);
    say("ended", &ending.ended, reporter);
    if waiting.is_urgent() {
        return Ok(false);
    }
    let survivors = ending.survivors.iter().map(|it| format!("cannot end {it}"));
    let problems: Vec<_> = survivors.chain(ending.unknown).collect();
    problems.iter().for_each(|it| reporter.error(it));
    Ok(problems.is_empty())
}

fn say(what: &str, objects: &[EngineObject], reporter: &Reporter) {
    for it in objects.iter().take(LISTED) {
        reporter
            .say(&format!("{what} {it}, left behind by session {}, whose cgrun process died", it.session));
    }
    if objects.len() > LISTED {
        reporter.say(&format!("{what} {} more", objects.len() - LISTED));
    }
}
