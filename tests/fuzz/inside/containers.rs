//! What the fuzzer reaches of the containers.

use std::time::Duration;

use serde_json::Value;

use super::engine::Engine;
use super::exchange::{Answer, Ask, JustWaiting, Limit, ask_all, parse};
use super::object::ObjectType;
use super::{container, images, listing, log_lines, pods, published, starts, stopping};
use crate::runtime::clock;
use crate::sys::time::time_of_day;

pub use super::proxy::fuzzing::{LABELS, Proxy, label, pass_on, volumes};

/// An engine's answer, by its code and its body.
pub type Said<'a> = (u16, &'a [u8]);

fn answer((code, body): Said<'_>) -> std::io::Result<Answer> {
    Ok(Answer { code, body: body.to_vec(), server: None })
}

/// The ids of the containers, pods, networks and volumes that the session `ours` has, as far as these answers are understood.
pub fn list(said: [Said<'_>; 6]) -> Option<[Vec<String>; 4]> {
    let engine = Engine::at("/run/docker.sock".into());
    let all =
        listing::objects(0, &engine, said.into_iter().map(answer).collect(), &|it| it.session == "ours");
    let all = all.ok()?;
    let kinds = [ObjectType::Container, ObjectType::Pod, ObjectType::Network, ObjectType::Volume];
    Some(kinds.map(|kind| all.iter().filter(|it| it.kind == kind).map(|it| it.id.clone()).collect()))
}

/// Reads an answer as everything that it could be an answer to. Returns the lines of a log.
pub fn read(said: Said<'_>) -> Vec<String> {
    let body = said.1;
    let engine = Engine::at("/run/docker.sock".into());
    let began = time_of_day() - Duration::from_secs(1000);
    let _ = container::started_since(&engine, began, body, None);
    let _ = published::parsed(body);
    let _ = starts::since(&engine, began, body, clock::now());
    let _ = starts::in_list(body, began, |_| Ok(body.to_vec()));
    let _ = images::labels_of(answer(said));
    let _ = pods::strangers(answer(said), &Default::default());
    let _ = stopping::way(answer(said));
    let _ = answer(said).unwrap().message();
    log_lines::last_lines(body)
}

/// The code and the body of an answer.
pub fn parse_answer(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    parse(bytes).ok().map(|it| (it.code, it.body))
}

/// Asks the engine at this socket, and reads no more than `longest`, and a buffer, of its answer.
pub fn ask(socket: &std::path::Path, longest: usize) -> Option<(u16, Vec<u8>)> {
    let engine = Engine::at(socket.into());
    let ask = Ask { engine: &engine, method: "GET", path: "/x".into(), longest, until: None };
    let limit = Limit::until(clock::now() + Duration::from_secs(5));
    let answer = ask_all(&[ask], None, limit, &mut JustWaiting).remove(0);
    answer.ok().map(|it| (it.code, it.body))
}

/// Whether serde understands it too.
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok()
}
