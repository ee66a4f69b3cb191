//! What a client is told instead of an answer.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::json;

use super::head::BadRequest;
use crate::text::plain;

#[derive(Debug)]
pub(super) struct Refusal {
    status: &'static str,
    message: String,
}

impl Refusal {
    /// The client can be gone.
    pub(super) fn tell(&self, mut client: &UnixStream) {
        let body = json!({ "message": self.message }).to_string();
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.status,
            body.len()
        );
        let _ = client.write_all((head + &body).as_bytes());
    }

    pub(super) fn busy(message: String) -> Self {
        Self { status: "503 Service Unavailable", message }
    }

    pub(super) fn unreachable(path: &Path, error: &io::Error) -> Self {
        let message =
            format!("cgrun cannot reach the container engine at {}: {}", path.display(), plain(error));
        Self { status: "502 Bad Gateway", message }
    }

    pub(super) fn ending() -> Self {
        Self::busy("the cgrun session is ending".into())
    }

    pub(super) fn nobody_hears() -> Self {
        Self { status: "500 Internal Server Error", message: "cgrun cannot pass the request on".into() }
    }
}

impl From<BadRequest> for Refusal {
    fn from(error: BadRequest) -> Self {
        let (status, message) = match error {
            BadRequest::Malformed => {
                ("400 Bad Request", "cgrun cannot read the request: it is not valid HTTP/1")
            }
            BadRequest::TooLarge => (
                "413 Content Too Large",
                "the request is larger than 4 MiB, the most that cgrun passes on to create something",
            ),
            BadRequest::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "the header fields are larger than 1 MiB, the most that cgrun passes on",
            ),
            BadRequest::Lost => return Self::nobody_hears(),
        };
        Self { status, message: message.into() }
    }
}
