//! Whatever an engine answers, what it has of the session is found, or it is known that it is not known.

#![no_main]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};

use cgrun_fuzz::cgrun::{Said, ask, list, parse_answer, read};
use cgrun_fuzz::grammar::spell;
use cgrun_fuzz::oracle::{self, Json};
use libfuzzer_sys::fuzz_target;

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    " ",
    "null",
    "{}",
    "[]",
    "0",
    "-1",
    "99999999999999999999",
    "1.5",
    "true",
    "\"x\"",
    "\"Id\":\"1\"",
    "\"Id\":\"2\"",
    "\"ID\":\"3\"",
    "\"Name\":\"n\"",
    "\"Names\":[\"/web\"]",
    "\"Image\":\"redis:7\"",
    "\"ImageID\":\"sha256:1\"",
    "\"Created\":1700000000",
    "\"Created\":-5",
    "\"State\":\"running\"",
    "\"State\":{\"StartedAt\":\"2026-11-29T18:33:49.9Z\"}",
    "\"Ports\":[{\"PublicPort\":80,\"Type\":\"tcp\"}]",
    "\"PublicPort\":65536",
    "\"StartedAt\":1700000000",
    "\"Labels\":",
    "\"Labels\":null",
    "\"Labels\":{\"cgrun.session\":\"ours\",\"cgrun.boot\":\"b\",\"cgrun.pid-namespace\":\"1\",\"cgrun.owner\":\"1:2\"}",
    "\"Labels\":{\"com.docker.cgrun.session\":\"ours\",\"com.docker.cgrun.boot\":\"b\",\"com.docker.cgrun.pid-namespace\":\"1\"}",
    "\"Labels\":{\"cgrun.session\":\"theirs\",\"cgrun.boot\":\"b\",\"cgrun.pid-namespace\":\"1\",\"cgrun.owner\":\"1:2\"}",
    "{\"Volumes\":[",
    "{\"Volumes\":null}",
    "\"Config\":{\"Labels\":{\"cgrun.session\":\"ours\"},\"StopSignal\":\"15\"}",
    "\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"no\"}}",
    "\"InfraContainerID\":\"1\"",
    "\"Containers\":[{\"Id\":\"1\",\"Name\":\"n\"}]",
    "\"message\":\" no\\n\"",
    "\\u0000",
    "\\ud800",
    "\u{1b}[2J",
    "\u{e9}",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 500 No\r\n",
    "HTTP/1.1 ",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 2\r\n",
    "\r\n\r\n",
    "\r\n",
    "\n",
    "2\r\n{}\r\n0\r\n\r\n",
    "\u{1}\0\0\0\0\0\0\u{2}",
    "\u{2}\0\0\0\0\0\0\u{9}",
];
/// Ends an answer, if several are read.
const END: u8 = 0xfe;
const CODES: [u16; 6] = [200, 204, 403, 404, 400, 500];
const LONGEST: usize = 64;
/// As much as is read at once.
const BUFFER: usize = 16 << 10;

thread_local! {
    static ENGINE: Engine = Engine::start();
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, input)) = data.split_first() else { return };
    let text = spell(input, WORDS);
    let code = CODES[usize::from(how >> 2) % CODES.len()];
    match how & 3 {
        0 => check_list(how >> 2, &text),
        1 => {
            let lines = read((code, &text));
            assert!(lines.len() <= 5 && lines.iter().all(|it| it.chars().count() <= 201), "{lines:?}");
        }
        2 => drop(parse_answer(&text)),
        _ => {
            let answered = ENGINE.with(|it| it.answer(text.clone()));
            assert!(answered.as_ref().is_none_or(|it| it.1.len() < LONGEST + BUFFER));
            if text.len() < LONGEST {
                assert_eq!(answered, parse_answer(&text));
            }
        }
    }
});

/// An engine that answers each request with what it is told to.
struct Engine {
    socket: PathBuf,
    _directory: tempfile::TempDir,
    answers: Sender<Vec<u8>>,
}

impl Engine {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine");
        let listener = UnixListener::bind(&socket).unwrap();
        let (answers, next) = channel::<Vec<u8>>();
        std::thread::spawn(move || {
            for answer in next {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(&answer);
            }
        });
        Self { socket, _directory: directory, answers }
    }

    fn answer(&self, answer: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        self.answers.send(answer).unwrap();
        ask(&self.socket, LONGEST)
    }
}

fn check_list(code: u8, text: &[u8]) {
    let mut bodies = text.split(|&byte| byte == END);
    let first = CODES[usize::from(code) % CODES.len()];
    let mut next = |code: u16, empty: &'static [u8]| -> Said<'_> { (code, bodies.next().unwrap_or(empty)) };
    let said = [
        next(first, b"[]"),
        next(200, b"[]"),
        next(200, b"{}"),
        next(if code & 8 == 0 { 404 } else { 200 }, b"[]"),
        next(200, b"[]"),
        next(200, b"{}"),
    ];
    let Some([containers, pods, networks, volumes]) = list(said) else { return };
    let all = |at: usize| items(said[at].1);
    assert_eq!(containers, all(0));
    assert_eq!(pods, if said[3].0 == 200 { all(3) } else { Vec::new() });
    assert_eq!(networks, [all(1), all(4)].concat());
    assert_eq!(volumes, [all(2), all(5)].concat());
}

/// The ids of what has the labels of our session.
fn items(body: &[u8]) -> Vec<String> {
    // What cgrun skips need not be UTF-8.
    let text = String::from_utf8_lossy(body);
    let (json, _) = oracle::first(&text).expect("it was read");
    let get = |fields: &[(String, Json)], name: &str| {
        fields.iter().rfind(|it| it.0 == name).map_or(Json::Null, |it| it.1.clone())
    };
    let all = match &json {
        Json::Object(fields) => get(fields, "Volumes"),
        other => other.clone(),
    };
    let (Json::List(all), id) = (all, if matches!(json, Json::Object(_)) { "Name" } else { "Id" }) else {
        return Vec::new();
    };
    let is_ours = |labels: &[(String, Json)]| {
        let has = |prefix: &str, name: &str| matches!(get(labels, &format!("{prefix}{name}")), Json::Text(_));
        let names = ["cgrun.session", "cgrun.boot", "cgrun.pid-namespace"];
        let prefix = ["com.docker.", ""].into_iter().find(|prefix| names.iter().all(|it| has(prefix, it)));
        prefix.is_some_and(|it| get(labels, &format!("{it}cgrun.session")) == Json::Text("ours".into()))
    };
    let of_item = |item: Json| {
        let Json::Object(fields) = item else { panic!("{item:?} was read") };
        let Json::Object(labels) = get(&fields, "Labels") else { return None };
        let Json::Text(id) = get(&fields, id) else { panic!("it was read") };
        is_ours(&labels).then_some(id)
    };
    all.into_iter().filter_map(of_item).collect()
}
