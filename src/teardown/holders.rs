//! The watched ports after a session: free, ours after all, or a stranger's.

use super::verdict::Verdict;
use super::{Context, marked};
use crate::ports::{self, Holding};
use crate::sys::sock_diag::Listener;

/// Looks who holds a watched port now. A holder with the session's marker in its environment is
/// killed; a socket made in the session that a stranger holds is a survivor; a stranger's own is
/// said and left alone. To be called while the session's cgroups are still there.
pub fn look(context: &Context, verdict: &mut Verdict) {
    let Some(held) = find(context, verdict) else { return };
    if held.is_empty() {
        return;
    }
    end_marked(context, &held, verdict);
    let still = find(context, verdict).unwrap_or_default();
    let Some(sockets) = verdict.expect(context.containment.sockets(&still)) else { return };
    let (ours, strangers): (Vec<_>, Vec<_>) = still.into_iter().partition(|it| sockets.include(it));
    verdict.survivors.extend(
        Holding::of(&ours)
            .iter()
            .map(|holding| format!("{holding}, through a socket that was made in this session")),
    );
    verdict.strangers = Holding::of(&strangers);
}

/// The listeners on watched ports that were not there before the session.
fn find(context: &Context, verdict: &mut Verdict) -> Option<Vec<Listener>> {
    let listeners = ports::listening_on(&context.watched)
        .map_err(|error| format!("cannot tell who listens on the watched ports: {error}"));
    let mut listeners = verdict.expect(listeners)?;
    listeners.retain(|listener| !context.held_before.iter().any(|before| before.inode == listener.inode));
    Some(listeners)
}

fn end_marked(context: &Context, held: &[Listener], verdict: &mut Verdict) {
    let sessions = verdict.expect(context.containment.ids()).unwrap_or_default();
    for holder in Holding::of(held).into_iter().flat_map(|holding| holding.holders) {
        marked::end_one(holder, &sessions, context, verdict);
    }
}
