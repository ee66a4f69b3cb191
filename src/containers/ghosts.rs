//! Containers that an engine lists although it has removed them, as a busy Docker did with two of 200: it listed them as "removing",
//! and had refused to remove neither. It answers lists from a copy of what it knows, which presumably was not up to date.

use std::time::Duration;

use super::ending::path;
use super::exchange::{Answer, Limit};
use super::listing::{Asking, Listing};
use super::object::EngineObject;
use crate::runtime::clock;
use crate::sys::time::Instant;

/// How long engines may take to say what they know of these.
const PATIENCE: Duration = Duration::from_secs(2);

impl Asking<'_> {
    /// Leaves out what the engine itself, asked for it by its id, does not have. Any other answer than that leaves it in.
    pub(super) fn leave_out_ghosts(&mut self, listing: &mut Listing, deadline: Instant) {
        let suspects: Vec<_> = listing.objects.iter().filter(|it| it.is_being_removed).cloned().collect();
        let describe = |it: &EngineObject| (format!("{}/json", path(it)), None);
        let limit = Limit::until(deadline.min(clock::now() + PATIENCE));
        let answers = self.tell("GET", &suspects.iter().collect::<Vec<_>>(), describe, limit);
        for (suspect, answer) in suspects.iter().zip(answers) {
            if matches!(answer, Ok(Answer { code: 404, .. })) {
                listing.objects.retain(|it| it.key() != suspect.key());
            }
        }
    }
}
