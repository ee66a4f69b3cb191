//! Phase 5: checks whether each watched port is free, still held by the session, or held by a stranger.

use crate::ports::{self, Holding};
use crate::sys::sockets::Listener;
use crate::teardown::running_teardown::Teardown;

impl Teardown<'_> {
    /// Checks which processes hold the watched ports. A holder with the session's marker in its environment
    /// is killed. A socket that was created in the session but is held by another process is a survivor. A
    /// stranger's own socket is reported and left alone. The session's cgroups must still exist.
    pub(in crate::teardown) fn check_ports(&mut self) {
        let Some(held) = self.new_listeners() else { return };
        if held.is_empty() {
            return;
        }
        self.kill_marked_holders(&held);
        let held = self.new_listeners().unwrap_or_default();
        let Some(sockets) = self.verdict.expect(self.context.containment.sockets(&held)) else { return };
        let (ours, strangers): (Vec<_>, Vec<_>) = held.into_iter().partition(|it| sockets.include(it));
        self.verdict.survivors.extend(
            Holding::of(&ours)
                .iter()
                .map(|holding| format!("{holding}, through a socket that was created in this session")),
        );
        self.verdict.strangers = Holding::of(&strangers);
    }

    /// The listeners on watched ports that were not there before the session.
    fn new_listeners(&mut self) -> Option<Vec<Listener>> {
        let listeners = ports::listening_on(&self.context.watched_ports).map_err(|error| {
            format!(
                "cannot determine which processes listen on the watched ports: {}",
                crate::text::plain(&error)
            )
        });
        let mut listeners = self.verdict.expect(listeners)?;
        let before = &self.context.preexisting_listeners;
        listeners.retain(|listener| !before.iter().any(|it| it.inode == listener.inode));
        Some(listeners)
    }

    fn kill_marked_holders(&mut self, held: &[Listener]) {
        let sessions = self.verdict.expect(self.context.containment.session_ids()).unwrap_or_default();
        for holder in Holding::of(held).into_iter().flat_map(|holding| holding.holders) {
            self.kill_if_marked(holder, &sessions);
        }
    }
}
