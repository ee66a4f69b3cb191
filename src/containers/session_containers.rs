//! The containers of one session, and those of sessions whose cgrun is dead.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::time::Duration;

use super::ending::{Ending, Manner, Target};
use super::engine::Engine;
use super::exchange::{Ask, JustWaiting, Limit, Waiting};
use super::labels::{self, Labels, Place};
use super::listing::{Asking, Listing};
use super::object::{EngineObject, Key, ObjectType, Tags};
use crate::runtime::clock;
use crate::sys::process::identity::Identity;

/// How long engines may take to describe images.
const IMAGES: Duration = Duration::from_secs(3);
const LONGEST_IMAGE: usize = 1 << 20;

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

    /// Ends all that it has created. An engine that cannot be asked is a problem.
    pub(crate) fn end(&self, manner: Manner, waiting: &mut dyn Waiting) -> Ending {
        let mut asking = Asking {
            engines: &self.engines,
            identity: self.identity.as_ref(),
            waiting,
            can_be_absent: false,
        };
        let wanted =
            |tags: &Tags<'_>| tags.session == self.labels.session() && tags.is_of(self.labels.place());
        let label = self.labels.session_label();
        let found = asking.list(&label, &wanted, manner.deadline(0));
        asking.end(found, &Target { label: &label, wanted: &wanted, spared: HashSet::new() }, manner)
    }
}

/// What dead sessions have left on the engines.
#[derive(Debug)]
pub(crate) struct Stale {
    place: Place,
    found: Listing,
    spared: HashSet<Key>,
}

/// Looks for objects whose owner is dead. Objects of another boot or of another PID namespace are not ours to judge: the owner
/// can be alive there. An engine that is not there has nothing.
pub(crate) fn find_stale(engines: &[Engine], identity: Option<&Identity>) -> io::Result<Stale> {
    let place = Place::here()?;
    let mut stale = Stale { place, found: Listing::default(), spared: HashSet::new() };
    if engines.is_empty() {
        return Ok(stale);
    }
    let mut asking = Asking { engines, identity, waiting: &mut JustWaiting, can_be_absent: true };
    let deadline = clock::now() + IMAGES * 2;
    stale.found = asking.list(labels::SESSION, &|tags| is_stale(tags, &stale.place), deadline);
    stale.spared = asking.labelled_by_their_image(&stale.found.objects);
    let spared = &stale.spared;
    stale.found.objects.retain(|it| !spared.contains(&it.key()));
    Ok(stale)
}

fn is_stale(tags: &Tags<'_>, place: &Place) -> bool {
    tags.is_of(place) && tags.owner.is_some_and(labels::is_dead)
}

impl Stale {
    pub(crate) fn objects(&self) -> &[EngineObject] {
        &self.found.objects
    }

    /// Why it is not known what an engine has.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.found.unknown
    }

    pub(crate) fn end(self, engines: &[Engine], identity: Option<&Identity>, grace: Duration) -> Ending {
        let Self { place, found, spared } = self;
        let manner = Manner { grace, latest: None, reads_logs: false };
        let mut asking = Asking { engines, identity, waiting: &mut JustWaiting, can_be_absent: true };
        let wanted = |tags: &Tags<'_>| is_stale(tags, &place);
        asking.end(found, &Target { label: labels::SESSION, wanted: &wanted, spared }, manner)
    }
}

impl Asking<'_> {
    /// Containers that have their labels from their image: it was made of a session's container (`docker commit`), and they
    /// can be anybody's.
    fn labelled_by_their_image(&mut self, objects: &[EngineObject]) -> HashSet<Key> {
        let mut images: BTreeMap<(usize, &str), Vec<&EngineObject>> = BTreeMap::new();
        for object in objects.iter().filter(|it| it.kind == ObjectType::Container && !it.image_id.is_empty())
        {
            images.entry((object.engine, &object.image_id)).or_default().push(object);
        }
        let engines = self.engines;
        let ask = |(engine, image): &(usize, &str)| Ask {
            engine: &engines[*engine],
            method: "GET",
            path: format!("/images/{}/json", super::listing::escaped(image)),
            longest: LONGEST_IMAGE,
            until: None,
        };
        let asks: Vec<_> = images.keys().map(ask).collect();
        let answers = self.ask(&asks, Limit::until(clock::now() + IMAGES));
        let mut spared = HashSet::new();
        for (containers, answer) in images.into_values().zip(answers) {
            // An image that is gone cannot be looked at, and its containers are what their own labels say.
            let body = answer.and_then(super::exchange::Answer::ok).unwrap_or_default();
            let image: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let session = image["Config"]["Labels"][labels::SESSION].as_str();
            let same = containers.into_iter().filter(|it| Some(it.session.as_str()) == session);
            spared.extend(same.map(EngineObject::key));
        }
        spared
    }
}
