//! Which objects of sessions the engines have.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use serde::Deserialize;

use super::container::Listed;
use super::engine::{Engine, is_nobody};
use super::exchange::{Answer, Ask, LONGEST_LIST, Limit, Waiting, ask_all, too_late};
use super::labels;
use super::object::{EngineObject, ObjectType};
use super::tags::{LabelMap, Tags};
use crate::runtime::clock;
use crate::sys::process::identity::Identity;
use crate::sys::time::Instant;
use crate::text::plain;

/// How long all engines together may take to list what they have.
const PATIENCE: Duration = Duration::from_secs(5);
/// No Content (RFC 9110).
const NOTHING: u16 = 204;
/// What does not exist in Docker, and before that version of podman.
const PODS: &str = "/v4.0.0/libpod/pods/json";

/// The engines to ask, and in whose name.
pub(super) struct Asking<'a> {
    pub engines: &'a [Engine],
    pub identity: Option<&'a Identity>,
    pub waiting: &'a mut dyn Waiting,
    /// Whether an engine that is not there has nothing. Otherwise it was there before.
    pub can_be_absent: bool,
    /// Whether what we are not allowed to list is not ours.
    pub can_deny: bool,
    /// Whether nothing is told to an engine, or waited for, when it is urgent: what is left will be found by the next one.
    pub can_be_left: bool,
    /// Those that have refused to do something.
    pub denied: HashSet<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Listing {
    pub objects: Vec<EngineObject>,
    /// Why an engine could not be asked.
    pub unknown: Vec<String>,
}

#[derive(Deserialize)]
struct NetworkOrPod {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Labels", default)]
    labels: LabelMap,
}

#[derive(Deserialize)]
struct Volumes {
    #[serde(rename = "Volumes", default)]
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize)]
struct Volume {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Labels", default)]
    labels: LabelMap,
}

impl<'a> Asking<'a> {
    /// `of_others`: what other sessions have left, and not what our own has.
    pub(super) fn new(
        engines: &'a [Engine],
        identity: Option<&'a Identity>,
        waiting: &'a mut dyn Waiting,
        of_others: bool,
    ) -> Self {
        Self {
            engines,
            identity,
            waiting,
            can_be_absent: of_others,
            can_deny: of_others,
            can_be_left: of_others,
            denied: HashSet::new(),
        }
    }
}

impl Asking<'_> {
    pub(super) fn ask(&mut self, asks: &[Ask<'_>], limit: Limit) -> Vec<io::Result<Answer>> {
        if self.can_be_left && self.waiting.is_urgent() {
            // It would be told, even if nobody hears the answer.
            return asks.iter().map(|_| Err(too_late())).collect();
        }
        let unless_urgent = limit.unless_urgent || self.can_be_left;
        ask_all(asks, self.identity, Limit { unless_urgent, ..limit }, self.waiting)
    }

    /// The objects of sessions that are `wanted`. What an engine filters is not relied on.
    pub(super) fn list(&mut self, wanted: &dyn Fn(&Tags<'_>) -> bool, deadline: Instant) -> Listing {
        let paths = paths();
        let engines = self.engines;
        let get = |engine, path: &String| Ask::get(engine, path.clone(), LONGEST_LIST);
        let asks: Vec<_> =
            engines.iter().flat_map(|engine| paths.iter().map(move |path| get(engine, path))).collect();
        let limit = Limit::until(deadline.min(clock::now() + PATIENCE));
        let mut answers = self.ask(&asks, limit).into_iter();
        let mut listing = Listing::default();
        for (at, engine) in engines.iter().enumerate() {
            let mut own: Vec<_> = answers.by_ref().take(paths.len()).collect();
            let absent = |it: &io::Result<Answer>| it.as_ref().is_err_and(is_nobody);
            if self.can_be_absent && own.iter().all(absent) {
                continue;
            }
            if self.can_deny {
                own.iter_mut().for_each(allow);
            }
            match objects(at, engine, own, wanted) {
                Ok(objects) => listing.objects.extend(objects),
                Err(error) => listing
                    .unknown
                    .push(format!("cannot determine what sessions have left in {engine}: {}", plain(&error))),
            }
        }
        // Two sockets can lead to one engine, and one of them can do less.
        listing.objects.sort_by_key(|it| self.denied.contains(&it.engine));
        let mut seen = HashSet::new();
        listing.objects.retain(|it| seen.insert(it.key()));
        listing
    }
}

/// What lists all objects of sessions, in the order in which [`objects`] takes the answers.
fn paths() -> [String; 6] {
    let of = |path: &str, prefix: &str| {
        let filter = serde_json::json!({ "label": [format!("{prefix}{}", labels::SESSION)] });
        format!("{path}filters={}", escaped(&filter.to_string()))
    };
    [
        of("/containers/json?all=1&", ""),
        of("/networks?", ""),
        of("/volumes?", ""),
        of(&format!("{PODS}?"), ""),
        of("/networks?", labels::OF_COMPOSE_V1),
        of("/volumes?", labels::OF_COMPOSE_V1),
    ]
}

/// What we are not allowed to see is not ours to judge.
fn allow(answer: &mut io::Result<Answer>) {
    if let Ok(Answer { code: code @ 403, body, .. }) = answer {
        *code = NOTHING;
        *body = b"null".to_vec();
    }
}

/// What one engine has said.
pub(super) fn objects(
    at: usize,
    engine: &Engine,
    answers: Vec<io::Result<Answer>>,
    wanted: &dyn Fn(&Tags<'_>) -> bool,
) -> io::Result<Vec<EngineObject>> {
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
    let (containers, mut networks, mut volumes) = (next()?.ok()?, vec![next()?.ok()?], vec![next()?.ok()?]);
    let pods = match next()? {
        Answer { code: 400 | 404 | NOTHING, .. } => None,
        // What stands before Docker need not know this path.
        Answer { code: 403, .. } if !engine.is_podman() => None,
        answer => Some(answer.ok()?),
    };
    networks.push(next()?.ok()?);
    volumes.push(next()?.ok()?);
    let name = if pods.is_some() { "podman" } else { engine.name() };
    let mut objects = Vec::new();
    for it in parse::<Vec<Listed>>("containers", &containers)? {
        objects.extend(wanted_tags(&it.labels, wanted).map(|tags| tags.container(&it, (at, name))));
    }
    let pods = pods.map(|it| (ObjectType::Pod, "pods", it));
    let networks = networks.into_iter().map(|it| (ObjectType::Network, "networks", it));
    for (kind, what, body) in networks.chain(pods) {
        for it in parse::<Vec<NetworkOrPod>>(what, &body)? {
            let tags = wanted_tags(&it.labels, wanted);
            objects.extend(tags.map(|tags| tags.object(kind, (at, name), &it.id, &it.name)));
        }
    }
    for body in volumes {
        for it in parse::<Volumes>("volumes", &body)?.volumes.unwrap_or_default() {
            let tags = wanted_tags(&it.labels, wanted);
            objects.extend(tags.map(|tags| tags.object(ObjectType::Volume, (at, name), &it.name, &it.name)));
        }
    }
    Ok(objects)
}

fn wanted_tags<'a>(labels: &'a LabelMap, wanted: &dyn Fn(&Tags<'_>) -> bool) -> Option<Tags<'a>> {
    Tags::of(labels).filter(|tags| wanted(tags))
}

fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a [u8]) -> io::Result<T> {
    // Go writes an empty list as `null`.
    let text = if text.trim_ascii() == b"null" { b"[]" } else { text };
    serde_json::from_slice(text)
        .map_err(|error| io::Error::other(format!("its list of {what} is unreadable: {error}")))
}

/// As a part of a URL.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(body: &str) -> io::Result<Answer> {
        Ok(Answer { code: 200, body: body.as_bytes().to_vec(), server: None })
    }

    fn engine() -> Engine {
        Engine::at("/run/x.sock".into())
    }

    #[test]
    fn what_an_engine_does_not_filter_is_not_taken_for_ours() {
        let labels = |session: &str| {
            format!(
                "{{\"cgrun.session\":\"{session}\",\"cgrun.boot\":\"b\",\"cgrun.pid-namespace\":\"1\",\"cgrun.owner\":\"1:2\",\"cgrun.test\":\"a::b (call)\"}}"
            )
        };
        let containers = format!(
            "[{{\"Id\":\"1\",\"Labels\":{}}},{{\"Id\":\"2\",\"Labels\":{}}},{{\"Id\":\"3\",\"Labels\":null}},{{\"Id\":\"4\"}}]",
            labels("ours"),
            labels("theirs")
        );
        let volumes = format!("{{\"Volumes\":[{{\"Name\":\"v\",\"Labels\":{}}}]}}", labels("ours"));
        let hidden = labels("ours").replace("cgrun.", "com.docker.cgrun.");
        let networks = format!("[{{\"Id\":\"n\",\"Name\":\"net\",\"Labels\":{hidden}}}]");
        let none = Ok(Answer { code: 404, body: Vec::new(), server: None });
        let answers = vec![ok(&containers), ok("null"), ok(&volumes), none, ok(&networks), ok("{}")];
        let found = objects(0, &engine(), answers, &|tags| tags.session == "ours").unwrap();
        let said: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["Docker's container 1 ()", "Docker's network net", "Docker's volume v"]);
        assert_eq!(found[0].origin.as_ref().unwrap().to_string(), "a::b (call)");
    }

    #[test]
    fn an_engine_that_cannot_tell_has_not_nothing() {
        let none = || Ok(Answer { code: 404, body: Vec::new(), server: None });
        let bad = || Ok(Answer { code: 500, body: Vec::new(), server: None });
        for answers in [
            vec![bad(), ok("[]"), ok("{}"), none(), ok("[]"), ok("{}")],
            vec![ok("[]"), bad(), ok("{}"), none(), ok("[]"), ok("{}")],
            vec![ok("[]"), ok("[]"), bad(), none(), ok("[]"), ok("{}")],
            vec![ok("[]"), ok("[]"), ok("{}"), bad(), ok("[]"), ok("{}")],
            vec![ok("[]"), ok("[]"), ok("x"), none(), ok("[]"), ok("{}")],
            vec![ok("[]"), ok("[]"), ok("{}"), none(), bad(), ok("{}")],
            vec![ok("[]"), ok("[]"), ok("{}"), none(), ok("[]"), bad()],
            vec![ok("[]")],
        ] {
            objects(0, &engine(), answers, &|_| true).unwrap_err();
        }
        let nothing = vec![ok("[]"), ok("[]"), ok("{}"), none(), ok("null"), ok("null")];
        assert!(objects(0, &engine(), nothing, &|_| true).unwrap().is_empty());
    }

    #[test]
    fn what_we_are_not_allowed_to_list_is_empty_and_other_failures_are_not() {
        let denied = || Ok(Answer { code: 403, body: b"Forbidden".to_vec(), server: None });
        let mut answers: Vec<_> = (0..6).map(|_| denied()).collect();
        answers.iter_mut().for_each(allow);
        assert!(objects(0, &engine(), answers, &|_| true).unwrap().is_empty());
        let mut failed = Ok(Answer { code: 500, body: Vec::new(), server: None });
        allow(&mut failed);
        assert_eq!(failed.unwrap().code, 500);
    }

    #[test]
    fn only_plain_characters_stay_as_they_are() {
        assert_eq!(escaped("a-b_c.d"), "a-b_c.d");
        assert_eq!(escaped("a/b?c={\"é\"}"), "a%2Fb%3Fc%3D%7B%22%C3%A9%22%7D");
    }
}
