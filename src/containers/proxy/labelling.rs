//! Adds labels to the description of what is created.

use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::fields::{Fields, is_named};
use super::surrogates;
use super::target::{Created, Creation};
use crate::containers::labels::{
    BOOT, CREATED, OF_COMPOSE_V1, OUTER, OWNER, PID_NAMESPACE, RUNNER, SERVICE, SESSION, TEST, is_dead,
};
use crate::containers::tags::Tags;
use crate::containment::SessionId;

const COMPOSE_VERSION: &str = "com.docker.compose.version";

/// Labels, by name.
pub(super) type Labels = Vec<(&'static str, String)>;

/// The description with labels. `None` if it is none: the engine says what is wrong with it.
pub(super) fn labelled(creation: &Creation, body: &[u8], labels: &Labels) -> Option<Vec<u8>> {
    let text = text_of(if body.trim_ascii().is_empty() { b"{}" } else { body });
    let (mut fields, follows) = Fields::first(&text)?;
    let mut all = Map::new();
    // A key that is there twice adds to the first.
    for value in fields.all("labels") {
        match serde_json::from_str(value).ok()? {
            Value::Object(labels) => all.extend(labels),
            Value::Null => {}
            _ => return None,
        }
    }
    let prefix = if is_compared_by_compose(creation, &all) { OF_COMPOSE_V1 } else { "" };
    let nested = prefix_of_nested(&all, labels);
    if let Some(prefix) = nested {
        let session = value_of(labels, SESSION).unwrap_or_default();
        let own = all.get(&format!("{prefix}{SESSION}")).cloned().unwrap_or_default();
        all.insert(format!("{prefix}{OUTER}{session}"), own);
    } else {
        // Those of another creation would make it nobody's: they are in an exported file, for example.
        all.retain(|name, _| !is_reserved(name, prefix));
        for (name, value) in labels {
            all.insert(format!("{prefix}{name}"), value.as_str().into());
        }
    }
    let created = format!("{}{CREATED}", nested.unwrap_or(prefix));
    all.extend(SessionId::random().ok().map(|it| (created, it.to_string().into())));
    let key = if creation.is_libpod { "labels" } else { "Labels" };
    fields.set(key, to_raw_value(&all).ok()?);
    serde_json::to_vec(&fields).ok().map(|it| [&it, follows.as_bytes()].concat())
}

/// As engines read it: they replace what is not Unicode.
fn text_of(body: &[u8]) -> String {
    surrogates::replaced(String::from_utf8_lossy(body).into_owned())
}

/// If a session within this one has labelled it, and ends it: what comes before the names of its labels.
fn prefix_of_nested(all: &Map<String, Value>, labels: &Labels) -> Option<&'static str> {
    let tags = Tags::in_map(all)?;
    let owner = tags.owner?;
    let its_owner = format!("{}:{}", owner.pid, owner.start_time);
    let is = |name, value: &str| value_of(labels, name) == Some(value);
    // In another PID namespace, its owner cannot be seen from here.
    let can_be_alive = !is(PID_NAMESPACE, tags.pid_namespace) || !is(OWNER, &its_owner) && !is_dead(owner);
    (is(BOOT, tags.boot) && can_be_alive && !tags.session.is_empty()).then_some(tags.prefix)
}

fn value_of<'a>(labels: &'a Labels, name: &str) -> Option<&'a str> {
    labels.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
}

fn is_reserved(name: &str, prefix: &str) -> bool {
    let names = [SESSION, BOOT, PID_NAMESPACE, OWNER, TEST, RUNNER, SERVICE, CREATED];
    let is_ours = |name: &str| names.contains(&name) || name.starts_with(OUTER);
    // Compose v1 would notice that one of its own is missing.
    name.strip_prefix(OF_COMPOSE_V1).is_some_and(is_ours) || prefix.is_empty() && is_ours(name)
}

/// Compose v1 compares the labels of these with those in its file.
fn is_compared_by_compose(creation: &Creation, labels: &Map<String, Value>) -> bool {
    let version = labels.get(COMPOSE_VERSION).and_then(Value::as_str);
    matches!(creation.what, Created::Network | Created::Volume)
        && version.is_some_and(|it| it.starts_with("1."))
}

/// A volume that a container's description names. The engine would create it without labels.
#[derive(Debug, PartialEq)]
pub(super) struct NamedVolume {
    pub name: String,
    /// What its own creation takes.
    pub description: Value,
}

impl NamedVolume {
    fn new(name: &str, options: Value) -> Self {
        let mut description = json!({ "Name": name });
        if let (Some(description), Value::Object(options)) = (description.as_object_mut(), options) {
            description.extend(options);
        }
        Self { name: name.into(), description }
    }
}

pub(super) fn named_volumes(creation: &Creation, body: &[u8]) -> Vec<NamedVolume> {
    let text = &text_of(body);
    match (creation.what, creation.is_libpod) {
        (Created::Container, false) => Fields::parse(text).map(|it| of_docker(&it)).unwrap_or_default(),
        (Created::Container | Created::Pod, true) => {
            Fields::parse(text).map(|it| of_libpod(&it)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn of_docker(fields: &Fields) -> Vec<NamedVolume> {
    let Some(host) = fields.get("HostConfig").and_then(Fields::parse) else { return Vec::new() };
    let binds: Vec<String> = parsed(host.get("Binds"));
    let driver: Option<String> = parsed(host.get("VolumeDriver"));
    let driver = driver.filter(|it| !it.is_empty()).map(|it| json!({ "Driver": it })).unwrap_or_default();
    let bound = binds.iter().filter_map(|bind| bind.split_once(':')).map(|(name, _)| name);
    let bound = bound.filter(|name| is_volume(name)).map(|name| NamedVolume::new(name, driver.clone()));
    let mounts: Vec<Value> = parsed(host.get("Mounts"));
    bound.chain(mounts.iter().filter_map(mounted)).collect()
}

/// One of `Mounts`.
fn mounted(mount: &Value) -> Option<NamedVolume> {
    let name = member(mount, "Source")?.as_str().filter(|name| is_volume(name))?;
    if member(mount, "Type")? != "volume" {
        return None;
    }
    let mut options = Map::new();
    if let Some(wanted) = member(mount, "VolumeOptions") {
        options.extend(member(wanted, "Labels").map(|it| ("Labels".into(), it.clone())));
        if let Some(driver) = member(wanted, "DriverConfig") {
            options.extend(member(driver, "Name").map(|it| ("Driver".into(), it.clone())));
            options.extend(member(driver, "Options").map(|it| ("DriverOpts".into(), it.clone())));
        }
    }
    options.retain(|_, value| !value.is_null());
    Some(NamedVolume::new(name, Value::Object(options)))
}

fn of_libpod(fields: &Fields) -> Vec<NamedVolume> {
    let volumes: Vec<Value> = parsed(fields.get("volumes"));
    let names = volumes.iter().filter_map(|it| member(it, "Name")?.as_str()).filter(|name| is_volume(name));
    names.map(|name| NamedVolume::new(name, Value::Null)).collect()
}

fn parsed<T: serde::de::DeserializeOwned + Default>(value: Option<&str>) -> T {
    value.and_then(|value| serde_json::from_str::<Option<T>>(value).ok().flatten()).unwrap_or_default()
}

/// A member of an object, in any case.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object()?.iter().rfind(|(it, _)| is_named(it, name)).map(|(_, value)| value)
}

/// Whether the source of a mount is the name of a volume, and no path.
fn is_volume(source: &str) -> bool {
    source.starts_with(|c: char| c.is_ascii_alphanumeric())
        && source.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creation(target: &str) -> Creation {
        Creation::of("POST", target).unwrap()
    }

    fn labelled_text(target: &str, body: &str) -> Option<String> {
        let labels = vec![("cgrun.session", "abc".to_string())];
        let body = labelled(&creation(target), body.as_bytes(), &labels)?;
        let body = String::from_utf8(body).unwrap();
        // It is another one each time.
        Some(match body.find(r#""cgrun.created":""#) {
            Some(at) => format!("{}{}", &body[..at], &body[body[at..].find(',').unwrap() + at + 1..]),
            None => body,
        })
    }

    #[test]
    fn labels_are_added_and_nothing_else_changes() {
        for (body, expected) in [
            ("", r#"{"Labels":{"cgrun.session":"abc"}}"#),
            (r#"{"b":1.0e5,"a":[ 1,2]}"#, r#"{"b":1.0e5,"a":[ 1,2],"Labels":{"cgrun.session":"abc"}}"#),
            (
                r#"{"labels":{"x":"y"},"n":18446744073709551616}"#,
                r#"{"n":18446744073709551616,"labels":{"cgrun.session":"abc","x":"y"}}"#,
            ),
            (r#"{"Labels":null}"#, r#"{"Labels":{"cgrun.session":"abc"}}"#),
            ("null", r#"{"Labels":{"cgrun.session":"abc"}}"#),
            (r#"{}{"x":1} y"#, r#"{"Labels":{"cgrun.session":"abc"}}{"x":1} y"#),
            (
                "{\"Label\u{17f}\":{\"a\":\"1\"}}",
                "{\"Label\u{17f}\":{\"a\":\"1\",\"cgrun.session\":\"abc\"}}",
            ),
            (
                r#"{"\ud800":1,"Labels":{"a":"\udcff"}}"#,
                "{\"\u{fffd}\":1,\"Labels\":{\"a\":\"\u{fffd}\",\"cgrun.session\":\"abc\"}}",
            ),
            (
                r#"{"LABELS":{"a":"1"},"Labels":{"b":"2"}}"#,
                r#"{"Labels":{"a":"1","b":"2","cgrun.session":"abc"}}"#,
            ),
            (
                r#"{"Labels":{"cgrun.session":"foo","cgrun.test":"x","cgrun.outer.y":"","cgrun":"z"}}"#,
                r#"{"Labels":{"cgrun":"z","cgrun.session":"abc"}}"#,
            ),
        ] {
            assert_eq!(labelled_text("/containers/create", body).as_deref(), Some(expected), "{body}");
        }
        let libpod = labelled_text("/libpod/pods/create", r#"{"name":"x"}"#).unwrap();
        assert_eq!(libpod, r#"{"name":"x","labels":{"cgrun.session":"abc"}}"#);
    }

    /// What two sessions add to a description that has these labels, the first one within the second.
    fn by_two(change: impl Fn(&mut Labels)) -> Map<String, Value> {
        let real = || {
            let id = SessionId::random().unwrap();
            crate::containers::labels::Labels::of(&id).unwrap().pairs()
        };
        let (mut inner, mut outer) = (real(), real());
        inner[0].1 = "inner".into();
        outer[0].1 = "outer".into();
        // Both would be this process.
        outer[3].1 = "1:1".into();
        change(&mut inner);
        let creation = creation("/containers/create");
        let body = labelled(&creation, b"{}", &inner).unwrap();
        let body: Value = serde_json::from_slice(&labelled(&creation, &body, &outer).unwrap()).unwrap();
        body["Labels"].as_object().unwrap().clone()
    }

    #[test]
    fn a_session_within_this_one_keeps_its_labels_and_others_do_not() {
        let set = |at: usize, value: &'static str| move |labels: &mut Labels| labels[at].1 = value.into();
        let nested = by_two(|_| {});
        assert_eq!(
            (&nested["cgrun.session"], &nested["cgrun.outer.outer"]),
            (&"inner".into(), &"inner".into())
        );
        let elsewhere = by_two(set(2, "1"));
        assert_eq!(elsewhere["cgrun.session"], "inner", "in a container of the session");
        for (what, labels) in [
            ("another boot", by_two(set(1, "x"))),
            ("our owner", by_two(set(3, "1:1"))),
            ("a dead owner", by_two(set(3, "2147483647:1"))),
            ("nonsense", by_two(set(3, "x"))),
            ("one is missing", by_two(|labels| drop(labels.remove(2)))),
        ] {
            assert_eq!(
                (&labels["cgrun.session"], &labels["cgrun.owner"]),
                (&"outer".into(), &"1:1".into()),
                "{what}"
            );
            assert_eq!(labels.len(), 5, "{what}: {labels:?}");
        }
    }

    #[test]
    fn each_creation_has_a_value_that_no_other_has() {
        let created = || {
            let body = br#"{"Labels":{"cgrun.created":"x"}}"#;
            let body = labelled(&creation("/containers/create"), body, &Labels::new()).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            body["Labels"]["cgrun.created"].as_str().unwrap().to_owned()
        };
        let (one, two) = (created(), created());
        assert!(one != two && one != "x" && two != "x", "{one} {two}");
    }

    #[test]
    fn compose_v1_does_not_notice_the_labels_of_what_it_compares() {
        for (target, version, name) in [
            ("/networks/create", "1.29.2", "com.docker.cgrun.session"),
            ("/volumes/create", "1.29.2", "com.docker.cgrun.session"),
            ("/containers/create", "1.29.2", "cgrun.session"),
            ("/networks/create", "2.32.4", "cgrun.session"),
            ("/networks/create", "12.0", "cgrun.session"),
        ] {
            let body = format!(r#"{{"Labels":{{"com.docker.compose.version":"{version}"}}}}"#);
            let labelled: Value = serde_json::from_str(&labelled_text(target, &body).unwrap()).unwrap();
            assert_eq!(labelled["Labels"][name], "abc", "{target} {version}: {labelled}");
        }
    }

    #[test]
    fn what_is_no_description_is_left_to_the_engine() {
        for body in ["[]", "{", "\u{fffd}", r#"{"Labels":["a=b"]}"#, "nullx", "x{}"] {
            assert_eq!(labelled_text("/containers/create", body), None, "{body}");
        }
        assert_eq!(labelled(&creation("/volumes/create"), b"\xff", &Labels::new()), None);
        let replaced = labelled(&creation("/volumes/create"), b"{\"a\":\"\xff\"}", &Labels::new()).unwrap();
        let replaced = String::from_utf8(replaced).unwrap();
        assert!(replaced.starts_with("{\"a\":\"\u{fffd}\",\"Labels\":{"), "{replaced}");
    }

    #[test]
    fn volumes_are_found_where_a_container_names_them() {
        let body = json!({ "hostconfig": {
            "Binds": ["data:/data", "/host:/x", "./rel:/y", "anonymous", "cache.1:/c:ro"],
            "Mounts": [
                { "Type": "volume", "Source": "m", "Target": "/m",
                  "VolumeOptions": { "Labels": { "a": "b" }, "DriverConfig": { "Name": "local", "Options": null } } },
                { "Type": "volume", "Target": "/anonymous" },
                { "Type": "bind", "Source": "host", "Target": "/b" },
            ],
        } });
        let found = named_volumes(&creation("/v1.41/containers/create"), body.to_string().as_bytes());
        let expected = [
            json!({ "Name": "data" }),
            json!({ "Name": "cache.1" }),
            json!({ "Name": "m", "Labels": { "a": "b" }, "Driver": "local" }),
        ];
        assert_eq!(found.iter().map(|it| it.description.clone()).collect::<Vec<_>>(), expected);

        let body = json!({ "volumes": [{ "Name": "data", "Dest": "/data" }, { "Dest": "/anonymous" }] });
        let found = named_volumes(&creation("/libpod/containers/create"), body.to_string().as_bytes());
        assert_eq!(found, [NamedVolume { name: "data".into(), description: json!({ "Name": "data" }) }]);
        assert_eq!(named_volumes(&creation("/networks/create"), b"{}"), []);
    }
}
