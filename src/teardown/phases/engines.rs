//! Closes the session's way to its container engines. Nothing is left that could use it.

use super::super::Teardown;

impl Teardown<'_> {
    pub(in super::super) fn close_engines(&mut self) {
        let Some(proxy) = self.context.proxy.take() else { return };
        if !proxy.end() {
            self.verdict.unknown(
                "cannot exclude that a container engine still creates what the session asked for: it has not answered",
            );
        }
    }
}
