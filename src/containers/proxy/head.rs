//! The head of a request: all up to the empty line (RFC 9112).

use std::io::{self, Read};

/// Docker's own limit is 1 MiB for all header fields.
const LONGEST: usize = 1 << 20;
const MOST_FIELDS: usize = 256;
const END: &[u8] = b"\r\n\r\n";
/// How a connection begins that speaks HTTP/2 from the start (RFC 9113).
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// They describe one connection, not the request.
const OF_A_CONNECTION: [&str; 3] = ["connection", "keep-alive", "proxy-connection"];

/// Why a request is not passed on.
#[derive(Debug)]
pub(super) enum BadRequest {
    Malformed,
    TooLarge,
    HeadTooLarge,
    /// Nobody can be answered any more.
    Lost,
}

impl From<io::Error> for BadRequest {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// What a client says first.
#[derive(Debug)]
pub(super) enum Opening {
    Request(Head),
    /// HTTP/2, as far as it was read.
    Http2(Vec<u8>),
    /// It closed the connection without a word.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Head {
    pub method: String,
    pub target: String,
    /// Of HTTP/1.
    minor: u8,
    fields: Vec<(String, Vec<u8>)>,
    /// What was read beyond the head.
    pub rest: Vec<u8>,
}

pub(super) fn read(client: &mut impl Read) -> Result<Opening, BadRequest> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 16 << 10];
        let length = match client.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        if length == 0 {
            return if bytes.is_empty() { Ok(Opening::Nothing) } else { Err(BadRequest::Malformed) };
        }
        let searched = bytes.len().saturating_sub(END.len() - 1);
        bytes.extend_from_slice(&chunk[..length]);
        if let Some(at) = bytes[searched..].windows(END.len()).position(|it| it == END) {
            let rest = bytes.split_off(searched + at + END.len());
            return if bytes == HTTP_2 {
                Ok(Opening::Http2([bytes, rest].concat()))
            } else {
                Head::parse(&bytes, rest).map(Opening::Request)
            };
        }
        if bytes.len() > LONGEST {
            return Err(BadRequest::HeadTooLarge);
        }
    }
}

impl Head {
    fn parse(bytes: &[u8], rest: Vec<u8>) -> Result<Self, BadRequest> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::HeadTooLarge),
            _ => return Err(BadRequest::Malformed),
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Err(BadRequest::Malformed);
        };
        Ok(Self {
            method: method.into(),
            target: target.into(),
            minor,
            fields: request.headers.iter().map(|it| (it.name.into(), it.value.to_vec())).collect(),
            rest,
        })
    }

    /// The values of all fields of this name.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    pub(super) fn is_http_1_0(&self) -> bool {
        self.minor == 0
    }

    fn is_upgrade(&self) -> bool {
        self.values("upgrade").next().is_some()
    }

    /// Replaces what tells the length of the body, and keeps the request from becoming HTTP/2: what else is asked there would
    /// pass unseen.
    pub(super) fn set_length(&mut self, length: usize) {
        let told = ["content-length", "transfer-encoding", "trailer", "expect", "upgrade", "http2-settings"];
        self.fields.retain(|(name, _)| !told.iter().any(|it| name.eq_ignore_ascii_case(it)));
        self.fields.push(("Content-Length".into(), length.to_string().into_bytes()));
    }

    /// The bytes to send instead. The engine serves one request on a connection, so that nothing that follows is one: what
    /// a client sends on can only be a part of this one, or what belongs to its upgrade.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.{}\r\n", self.method, self.target, self.minor).into_bytes();
        for (name, value) in &self.fields {
            if !OF_A_CONNECTION.iter().any(|it| name.eq_ignore_ascii_case(it)) {
                bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
        }
        if self.is_upgrade() {
            // podman looks only at the first field of this name, and for nothing else in it.
            bytes.extend(b"Connection: Upgrade\r\n");
        }
        bytes.extend(b"Connection: close\r\n\r\n");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(bytes: &[u8]) -> Result<Opening, BadRequest> {
        read(&mut &bytes[..])
    }

    fn head(bytes: &[u8]) -> Head {
        match opening(bytes) {
            Ok(Opening::Request(head)) => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_passed_on_as_the_only_one() {
        let head = head(b"GET /info HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nX: \xff\r\n\r\nrest");
        assert_eq!(head.rest, b"rest");
        assert_eq!(head.to_bytes(), b"GET /info HTTP/1.1\r\nHost: x\r\nX: \xff\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn an_upgrade_stays_one() {
        let head = head(b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
        let sent = head.to_bytes();
        assert!(
            sent.ends_with(b"Upgrade: tcp\r\nConnection: Upgrade\r\nConnection: close\r\n\r\n"),
            "{sent:?}"
        );
    }

    #[test]
    fn a_new_length_replaces_the_old_framing() {
        let mut head = head(
            b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 7\r\nExpect: 100-continue\r\n\
              Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        );
        head.set_length(12);
        assert_eq!(head.to_bytes(), b"POST /x HTTP/1.1\r\nContent-Length: 12\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bytes in [
            &b"nonsense\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nHost",
            b"GET / HTTP/1.1\r\n X: folded\r\n\r\n",
            b"\x16\x03\x01",
        ] {
            assert!(matches!(opening(bytes), Err(BadRequest::Malformed)), "{bytes:?}");
        }
        let fields = "A: b\r\n".repeat(MOST_FIELDS + 1);
        let many = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert!(matches!(opening(many.as_bytes()), Err(BadRequest::HeadTooLarge)));
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(LONGEST + (32 << 10)));
        assert!(matches!(opening(long.as_bytes()), Err(BadRequest::HeadTooLarge)));
        assert!(matches!(opening(b""), Ok(Opening::Nothing)));
    }

    #[test]
    fn http_2_is_not_taken_for_a_request() {
        let bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes";
        assert!(matches!(opening(bytes), Ok(Opening::Http2(read)) if read == bytes));
    }
}
