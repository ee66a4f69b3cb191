//! Requests of every form, and what is no request, at the socket of a session (`--containers`).

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{EngineHost, output, text};
use super::recorder::{ANSWER, Recorder, Waiting};

const ENGINE: &str = "/run/recorder.sock";

fn recorded(host: &EngineHost) -> (Recorder, Waiting) {
    let (recorder, session) = (Recorder::listen(Path::new(ENGINE)), Waiting::start(host.path(), ENGINE));
    recorder.forget();
    (recorder, session)
}

/// The only request on a connection: its first line, and the description that it sends.
fn creation(received: &[u8]) -> (String, Value) {
    let text = String::from_utf8(received.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let fields: Vec<_> = head.split("\r\n").map(str::to_lowercase).collect();
    let of = |name: &str| fields.iter().filter(|it| it.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(of("content-length:"), [format!("content-length: {}", body.len())], "{text}");
    assert_eq!(of("connection:"), ["connection: close"], "{text}");
    for name in ["transfer-encoding:", "expect:", "upgrade:"] {
        assert!(of(name).is_empty(), "{text}");
    }
    (head.split("\r\n").next().unwrap().into(), serde_json::from_str(body).unwrap())
}

#[test]
fn a_creation_has_labels_in_every_framing() {
    let host = EngineHost::enter();
    let (recorder, session) = recorded(&host);
    let large = format!(r#"{{"Image":"x","Cmd":["{}"]}}"#, "y".repeat(2 << 20));
    std::fs::write(host.path().join("small"), r#"{"Image":"x"}"#).unwrap();
    std::fs::write(host.path().join("large"), large).unwrap();
    let url = "http://docker/v1.41/containers/create?name=box";
    for (options, target, version) in [
        ("--data @small", "/v1.41/containers/create?name=box", "1.1"),
        ("--data @large", "/v1.41/containers/create?name=box", "1.1"),
        ("--data @small -H Transfer-Encoding:chunked", "/v1.41/containers/create?name=box", "1.1"),
        ("--data @large -H Transfer-Encoding:chunked", "/v1.41/containers/create?name=box", "1.1"),
        ("-X POST -T small -H Expect:100-continue", "/v1.41/containers/create?name=box", "1.1"),
        (
            "-X POST -T small -H Expect:100-continue -H Transfer-Encoding:chunked",
            "/v1.41/containers/create?name=box",
            "1.1",
        ),
        ("-0 --data @small", "/v1.41/containers/create?name=box", "1.0"),
        ("-0 --data @small -H Connection:keep-alive", "/v1.41/containers/create?name=box", "1.0"),
        ("--http2 --data @small", "/v1.41/containers/create?name=box", "1.1"),
        (
            "--data @small --request-target http://docker/containers/create",
            "http://docker/containers/create",
            "1.1",
        ),
        ("--data @small --request-target //v1.24/%63ontainers/create", "//v1.24/%63ontainers/create", "1.1"),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "--max-time", "20", "--unix-socket"]).arg(&session.socket);
        let done = output(curl.args(options.split(' ')).arg(url).current_dir(host.path()));
        assert_eq!((text(&done.stdout).as_str(), text(&done.stderr).as_str()), ("{}", ""), "{options}");
        let (line, body) = creation(&recorder.take(1)[0]);
        assert_eq!(line, format!("POST {target} HTTP/{version}"), "{options}");
        assert_eq!(body["Image"], "x", "{options}");
        assert!(body["Labels"]["cgrun.session"].is_string(), "{options}: {}", body["Labels"]);
    }
    // A client that wants to keep its connection gets another.
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "--data", "{}", url, url, "--unix-socket"]).arg(&session.socket);
    let done = output(&mut curl);
    assert_eq!((text(&done.stdout).as_str(), text(&done.stderr).as_str()), ("{}{}", ""));
    recorder.take(2).iter().for_each(|it| assert!(creation(it).1["Labels"]["cgrun.session"].is_string()));
}

#[test]
fn every_other_request_arrives_as_it_was_sent() {
    let host = EngineHost::enter();
    let (recorder, session) = recorded(&host);
    let bytes: Vec<u8> = (0..300_000).map(|it| (it % 251) as u8).collect();
    let head = "POST /v1.41/images/load?quiet=1 HTTP/1.1\r\nHost: docker\r\nX-Odd:  \u{e9} b\r\n";
    let passed = "POST /v1.41/images/load?quiet=1 HTTP/1.1\r\nHost: docker\r\nX-Odd: \u{e9} b\r\n";
    let length = format!("Content-Length: {}\r\n", bytes.len());
    let chunked = "Transfer-Encoding: chunked\r\nTrailer: X\r\n";
    let chunks = [b"7;a=b\r\nGET /\r\n\r\n".as_slice(), b"0\r\nX: y\r\n\r\n"].concat();
    for (framing, body) in [(length.as_str(), &bytes), (chunked, &chunks), ("", &Vec::new())] {
        let sent = [head.as_bytes(), framing.as_bytes(), b"Connection: keep-alive\r\n\r\n", body].concat();
        assert_eq!(session.ask(&sent).as_bytes(), ANSWER);
        let expected = [passed.as_bytes(), framing.as_bytes(), b"Connection: close\r\n\r\n", body].concat();
        assert!(recorder.take(1)[0] == expected, "{framing}");
    }
}

#[test]
fn no_request_reaches_the_engine_that_was_not_asked() {
    let host = EngineHost::enter();
    let (recorder, session) = recorded(&host);
    let create = "POST /containers/create HTTP/1.1\r\nHost: x\r\n";
    let hidden = format!("{create}Content-Length: 2\r\n\r\n{{}}");
    let chunked = format!("{create}Transfer-Encoding: chunked\r\n\r\n");
    for (request, status) in [
        (format!("{create}Content-Length: 2\r\nContent-Length: 60\r\n\r\n{{}}{hidden}"), 400),
        (format!("{create}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}{hidden}"), 400),
        (format!("{create}Content-Length: 2, 60\r\n\r\n{{}}{hidden}"), 400),
        (format!("{create}Content-Length: 0x2\r\n\r\n{{}}{hidden}"), 400),
        (format!("{create}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"), 400),
        (format!("{create}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"), 400),
        (format!("{create}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"), 400),
        (format!("{create}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}"), 400),
        (format!("{create}X: y\r\n\tfolded\r\n\r\n{hidden}"), 400),
        (format!("{create}X: \0\r\n\r\n{hidden}"), 400),
        (format!("GET / HTTP/1.1\nHost: x\n\n{hidden}"), 400),
        (format!("{chunked}2\n{{}}\n0\n\n{hidden}"), 400),
        (format!("{chunked}-2\r\n{{}}\r\n0\r\n\r\n{hidden}"), 400),
        (format!("{chunked}2\r\n{{}}0\r\n\r\n{hidden}"), 400),
        (format!("{chunked}fffffffffffffffff\r\n{hidden}"), 400),
        (format!("{chunked}ffffffff\r\n{hidden}"), 413),
        (format!("{create}Content-Length: 99999999999\r\n\r\n{hidden}"), 413),
        (format!("{create}X: {}\r\n\r\n{{}}", "y".repeat(2 << 20)), 431),
        (format!("{create}{}\r\n", "X: y\r\n".repeat(300)), 431),
        (format!("{chunked}\r\n\r\n{hidden}"), 400),
        ("GET /info HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}".into(), 400),
        (
            "POST /build HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            400,
        ),
        ("POST /build HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), 400),
        ("\x16\x03\x01\0\u{1}\0\0\0".into(), 400),
        ("\r\n".repeat(1000), 400),
        (create.into(), 400),
        (format!("{create}Content-Length: 3\r\n\r\n{{}}"), 400),
    ] {
        let answer = session.ask(request.as_bytes());
        let shown = &request[..request.len().min(200)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {answer}");
    }
    assert_eq!((session.ask(b"").as_str(), recorder.begun()), ("", 0));
    // What follows a creation is not passed on.
    let answer = session.ask(format!("{hidden}{hidden}").as_bytes());
    assert_eq!(answer.as_bytes(), ANSWER);
    creation(&recorder.take(1)[0]);
    // A request in the body of another stays in there.
    let body = format!("{{\"a\":{}}}", Value::from(hidden.as_str()));
    session.ask(format!("{create}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    assert_eq!(creation(&recorder.take(1)[0]).1["a"], hidden);
}

/// What comes second on a connection is read by nobody.
#[test]
fn docker_creates_nothing_without_labels_for_a_second_request_on_a_connection() {
    let engine = Engine::start(EngineKind::Docker);
    let session = Waiting::start(engine.host.path(), "/run/docker.sock");
    let body = format!(r#"{{"Image":"{IMAGE}","Cmd":["true"]}}"#);
    let create = |name: &str| {
        let head = format!("POST /v1.41/containers/create?name={name} HTTP/1.1\r\nHost: x\r\n");
        format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for first in [
        "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n".into(),
        "GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".into(),
        "GET /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".into(),
        "POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}".into(),
        create("first"),
    ] {
        let answer = session.ask(format!("{first}{}", create("second")).as_bytes());
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{first}: {answer}");
    }
    assert_eq!(engine.list(), "first: Created\n");
    let labels = session.ask(b"GET /containers/json?all=1 HTTP/1.0\r\n\r\n");
    assert!(labels.contains("cgrun.session"), "{labels}");
}

#[test]
fn clients_that_are_silent_or_slow_keep_nobody_waiting() {
    let host = EngineHost::enter();
    let (recorder, session) = recorded(&host);
    let words: [&[u8]; 4] = [b"", b"POST /contai", b"GET / HTTP/1.1\r\nHost: x\r\n", b"PRI"];
    let silent: Vec<_> = (0..100)
        .map(|it| {
            let mut stream = session.connect();
            stream.write_all(words[it % words.len()]).unwrap();
            stream
        })
        .collect();
    let mut slow = session.connect();
    let request = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    for byte in request {
        slow.write_all(&[*byte]).unwrap();
        assert_eq!(session.ask(b"GET /_ping HTTP/1.1\r\n\r\n").as_bytes(), ANSWER);
    }
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, ANSWER);
    assert_eq!(recorder.take(request.len() + 1).len(), recorder.begun());
    drop(silent);
}

/// It is parsed as deep as it is nested.
#[test]
fn a_description_that_is_nested_deeply_harms_nobody() {
    let host = EngineHost::enter();
    let (recorder, session) = recorded(&host);
    for depth in [20, 120, 124, 10_000] {
        let mount = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let body = format!(r#"{{"HostConfig":{{"Mounts":[{mount}]}},"Labels":{{"x":{mount}}}}}"#);
        let request = format!(
            "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(session.ask(request.as_bytes()).as_bytes(), ANSWER, "{depth}");
        recorder.take(1);
    }
}

#[test]
fn a_client_that_is_one_too_many_is_told() {
    let host = EngineHost::enter();
    let (recorder, session) = recorded(&host);
    let most: Vec<_> = (0..400).map(|_| session.connect()).collect();
    let ping = b"GET /_ping HTTP/1.1\r\n\r\n";
    let answer = session.ask(ping);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("at most 400 requests"), "{answer}");
    drop(most);
    crate::harness::until("there is room again", || session.ask(ping).as_bytes() == ANSWER);
    assert!(recorder.begun() > 0);
}
