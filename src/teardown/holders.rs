//! The watched ports after a session: free, ours after all, or a stranger's.

use super::verdict::Verdict;
use super::{Remains, marked};
use crate::ports::{self, Holding};
use crate::sys::sock_diag::Listener;

/// Looks who holds a watched port now. A holder with the session's marker in its environment is
/// killed; a socket made in the session that a stranger holds is a survivor; a stranger's own is
/// said and left alone. To be called while the session's cgroups are still there.
pub fn look(remains: &Remains, verdict: &mut Verdict) {
    let Some(held) = find(remains, verdict) else { return };
    if held.is_empty() {
        return;
    }
    end_marked(remains, &held, verdict);
    let still = find(remains, verdict).unwrap_or_default();
    let Some(sockets) = verdict.expect(remains.containment.sockets(&still)) else { return };
    let (ours, strangers): (Vec<_>, Vec<_>) = still.into_iter().partition(|it| sockets.include(it));
    verdict.survivors.extend(
        Holding::of(&ours)
            .iter()
            .map(|holding| format!("{holding}, through a socket that was made in this session")),
    );
    verdict.strangers = Holding::of(&strangers);
}

/// The listeners on watched ports that were not there before the session.
fn find(remains: &Remains, verdict: &mut Verdict) -> Option<Vec<Listener>> {
    let listeners = ports::listening_on(&remains.watched)
        .map_err(|error| format!("cannot tell who listens on the watched ports: {error}"));
    let mut listeners = verdict.expect(listeners)?;
    listeners.retain(|listener| !remains.held_before.iter().any(|before| before.inode == listener.inode));
    Some(listeners)
}

fn end_marked(remains: &Remains, held: &[Listener], verdict: &mut Verdict) {
    let sessions = verdict.expect(remains.containment.ids()).unwrap_or_default();
    for holder in Holding::of(held).into_iter().flat_map(|holding| holding.holders) {
        marked::end_one(holder, &sessions, remains, verdict);
    }
}
