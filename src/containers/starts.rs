//! Which containers an engine has started since a moment. Docker has a log of them. podman's log needs systemd's journal, but
//! its own list, beside the one like Docker's, says when each container was started.

use std::collections::HashSet;
use std::io;
use std::time::SystemTime;

use serde::Deserialize;

use super::engine::Engine;
use super::exchange::{Ask, get_all};
use crate::sys::time::{Instant, since_1970, time_of_day};

/// `{"type":["container"],"event":["start"]}`
const STARTS: &str = "%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%5D%7D";
/// How many containers are asked for the fraction of a second.
const INSPECTED: usize = 50;
const LONGEST: usize = 1 << 20;

/// One line of the log. It has the id at two places.
#[derive(Debug, Deserialize)]
struct Start {
    #[serde(default)]
    id: String,
    #[serde(rename = "Actor", default)]
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "ID", default)]
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedByPodman {
    id: String,
    /// In seconds since 1970.
    started_at: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    /// `2026-11-29T18:33:49.96687933Z`, or with the offset of a time zone.
    started_at: String,
}

/// What to ask.
pub(super) fn path(is_podman: bool, began: SystemTime) -> String {
    if is_podman {
        return "/v4.0.0/libpod/containers/json".into();
    }
    // Later than now, and the engine would wait until then.
    let (since, until) = (timestamp(began), timestamp(time_of_day()));
    format!("/events?since={since}&until={until}&filters={STARTS}")
}

fn timestamp(time: SystemTime) -> String {
    let since = since_1970(time);
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// The ids in the answer; `None` if it is unreadable.
pub(super) fn since(
    engine: &Engine,
    began: SystemTime,
    answer: &[u8],
    deadline: Instant,
) -> Option<HashSet<String>> {
    if engine.is_podman() {
        let inspect = |id: &str| {
            let ask = Ask::get(engine, format!("/containers/{id}/json"), LONGEST);
            get_all(&[ask], deadline).remove(0)
        };
        return in_list(answer, began, inspect);
    }
    let starts = serde_json::Deserializer::from_slice(answer).into_iter::<Start>().map_while(Result::ok);
    Some(starts.flat_map(|start| [start.id, start.actor.id]).collect())
}

pub(super) fn in_list(
    list: &[u8],
    began: SystemTime,
    inspect: impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Option<HashSet<String>> {
    let list: Vec<ListedByPodman> = serde_json::from_slice(list).ok()?;
    let began = since_1970(began);
    let second = i64::try_from(began.as_secs()).unwrap_or(i64::MAX);
    let mut inspected = 0;
    let mut is_new = |it: &ListedByPodman| {
        if it.started_at != second || inspected == INSPECTED {
            return it.started_at >= second;
        }
        inspected += 1;
        // If it does not say, it counts as new.
        let nanoseconds = inspect(&it.id).ok().and_then(|answer| fraction(&answer));
        nanoseconds.is_none_or(|it| it >= began.subsec_nanos())
    };
    Some(list.into_iter().filter(|it| is_new(it)).map(|it| it.id).collect())
}

/// The nanoseconds in which the container was started. Those who have nothing to say of them have started at the full second.
fn fraction(inspected: &[u8]) -> Option<u32> {
    let inspected: Inspected = serde_json::from_slice(inspected).ok()?;
    let Some((_, rest)) = inspected.state.started_at.split_once('.') else { return Some(0) };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(9).collect();
    format!("{digits:0<9}").parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn new(list: &str, inspect: impl Fn(&str) -> io::Result<Vec<u8>>) -> Option<Vec<String>> {
        let began = UNIX_EPOCH + Duration::new(1000, 500_000_000);
        let mut ids: Vec<_> = in_list(list.as_bytes(), began, inspect)?.into_iter().collect();
        ids.sort();
        Some(ids)
    }

    #[test]
    fn only_what_was_started_in_the_same_second_is_inspected() {
        let list = r#"[{"Id":"old","StartedAt":999},{"Id":"before","StartedAt":1000},{"Id":"after","StartedAt":1000},
            {"Id":"mute","StartedAt":1000},{"Id":"new","StartedAt":1001}]"#;
        let inspect = |id: &str| match id {
            "before" => Ok(br#"{"State":{"StartedAt":"1970-01-01T00:16:40.499+05:30"}}"#.to_vec()),
            "after" => Ok(br#"{"State":{"StartedAt":"1970-01-01T00:16:40.500000001Z"}}"#.to_vec()),
            "mute" => Err(io::Error::other("timeout")),
            other => panic!("{other}"),
        };
        assert_eq!(new(list, inspect).unwrap(), ["after", "mute", "new"]);
        assert!(new(r#"{"message":"not found"}"#, |_| Ok(Vec::new())).is_none());
    }

    #[test]
    fn a_host_with_thousands_of_containers_is_not_asked_for_each() {
        let one = |index| format!(r#"{{"Id":"{index}","StartedAt":1000}}"#);
        let list = format!("[{}]", (0..60).map(one).collect::<Vec<_>>().join(","));
        let asked = std::cell::Cell::new(0);
        let inspect = |_: &str| {
            asked.set(asked.get() + 1);
            Ok(br#"{"State":{"StartedAt":"1970-01-01T00:16:40Z"}}"#.to_vec())
        };
        assert_eq!((new(&list, inspect).unwrap().len(), asked.get()), (10, INSPECTED));
    }
}
