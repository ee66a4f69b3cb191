//! Ends objects of a session: stops the containers, and removes them and the rest, but never an image.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use super::exchange::{Answer, Ask, Limit};
use super::images::Judged;
use super::listing::{Asking, Listing, escaped};
use super::object::{EngineObject, Key, ObjectType};
use super::tags::Tags;
use crate::runtime::clock;
use crate::sys::time::Instant;
use crate::text::plain;

/// How long engines may take in addition to the grace, and how much longer for each of many objects.
const SLACK: Duration = Duration::from_secs(10);
const EACH: Duration = Duration::from_millis(500);
/// How often to try again what an engine refuses, and for how long: it can be busy with what was removed just now.
const LOOK: Duration = Duration::from_millis(100);
const STUCK: Duration = Duration::from_secs(2);
/// An answer that says whether something was done.
const LONGEST: usize = 64 << 10;

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// They are gone.
    pub ended: Vec<EngineObject>,
    /// What is still there, and why.
    pub survivors: Vec<String>,
    pub unknown: Vec<String>,
}

/// How objects are ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How long containers have to exit after they were asked.
    pub grace: Duration,
    /// When to give up at the latest, if that is limited.
    pub latest: Option<Instant>,
    pub reads_logs: bool,
}

/// What the engines said in one round.
#[derive(Default)]
struct Round {
    gone: HashSet<Key>,
    refused: HashMap<Key, String>,
    /// The engines that have not allowed it.
    denied: HashSet<usize>,
    /// Whether somebody else was at it.
    is_shared: bool,
}

impl Manner {
    /// When to give up with so many objects, from now on.
    pub(super) fn deadline(&self, count: usize) -> Instant {
        let each = EACH * u32::try_from(count).unwrap_or(u32::MAX);
        let usual = clock::now() + self.grace + SLACK + each;
        self.latest.map_or(usual, |latest| latest.min(usual))
    }
}

impl Asking<'_> {
    /// Ends what was `found`, and what else turns out to be `wanted` meanwhile.
    pub(super) fn end(
        &mut self,
        found: Listing,
        wanted: &dyn Fn(&Tags<'_>) -> bool,
        mut judged: Judged,
        manner: Manner,
    ) -> Ending {
        let mut ending = Ending { unknown: found.unknown, ..Ending::default() };
        let mut all = found.objects;
        let deadline = manner.deadline(all.len());
        if manner.reads_logs {
            self.read_logs(&mut all, deadline);
        }
        // An engine that is there now can be gone later, and that is not the same.
        self.can_be_absent = false;
        let mut left = all.clone();
        let mut gone = HashSet::new();
        let mut asked_to_exit = HashSet::new();
        let mut last_progress = None;
        while !left.is_empty() {
            let round = self.end_once(&left, &asked_to_exit, manner.grace, deadline);
            asked_to_exit.extend(left.iter().map(EngineObject::key));
            gone.extend(round.gone);
            let mut again = self.find(wanted, &mut judged, deadline);
            if !again.unknown.is_empty() {
                again.unknown.retain(|it| !ending.unknown.contains(it));
                ending.unknown.extend(again.unknown);
                // What another engine has can be told nevertheless.
                let engines: HashSet<usize> = again.objects.iter().map(|it| it.engine).collect();
                left.retain(|it| !engines.contains(&it.engine) && !gone.contains(&it.key()));
                left.extend(again.objects);
                break;
            }
            let known: HashSet<_> = all.iter().map(EngineObject::key).collect();
            let new: Vec<_> = again.objects.iter().filter(|it| !known.contains(&it.key())).cloned().collect();
            let is_progress = again.objects.len() < left.len() || !new.is_empty();
            all.extend(new);
            left = again.objects;
            let now = clock::now();
            // The first round had its grace.
            let since = if is_progress { now } else { last_progress.unwrap_or(now) };
            last_progress = Some(since);
            let is_stuck = now >= since + STUCK && !round.is_shared;
            if left.is_empty() || now >= deadline || is_stuck {
                let why = |it: &EngineObject| match round.refused.get(&it.key()) {
                    Some(reason) => format!("{it}: {reason}"),
                    None => it.to_string(),
                };
                ending.survivors.extend(left.iter().map(why));
                break;
            }
            if !is_progress {
                self.waiting.wait(&[], deadline.min(now + LOOK));
            }
        }
        ending.unknown.append(&mut judged.doubts);
        let left: HashSet<_> = left.iter().map(EngineObject::key).collect();
        ending.ended = all.into_iter().filter(|it| !left.contains(&it.key())).collect();
        ending
    }

    /// Stops and removes them, all of a kind at once. The order is that in which they use each other.
    /// Containers that were asked to exit before have had their grace.
    fn end_once(
        &mut self,
        objects: &[EngineObject],
        asked_to_exit: &HashSet<Key>,
        grace: Duration,
        deadline: Instant,
    ) -> Round {
        let of = |kind| objects.iter().filter(|it| it.kind == kind).collect::<Vec<_>>();
        let mut round = Round::default();
        let is_to_stop = |it: &&EngineObject| it.is_running() && !asked_to_exit.contains(&it.key());
        let running: Vec<_> = of(ObjectType::Container).into_iter().filter(is_to_stop).collect();
        self.stop(&running, grace, deadline);
        for (kind, options) in [
            (ObjectType::Container, "?v=1&force=1"),
            (ObjectType::Pod, "?force=true"),
            (ObjectType::Network, ""),
            (ObjectType::Volume, ""),
        ] {
            let mut all = of(kind);
            if kind == ObjectType::Pod {
                all = self.without_strangers(all, objects, &mut round, deadline);
            }
            let path = |it: &EngineObject| (format!("{}{options}", path(it)), None);
            let answers = self.tell("DELETE", &all, path, Limit::until(deadline));
            all.into_iter().zip(answers).for_each(|(object, answer)| round.note(object, answer));
        }
        self.denied.extend(&round.denied);
        round
    }

    /// The pods of which each container is ours, or was: the others stay.
    fn without_strangers<'a>(
        &mut self,
        mut pods: Vec<&'a EngineObject>,
        ours: &[EngineObject],
        round: &mut Round,
        deadline: Instant,
    ) -> Vec<&'a EngineObject> {
        let mut reasons = self.strangers_in(&pods, ours, deadline).into_iter();
        pods.retain(|it| match reasons.next().flatten() {
            Some(reason) => {
                round.refused.insert(it.key(), reason);
                false
            }
            None => true,
        });
        pods
    }

    pub(super) fn tell(
        &mut self,
        method: &'static str,
        objects: &[&EngineObject],
        mut path: impl FnMut(&EngineObject) -> (String, Option<Instant>),
        limit: Limit,
    ) -> Vec<io::Result<Answer>> {
        if objects.is_empty() {
            return Vec::new();
        }
        let engines = self.engines;
        let ask = |it: &&EngineObject| {
            let (path, until) = path(it);
            Ask { engine: &engines[it.engine], method, path, longest: LONGEST, until }
        };
        let asks: Vec<_> = objects.iter().map(ask).collect();
        self.ask(&asks, limit)
    }
}

pub(super) fn path(object: &EngineObject) -> String {
    let id = escaped(&object.id);
    match object.kind {
        ObjectType::Container => format!("/containers/{id}"),
        ObjectType::Pod => format!("/v4.0.0/libpod/pods/{id}"),
        ObjectType::Network => format!("/networks/{id}"),
        ObjectType::Volume => format!("/volumes/{id}"),
    }
}

impl Round {
    fn note(&mut self, object: &EngineObject, answer: io::Result<Answer>) {
        let key = object.key();
        match answer {
            Ok(Answer { code: 200..=299 | 404, .. }) => drop(self.gone.insert(key)),
            Ok(answer) => {
                let message = answer.message().unwrap_or_else(|| format!("HTTP {}", answer.code));
                // Its own client, or a guardian, has told the engine to remove it.
                self.is_shared |= message.contains("already in progress");
                if answer.code == 403 {
                    self.denied.insert(object.engine);
                }
                self.refused.insert(key, message);
            }
            Err(error) => drop(self.refused.insert(key, plain(&error))),
        }
    }
}
