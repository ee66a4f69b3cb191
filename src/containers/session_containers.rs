//! The containers of one session, and those of sessions whose cgrun is dead.

use std::io;
use std::time::Duration;

use super::ending::{Ending, Manner};
use super::engine::Engine;
use super::exchange::Waiting;
use super::images::Judged;
use super::labels::{Labels, Place};
use super::listing::{Asking, Listing};
use super::object::EngineObject;
use super::tags::Tags;
use crate::runtime::clock;
use crate::sys::process::identity::Identity;

/// How long engines may take to say what dead sessions have left.
const LOOKING: Duration = Duration::from_secs(6);

/// What a session has created by way of engines, which its labels show.
#[derive(Debug)]
pub(crate) struct SessionContainers {
    engines: Vec<Engine>,
    labels: Labels,
    /// The session's user, in whose name the engines are asked.
    identity: Option<Identity>,
    /// How long its containers have to exit after they were asked.
    grace: Duration,
}

impl SessionContainers {
    pub(crate) fn new(
        engines: Vec<Engine>,
        labels: Labels,
        identity: Option<Identity>,
        grace: Duration,
    ) -> Self {
        Self { engines, labels, identity, grace }
    }

    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    /// Ends all that it has created, and what sessions within it have left. An engine that cannot be asked is a problem.
    pub(crate) fn end(&self, manner: Manner, waiting: &mut dyn Waiting) -> Ending {
        let mut asking = Asking::new(&self.engines, self.identity.as_ref(), waiting, false);
        let (session, place) = (self.labels.session(), self.labels.place());
        let wanted = |tags: &Tags<'_>| {
            tags.session == session && tags.is_of(place) || tags.is_left_within(session, place)
        };
        let mut judged = Judged::default();
        let found = asking.find(&wanted, &mut judged, manner.deadline(0));
        asking.end(found, &wanted, judged, manner)
    }
}

/// What dead sessions have left on the engines.
#[derive(Debug)]
pub(crate) struct Stale {
    place: Place,
    found: Listing,
    judged: Judged,
}

/// Looks for objects whose owner is dead. Objects of another boot or of another PID namespace are not ours to judge: the owner
/// can be alive there. An engine that is not there has nothing.
pub(crate) fn find_stale(
    engines: &[Engine],
    identity: Option<&Identity>,
    waiting: &mut dyn Waiting,
) -> io::Result<Stale> {
    let place = Place::here()?;
    let mut stale = Stale { place, found: Listing::default(), judged: Judged::default() };
    if engines.is_empty() {
        return Ok(stale);
    }
    let mut asking = Asking::new(engines, identity, waiting, true);
    let wanted = |tags: &Tags<'_>| tags.is_abandoned(&stale.place);
    stale.found = asking.find(&wanted, &mut stale.judged, clock::now() + LOOKING);
    Ok(stale)
}

impl Stale {
    pub(crate) fn objects(&self) -> &[EngineObject] {
        &self.found.objects
    }

    /// Why it is not known what an engine has.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &String> {
        self.found.unknown.iter().chain(&self.judged.doubts)
    }

    /// Whether nothing of a session was seen, so that there is no sign that one has ever used an engine.
    pub(crate) fn is_without_a_trace(&self) -> bool {
        self.found.objects.is_empty() && self.judged.doubts.is_empty()
    }

    pub(crate) fn end(
        self,
        engines: &[Engine],
        identity: Option<&Identity>,
        grace: Duration,
        waiting: &mut dyn Waiting,
    ) -> Ending {
        let Self { place, found, judged } = self;
        let manner = Manner { grace, latest: None, reads_logs: false };
        let mut asking = Asking::new(engines, identity, waiting, true);
        asking.end(found, &|tags: &Tags<'_>| tags.is_abandoned(&place), judged, manner)
    }
}
