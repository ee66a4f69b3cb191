//! Whose an object of an engine is, as its labels say.

use serde_json::{Map, Value};

use super::labels::{self, Place, is_dead, parse_owner};
use crate::containment::Owner;

/// The labels of an object. Engines say `null` if there are none.
pub(super) type LabelMap = Option<Map<String, Value>>;

#[derive(Debug)]
pub(super) struct Tags<'a> {
    map: &'a Map<String, Value>,
    /// What comes before the names of the labels.
    pub prefix: &'static str,
    pub session: &'a str,
    pub boot: &'a str,
    pub pid_namespace: &'a str,
    pub owner: Option<Owner>,
    /// What no other creation has.
    pub created: Option<&'a str>,
    pub test: Option<&'a str>,
    /// What has run the test.
    pub runner: &'a str,
    pub service: Option<&'a str>,
}

impl<'a> Tags<'a> {
    /// `None` if it is not a session's.
    pub(super) fn of(map: &'a LabelMap) -> Option<Self> {
        Self::in_map(map.as_ref()?)
    }

    pub(super) fn in_map(map: &'a Map<String, Value>) -> Option<Self> {
        [labels::OF_COMPOSE_V1, ""].into_iter().find_map(|prefix| Self::with_prefix(map, prefix))
    }

    fn with_prefix(map: &'a Map<String, Value>, prefix: &'static str) -> Option<Self> {
        let value = |name| map.get(&format!("{prefix}{name}")).and_then(Value::as_str);
        Some(Self {
            map,
            prefix,
            session: value(labels::SESSION)?,
            boot: value(labels::BOOT)?,
            pid_namespace: value(labels::PID_NAMESPACE)?,
            owner: value(labels::OWNER).and_then(parse_owner),
            created: value(labels::CREATED),
            test: value(labels::TEST).filter(|it| !it.is_empty()),
            runner: value(labels::RUNNER).unwrap_or_default(),
            service: value(labels::SERVICE).filter(|it| !it.is_empty()),
        })
    }

    pub(super) fn is_of(&self, place: &Place) -> bool {
        place.is(self.boot, self.pid_namespace)
    }

    /// Whether its owner was at this place, and is certain to be dead.
    pub(super) fn is_abandoned(&self, place: &Place) -> bool {
        self.is_of(place) && self.owner.is_some_and(is_dead)
    }

    /// Whether a session within this one has created it, and cannot end it any more: of this one, no process is alive.
    pub(super) fn is_left_within(&self, session: &str, place: &Place) -> bool {
        let within = self.map.get(&format!("{}{}{session}", self.prefix, labels::OUTER));
        // That of an image names the session that made it.
        let is_within = within.and_then(Value::as_str) == Some(self.session);
        // One in another PID namespace was in one of the session's.
        is_within && place.is_boot(self.boot) && (!self.is_of(place) || self.owner.is_none_or(is_dead))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::containers::labels::Labels;
    use crate::containment::SessionId;

    fn map(value: Value) -> LabelMap {
        value.as_object().cloned()
    }

    #[test]
    fn labels_with_the_prefix_of_compose_are_as_good_as_those_without() {
        let all = json!({
            "cgrun.session": "foreign",
            "com.docker.cgrun.session": "a", "com.docker.cgrun.boot": "b",
            "com.docker.cgrun.pid-namespace": "1", "com.docker.cgrun.owner": "2:3",
        });
        let all = map(all);
        let tags = Tags::of(&all).unwrap();
        assert_eq!((tags.session, tags.boot, tags.prefix), ("a", "b", "com.docker."));
        assert!(Tags::of(&map(json!({ "cgrun.session": "a" }))).is_none());
    }

    #[test]
    fn what_is_within_a_session_is_left_if_its_own_owner_is_dead() {
        let ours = Labels::of(&SessionId::random().unwrap()).unwrap();
        let mut labels: Map<String, Value> =
            ours.pairs().into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let is_left =
            |labels: &Map<String, Value>| Tags::in_map(labels).unwrap().is_left_within("outer", ours.place());
        labels.insert("cgrun.outer.outer".into(), labels["cgrun.session"].clone());
        assert!(!is_left(&labels), "its owner lives");
        labels.insert("cgrun.owner".into(), "2147483647:1".into());
        assert!(is_left(&labels));
        labels.insert("cgrun.outer.outer".into(), "another".into());
        assert!(!is_left(&labels), "its image was within");
        labels.insert("cgrun.outer.outer".into(), labels["cgrun.session"].clone());
        labels.insert("cgrun.pid-namespace".into(), "1".into());
        assert!(is_left(&labels), "its PID namespace was in the session");
        labels.insert("cgrun.boot".into(), "another".into());
        assert!(!is_left(&labels));
        labels.insert("cgrun.boot".into(), ours.pairs()[1].1.clone().into());
        labels.remove("cgrun.outer.outer");
        assert!(!is_left(&labels));
    }
}
