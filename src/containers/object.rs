//! What a session has created by way of a container engine.

use std::fmt;

use serde::Serialize;

use super::container::{Container, Listed, is_reaper};
use super::engine::possessive;
use super::program::without_tag;
use super::tags::Tags;
use crate::leaks::Origin;
use crate::leaks::allow::Pattern;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ObjectType {
    Container,
    /// Only podman has these.
    Pod,
    Network,
    Volume,
}

/// An object that a session's labels were found on.
#[derive(Clone, Debug)]
pub(crate) struct EngineObject {
    pub kind: ObjectType,
    /// The place of its engine among those that were asked.
    pub(super) engine: usize,
    pub(super) id: String,
    pub engine_name: &'static str,
    pub name: String,
    /// The id of the session.
    pub session: String,
    /// The test that has created it.
    pub origin: Option<Origin>,
    /// The service that has created it.
    pub service: Option<String>,
    pub container: Option<Container>,
    /// The reaper of Testcontainers, which would remove itself.
    pub is_reaper: bool,
    /// The engine has begun to remove it.
    pub(super) is_being_removed: bool,
    pub(super) image_id: String,
    /// A value that no other creation has.
    pub(super) created: Option<String>,
    /// Whether it was still running although nothing needed it any more.
    pub leaked: bool,
    /// Whether the baseline lists it.
    pub is_known: bool,
}

/// Tells an object from all others, also of an engine that is reached by two sockets.
pub(super) type Key = (ObjectType, String);

impl Tags<'_> {
    /// `engine` is its place among those that were asked, and its name.
    pub(super) fn object(
        &self,
        kind: ObjectType,
        engine: (usize, &'static str),
        id: &str,
        name: &str,
    ) -> EngineObject {
        EngineObject {
            kind,
            engine: engine.0,
            id: id.to_owned(),
            engine_name: engine.1,
            name: name.to_owned(),
            session: self.session.to_owned(),
            origin: self.test.map(|it| Origin::of_text(self.runner, it)),
            service: self.service.map(str::to_owned),
            container: None,
            is_reaper: false,
            is_being_removed: false,
            image_id: String::new(),
            created: self.created.map(str::to_owned),
            leaked: false,
            is_known: false,
        }
    }

    pub(super) fn container(&self, listed: &Listed, engine: (usize, &'static str)) -> EngineObject {
        let container = listed.described(engine.1);
        let name = if container.name.is_empty() { &container.id } else { &container.name };
        EngineObject {
            is_reaper: is_reaper(&listed.labels),
            is_being_removed: listed.is_being_removed(),
            image_id: listed.image_id.clone(),
            ..self.object(ObjectType::Container, engine, &listed.id, name)
        }
        .with(container)
    }
}

impl EngineObject {
    fn with(self, container: Container) -> Self {
        Self { container: Some(container), ..self }
    }

    pub(super) fn key(&self) -> Key {
        match self.kind {
            // Two engines can have one of the same name.
            ObjectType::Volume => {
                (self.kind, format!("{} {}", self.id, self.created.as_deref().unwrap_or_default()))
            }
            _ => (self.kind, self.id.clone()),
        }
    }

    /// Whether the pattern means the container's name, or its image with or without its tag and where it is from. A pattern
    /// with wildcards stands for `IMAGE NAME`.
    pub(crate) fn is_allowed_by(&self, pattern: &Pattern) -> bool {
        let image = self.container.as_ref().map_or("", |it| it.image.as_str());
        let short = image.rsplit('/').next().unwrap_or_default();
        // What Docker lists without a tag has this one.
        let latest = format!("{short}:latest");
        let latest = if without_tag(short) == short { latest.as_str() } else { short };
        let names = [&self.name, image, without_tag(image), short, without_tag(short), latest];
        let lines = [image, short].map(|image| format!("{image} {}", self.name));
        pattern.allows_named(&names, &lines)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.container.as_ref().is_some_and(|it| it.running)
    }
}

/// `Docker's container web (redis:7)`, `podman's network shop_default`
impl fmt::Display for EngineObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ObjectType::Container => "container",
            ObjectType::Pod => "pod",
            ObjectType::Network => "network",
            ObjectType::Volume => "volume",
        };
        write!(f, "{} {kind} {}", possessive(self.engine_name), self.name)?;
        match &self.container {
            Some(container) => write!(f, " ({})", container.image),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn listed(image: &str, name: &str, state: &str) -> EngineObject {
        let listed = serde_json::json!({
            "Id": "1", "Names": [format!("/{name}")], "Image": image, "State": state,
            "Labels": { "cgrun.session": "x", "cgrun.boot": "y", "cgrun.pid-namespace": "1" }
        });
        let listed: Listed = serde_json::from_value(listed).unwrap();
        Tags::of(&listed.labels).unwrap().container(&listed, (0, "docker"))
    }

    /// A container that has been ended, and has leaked if it was running.
    pub(crate) fn object(name: &str, leaked: bool, test: Option<&str>, log: &[&str]) -> EngineObject {
        let mut object = listed("redis:7", name, if leaked { "running" } else { "exited" });
        let container = object.container.as_mut().unwrap();
        container.log = log.iter().map(ToString::to_string).collect();
        container.ports = vec![80, 81];
        container.age_seconds = Some(12);
        EngineObject { leaked, origin: test.map(|it| Origin::of_text("pytest", it)), ..object }
    }

    fn is_allowed(image: &str, pattern: &str) -> bool {
        let object = listed(image, "vigilant_noether", "running");
        assert!(object.is_running());
        object.is_allowed_by(&pattern.parse().unwrap())
    }

    #[test]
    fn a_container_is_allowed_by_its_name_or_its_image() {
        let image = "docker.io/library/redis:7";
        for pattern in ["vigilant_noether", "redis", "redis:7", "redis*", "*vigilant_*", "*library/redis:? *"]
        {
            assert!(is_allowed(image, pattern), "{pattern}");
        }
        for pattern in ["noether", "redis:6", "library", "edis*", "7", "redis:7 x"] {
            assert!(!is_allowed(image, pattern), "{pattern}");
        }
        assert!(is_allowed("localhost:5000/redis", "redis"));
        assert!(is_allowed("redis@sha256:12", "redis"));
        assert!(is_allowed("redis", "redis:latest") && !is_allowed("redis:7", "redis:latest"));
        assert!(!is_allowed("redis-stack:7", "redis"));
    }
}
