//! Containers that have their labels from their image: it was made of a session's container (`docker commit`), and they can be
//! anybody's.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::time::Duration;

use serde_json::Value;

use super::exchange::{Answer, Ask, Limit};
use super::labels;
use super::listing::{Asking, Listing, escaped};
use super::object::{EngineObject, Key, ObjectType};
use super::tags::Tags;
use crate::runtime::clock;
use crate::sys::time::Instant;
use crate::text::plain;

/// How long engines may take to describe images.
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST: usize = 1 << 20;

/// What has been found out about the containers that were listed so far.
#[derive(Debug, Default)]
pub(super) struct Judged {
    own: HashSet<Key>,
    /// They are left alone.
    spared: HashSet<Key>,
    /// Why that is so although they can be a session's.
    pub doubts: Vec<String>,
}

impl Asking<'_> {
    /// The objects that are `wanted`, and have their labels from a session.
    pub(super) fn find(
        &mut self,
        wanted: &dyn Fn(&Tags<'_>) -> bool,
        judged: &mut Judged,
        deadline: Instant,
    ) -> Listing {
        let mut listing = self.list(wanted, deadline);
        self.leave_out_ghosts(&mut listing, deadline);
        self.judge(&listing.objects, judged, deadline);
        listing.objects.retain(|it| !judged.spared.contains(&it.key()));
        listing
    }

    fn judge(&mut self, objects: &[EngineObject], judged: &mut Judged, deadline: Instant) {
        let mut images: BTreeMap<(usize, &str), Vec<&EngineObject>> = BTreeMap::new();
        for object in objects {
            let (is_container, key) = (object.kind == ObjectType::Container, object.key());
            let is_known = judged.own.contains(&key) || judged.spared.contains(&key);
            if is_container && !is_known && !object.image_id.is_empty() {
                images.entry((object.engine, &object.image_id)).or_default().push(object);
            }
        }
        let engines = self.engines;
        let ask = |(engine, image): &(usize, &str)| {
            Ask::get(&engines[*engine], format!("/images/{}/json", escaped(image)), LONGEST)
        };
        let asks: Vec<_> = images.keys().map(ask).collect();
        let mut found: Vec<_> = self.ask_for_images(&asks, deadline);
        // A busy engine can be late.
        let failed: Vec<_> = (0..found.len()).filter(|&at| found[at].is_err()).collect();
        let again: Vec<_> = failed.iter().map(|&at| asks[at].clone()).collect();
        for (at, answer) in failed.into_iter().zip(self.ask_for_images(&again, deadline)) {
            found[at] = answer;
        }
        for (containers, labels) in images.into_values().zip(found) {
            match labels {
                Ok(image) => {
                    for it in containers {
                        let has_its_own = image.as_ref().is_none_or(|image| is_another(it, image));
                        if has_its_own { &mut judged.own } else { &mut judged.spared }.insert(it.key());
                    }
                }
                Err(error) => {
                    let names: Vec<_> = containers.iter().map(ToString::to_string).collect();
                    judged.doubts.push(format!(
                        "cannot determine which session has created {}, because its image cannot be looked at: {}",
                        names.join(", "),
                        plain(&error)
                    ));
                    judged.spared.extend(containers.into_iter().map(EngineObject::key));
                }
            }
        }
    }
}

impl Asking<'_> {
    fn ask_for_images(&mut self, asks: &[Ask<'_>], deadline: Instant) -> Vec<io::Result<Option<Value>>> {
        if asks.is_empty() {
            return Vec::new();
        }
        let answers = self.ask(asks, Limit::until(deadline.min(clock::now() + PATIENCE)));
        answers.into_iter().map(labels_of).collect()
    }
}

/// `None` if the image is gone. Then its containers are what their own labels say.
pub(super) fn labels_of(answer: io::Result<Answer>) -> io::Result<Option<Value>> {
    let body = match answer? {
        Answer { code: 404, .. } => return Ok(None),
        answer => answer.ok()?,
    };
    let mut image: Value = serde_json::from_slice(&body)
        .map_err(|error| io::Error::other(format!("its description is unreadable: {error}")))?;
    // Podman has them at both places.
    match image.get_mut("Config").filter(|it| it.is_object()) {
        Some(config) => Ok(Some(config["Labels"].take())),
        None => Err(io::Error::other("its description has no labels")),
    }
}

/// Whether these labels are not where the container has its own from: each creation has a value that no other has.
fn is_another(container: &EngineObject, image: &Value) -> bool {
    let value = |name: &str| image.get(name).and_then(Value::as_str);
    value(labels::SESSION) != Some(&container.session)
        || value(labels::CREATED) != container.created.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, body: &str) -> io::Result<Option<Value>> {
        labels_of(Ok(Answer { code, body: body.as_bytes().to_vec(), server: None }))
    }

    #[test]
    fn only_an_image_that_is_gone_has_no_labels_for_sure() {
        assert_eq!(answered(404, "{}").unwrap(), None);
        assert_eq!(answered(200, r#"{"Config":{"Labels":null}}"#).unwrap(), Some(Value::Null));
        assert_eq!(answered(200, r#"{"Config":{}}"#).unwrap(), Some(Value::Null));
        for (code, body) in [(500, "{}"), (403, ""), (200, ""), (200, "{}"), (200, r#"{"Config":null}"#)] {
            answered(code, body).unwrap_err();
        }
        labels_of(Err(io::ErrorKind::TimedOut.into())).unwrap_err();
    }
}
