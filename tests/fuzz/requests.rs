//! What requests are made of, and what may become of them.

use crate::cgrun::label;
use crate::oracle::{self, Reading, lenient, strict};

const LONG: [u8; 64 << 10] = [b'a'; 64 << 10];
const LONG_WORD: &str = match std::str::from_utf8(&LONG) {
    Ok(it) => it,
    Err(_) => unreachable!(),
};
pub const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    ":",
    "POST ",
    "GET ",
    "HEAD ",
    "DELETE ",
    "post ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/1.1\n",
    " HTTP/2.0\r\n",
    "PRI * HTTP/2.0\r\n\r\n",
    "/containers/create",
    "/networks/create",
    "/volumes/create",
    "/libpod",
    "/pods/create",
    "/v1.41",
    "/v5.0.0-rc1",
    "/containers/x/attach",
    "/containers%2fcreate",
    "/%63ontainers/create",
    "http://x",
    "http:",
    "x:",
    "://",
    "//",
    "/./",
    "/../",
    "?a=b",
    "#",
    "Host: x\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: Upgrade\r\n",
    "Keep-Alive: 5\r\n",
    "Upgrade: tcp\r\n",
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "Expect: 100-continue\r\n",
    "X: y\r\n",
    "X: y\n",
    " folded\r\n",
    "X : y\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 2\r\n",
    "content-length: 2\r\n",
    "Content-Length: 49\r\n",
    "Content-Length: +2\r\n",
    "Content-Length: 2, 2\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Content-Length: 4194305\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: Chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    "Trailer: x\r\n",
    "2\r\n{}\r\n",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "2;a=b\r\n",
    "2 \r\n",
    "1\r\n{\r\n1\r\n}\r\n",
    "fffffffffffffffff\r\n",
    "400001\r\n",
    "-2\r\n",
    "0x2\r\n",
    "{}",
    "{}{}",
    "null",
    r#"{"Labels":{"a":"b"},"labels":null,"HostConfig":{"Binds":["v:/v"],"Mounts":[{"Type":"volume","Source":"w"}]}}"#,
    r#"{"HostConfig":{"Binds":["data:/d"]}}"#,
    r#"{"Labels":{"cgrun.session":"x"},"a":1}   "#,
    r#"{"Image":"#,
    "POST /containers/create HTTP/1.1\r\nHost: x\r\n",
    "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /containers/create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /containers/create HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    LONG_WORD,
];

const OF_A_CONNECTION: [&str; 3] = ["connection", "keep-alive", "proxy-connection"];
const OF_A_BODY: [&str; 6] =
    ["content-length", "transfer-encoding", "trailer", "expect", "upgrade", "http2-settings"];
/// The most that is read of a head, and of a body that is changed.
pub const LARGEST: usize = 1 << 20;

/// Panics if an engine has received anything that a client has not asked for by the letter.
pub fn check(sent: &[u8], received: &[Vec<u8>]) {
    let Some((last, before)) = received.split_last() else {
        return assert!(!is_to_be_passed_on(sent), "it is not passed on");
    };
    if sent.starts_with(b"PRI * HTTP/2.0\r\n\r\n") {
        return assert_eq!(received, [sent]);
    }
    let asked = lenient(sent).expect("nobody has asked for anything");
    let passed = strict(last).expect("what is passed on is no request");
    assert_eq!((passed.method, passed.target, passed.minor), (asked.method, asked.target, asked.minor));
    assert!(oracle::is_framed(&asked), "a body that can be read in two ways");
    let target = std::str::from_utf8(asked.target).unwrap();
    let is_creation = asked.method == b"POST" && label(target, b"").is_some();
    assert!(is_creation || !oracle::is_creation(asked.method, asked.target), "a creation that is not seen");
    let dropped = if is_creation { &OF_A_BODY[..] } else { &[] };
    let dropped: Vec<_> = dropped.iter().chain(&OF_A_CONNECTION).collect();
    let mut fields = asked.fields.clone();
    fields.retain(|(name, _)| !dropped.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes())));
    let length = passed.rest.len().to_string();
    if is_creation {
        fields.push((b"Content-Length", length.as_bytes()));
    } else if !asked.values("upgrade").is_empty() {
        fields.push((b"Connection", b"Upgrade"));
    }
    fields.push((b"Connection", b"close"));
    assert_eq!(passed.fields, fields);
    if !is_creation {
        assert!(before.is_empty());
        return assert!(passed.rest == asked.rest, "the body is another one");
    }
    let body = oracle::body(&asked).expect("a body that can be read in two ways");
    oracle::check(&body, Some(passed.rest).filter(|it| *it != body));
    for volume in before {
        check_volume(volume, &body);
    }
}

/// A volume that the description of a container names.
fn check_volume(received: &[u8], description: &[u8]) {
    let passed = strict(received).unwrap();
    assert_eq!(passed.method, b"POST");
    assert!(passed.target.ends_with(b"/volumes/create"));
    assert_eq!(oracle::body(&passed).unwrap(), passed.rest);
    let (volume, _) = oracle::first(std::str::from_utf8(passed.rest).unwrap()).unwrap();
    let oracle::Json::Object(fields) = volume else { panic!("{volume:?}") };
    let name = fields.iter().find_map(|(key, value)| match value {
        oracle::Json::Text(name) if key == "Name" => Some(name),
        _ => None,
    });
    let description = String::from_utf8_lossy(description);
    let (description, _) = oracle::first(&description).unwrap();
    assert!(oracle::contains_name(&description, name.unwrap()), "nobody has asked for it");
    assert!(String::from_utf8_lossy(passed.rest).contains(r#""cgrun.session":"ours""#));
}

/// Whether this can be refused by nobody.
fn is_to_be_passed_on(sent: &[u8]) -> bool {
    let is_plain = |it: &Reading<'_>| {
        let target = it.target.iter();
        it.fields.len() <= 256
            && sent.len() - it.rest.len() <= LARGEST
            && target.copied().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~%?=&:".contains(&byte))
            && oracle::is_framed(it)
    };
    let Some(asked) = strict(sent).filter(is_plain) else { return false };
    !std::str::from_utf8(asked.target).is_ok_and(|it| label(it, b"").is_some())
        || asked.method != b"POST"
        || oracle::body(&asked).is_some()
}
