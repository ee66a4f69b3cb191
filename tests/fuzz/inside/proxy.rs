//! What the fuzzer reaches of the proxy.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::getpid;

use super::body;
use super::connection::Service;
use super::creator::Family;
use super::head::{self, Opening};
use super::labelling::{labelled, named_volumes};
use super::pending::Pending;
use super::target::Creation;
use crate::leaks::InheritedMarks;

/// Those of the session.
pub const LABELS: [(&str, &str); 4] =
    [("cgrun.session", "ours"), ("cgrun.boot", "boot"), ("cgrun.pid-namespace", "1"), ("cgrun.owner", "1:1")];

fn labels() -> Vec<(&'static str, String)> {
    LABELS.map(|(name, value)| (name, value.to_string())).to_vec()
}

pub struct Proxy(Service);

impl Default for Proxy {
    fn default() -> Self {
        // The client is this process itself, of which nothing is to be read.
        let family =
            Family { session: "ours".into(), supervisor: getpid(), inherited: InheritedMarks::ours() };
        Self(Service { labels: labels(), family, pending: Pending::default(), identity: None })
    }
}

impl Proxy {
    pub fn serve(&self, client: &UnixStream, engine: &Path) {
        self.0.serve(client, engine);
    }
}

/// `None` if the target creates nothing. Otherwise the description with labels, unless it is none.
pub fn label(target: &str, description: &[u8]) -> Option<Option<Vec<u8>>> {
    let creation = Creation::of("POST", target)?;
    Some(labelled(&creation, description, &labels()))
}

/// The names of the volumes that are created before.
pub fn volumes(target: &str, description: &[u8]) -> Vec<String> {
    let Some(creation) = Creation::of("POST", target) else { return Vec::new() };
    named_volumes(&creation, description).into_iter().map(|it| it.name).collect()
}

/// A client of which only a few bytes arrive at once.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

impl Write for Slow<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an engine receives in the end.
pub fn pass_on(bytes: &[u8], at_once: usize) -> Option<Vec<u8>> {
    let mut client = Slow(bytes, at_once);
    let mut head = match head::read(&mut client) {
        Ok(Opening::Request(head)) => head,
        Ok(Opening::Http2(read)) => return Some([&read, client.0].concat()),
        Ok(Opening::Nothing) | Err(_) => return None,
    };
    let Some(creation) = Creation::of(&head.method, &head.target) else {
        body::framing(&head).ok()?;
        return Some([&head.to_bytes(), &head.rest, client.0].concat());
    };
    let description = body::read(&mut head, &mut client).ok()?;
    let description = labelled(&creation, &description, &labels()).unwrap_or(description);
    head.set_length(description.len());
    Some([head.to_bytes(), description].concat())
}
