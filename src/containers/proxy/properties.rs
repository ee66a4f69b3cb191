//! Whatever a client sends, at most one request is passed on.

use std::io::{self, Read, Write};

use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

use super::body;
use super::head::{self, Head, Opening};
use super::labelling::{labelled, named_volumes};
use super::target::Creation;

/// What requests are made of, and how they are forged.
const WORDS: [&str; 36] = [
    "POST ",
    "GET ",
    "/containers/create",
    "/v1.41/",
    "libpod/",
    "volumes/create",
    "http://x",
    "?a=b",
    " HTTP/1.1",
    " HTTP/1.0",
    "\r\n",
    "\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    ":",
    "Host: x\r\n",
    "Connection: keep-alive\r\n",
    "Upgrade: h2c\r\n",
    "Expect: 100-continue\r\n",
    "Content-Length: 2\r\n",
    "Content-Length: 99999999999\r\n",
    "Content-Length:",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "2\r\n{}\r\n",
    "0\r\n\r\n",
    "f;a=b\r\n",
    "{}",
    r#"{"Labels":{},"labels":null,"HostConfig":{"Binds":["v:/v"],"Mounts":[{"Type":"volume","Source":"w"}]}}"#,
    r#"{"a":"#,
    "PRI * HTTP/2.0\r\n\r\n",
];

const BEGINNINGS: [&str; 4] = [
    "",
    "GET /_ping HTTP/1.1\r\n",
    "POST /containers/create HTTP/1.1\r\n",
    "POST /containers/create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
];

/// A client that sends this, a few bytes at a time.
struct Client<'a>(&'a [u8], usize);

impl Read for Client<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

impl Write for Client<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sent() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        20 => select(&WORDS[..]).prop_map(|it| it.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    let beginning = select(&BEGINNINGS[..]);
    (beginning, vec(word, 0..14))
        .prop_map(|(beginning, words)| [beginning.as_bytes(), &words.concat()].concat())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), object(inner).prop_map(Value::from)]
    })
}

fn object(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![
        any::<String>(),
        select(&["HostConfig", "Binds", "Mounts", "Source", "Volumes"][..]).prop_map(Into::into)
    ];
    hash_map(key, values, 0..5).prop_map(|it| it.into_iter().collect())
}

/// The only head in here, as whoever reads it by the letter sees it.
fn only(bytes: &[u8]) -> Head {
    let Ok(Opening::Request(head)) = head::read(&mut &bytes[..]) else {
        panic!("{:?}", String::from_utf8_lossy(bytes))
    };
    let written = &bytes[..bytes.len() - head.rest.len()];
    assert_eq!(written.windows(4).filter(|it| it == b"\r\n\r\n").count(), 1);
    for (at, byte) in written.iter().enumerate() {
        assert!(
            *byte != 0
                && (*byte != b'\n' || written[at - 1] == b'\r')
                && (*byte != b'\r' || written[at + 1] == b'\n')
        );
    }
    assert_eq!(head.values("connection").last(), Some(&b"close"[..]));
    assert!(head.values("connection").all(|it| it == b"close" || it == b"Upgrade"));
    head
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_passed_on_is_exactly_one_request(bytes in sent(), at_once in 1..100_usize) {
        let mut client = Client(&bytes, at_once);
        let Ok(Opening::Request(mut head)) = head::read(&mut client) else { return Ok(()) };
        let passed = only(&head.to_bytes());
        prop_assert_eq!((&passed.method, &passed.target), (&head.method, &head.target));
        prop_assert!(passed.rest.is_empty());
        let Some(creation) = Creation::of(&head.method, &head.target) else { return Ok(()) };
        let Ok(mut description) = body::read(&mut head, &mut client) else { return Ok(()) };
        named_volumes(&creation, &description);
        if let Some(changed) = labelled(&creation, &description, &vec![("cgrun.session", "abc".into())]) {
            prop_assert!(serde_json::from_slice::<Map<String, Value>>(&changed).is_ok());
            description = changed;
        }
        head.set_length(description.len());
        let mut passed = only(&[head.to_bytes(), description.clone()].concat());
        prop_assert_eq!(&passed.rest, &description);
        prop_assert!(passed.values("upgrade").next().is_none());
        // It is read as a whole, and no further.
        let read = body::read(&mut passed, &mut Client(b"more", 4)).unwrap();
        prop_assert_eq!(read, description);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn labels_are_all_that_changes(description in object(json()), is_libpod in any::<bool>()) {
        let target = if is_libpod { "/libpod/containers/create" } else { "/containers/create" };
        let creation = Creation::of("POST", target).unwrap();
        prop_assume!(!description.keys().any(|it| it.eq_ignore_ascii_case("labels")));
        let body = serde_json::to_vec(&description).unwrap();
        named_volumes(&creation, &body);
        let changed = labelled(&creation, &body, &vec![("cgrun.session", "abc".into())]).unwrap();
        let mut changed: Map<String, Value> = serde_json::from_slice(&changed).unwrap();
        let labels = changed.remove(if is_libpod { "labels" } else { "Labels" }).unwrap();
        prop_assert_eq!(labels.as_object().map(Map::len), Some(2));
        prop_assert_eq!((&labels["cgrun.session"], labels["cgrun.created"].is_string()), (&"abc".into(), true));
        prop_assert_eq!(changed, description);
    }
}
