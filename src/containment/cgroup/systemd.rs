//! Asks systemd for a scope of our own, with its cgroup delegated to us, as `systemd-run --scope -p
//! Delegate=yes` does. By asking systemd directly, we remain the process that the shell and CI wait for, and
//! can try something else if systemd does not answer.
//!
//! This takes one D-Bus message over the manager's private socket, which needs no message bus.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::containment::session_id::SessionId;
use crate::sys::connect::connect_unix_within;
use crate::sys::time::{self, Instant};
use crate::text::plain;

/// How long the manager may take for each step.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to check whether we were moved, which no event announces.
const LOOK: Duration = Duration::from_micros(500);
/// Longer than any reply that we expect.
const LONGEST_REPLY: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum NoScope {
    #[error("no service manager answers at {}: {}", socket.display(), plain(source))]
    NoManager { socket: PathBuf, source: io::Error },
    #[error("the service manager at {} lives in another PID namespace", socket.display())]
    Foreign { socket: PathBuf },
    #[error("it refuses: {0}")]
    Refused(String),
    #[error("cannot communicate with it: {0}")]
    Broken(io::Error),
    #[error("it did not move cgrun within {} s", PATIENCE.as_secs())]
    Late,
}

/// Whether systemd is the init system, as sd_booted(3) checks it.
pub(crate) fn manages_this_host() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The socket on which our service manager listens. Root's manager is the system's.
pub(crate) fn private_socket() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return "/run/systemd/private".into();
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|it| !it.is_empty()).map(PathBuf::from);
    // The variable is not set under su, cron, or a service with `User=`.
    runtime.unwrap_or_else(|| format!("/run/user/{}", user.as_raw()).into()).join("systemd/private")
}

/// Moves us into a new scope. Waits until `arrived`, called with the scope's name, returns a value. `place`
/// is our cgroup before the move.
pub(crate) fn enter_scope<T>(place: &Path, arrived: impl Fn(&str) -> Option<T>) -> Result<T, NoScope> {
    let socket = private_socket();
    let no_manager = |source| NoScope::NoManager { socket: socket.clone(), source };
    let mut stream = connect_unix_within(&socket, PATIENCE).map_err(no_manager)?;
    // In another PID namespace, the manager would move a different process. A peer that we cannot see has pid
    // 0.
    let peer = getsockopt(&stream, PeerCredentials).map_err(|errno| NoScope::Broken(errno.into()))?;
    let is_ours = if rustix::process::geteuid().is_root() { peer.pid() == 1 } else { peer.pid() != 0 };
    if !is_ours {
        return Err(NoScope::Foreign { socket });
    }
    let name = format!("{}.scope", SessionId::random().map_err(NoScope::Broken)?.directory());
    stream.set_read_timeout(Some(PATIENCE)).map_err(NoScope::Broken)?;
    authenticate(&mut stream).map_err(NoScope::Broken)?;
    stream.write_all(&start_transient_unit(&name, &Ties::of(place))).map_err(NoScope::Broken)?;
    if let Some(error) = reply(&mut stream).map_err(NoScope::Broken)? {
        return Err(NoScope::Refused(error));
    }
    // A positive reply only means that the job is queued.
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(place) = arrived(&name) {
            return Ok(place);
        }
        if Instant::now() >= deadline {
            return Err(NoScope::Late);
        }
        time::sleep(LOOK);
    }
}

/// Authenticates with the EXTERNAL mechanism: the kernel tells the manager who we are.
fn authenticate(stream: &mut UnixStream) -> io::Result<()> {
    let user: String =
        rustix::process::geteuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    write!(stream, "\0AUTH EXTERNAL {user}\r\n")?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < 256 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    if !line.starts_with(b"OK ") {
        return Err(io::Error::other(String::from_utf8_lossy(&line).trim().to_string()));
    }
    stream.write_all(b"BEGIN\r\n")
}

/// Ties the scope to where we were: to the limits of our slice, and to the lifetime of our service.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ties {
    slice: Option<String>,
    service: Option<String>,
}

impl Ties {
    /// Only units of the manager that we ask: those of a user's manager lie below its own service.
    fn of(place: &Path) -> Self {
        let units: Vec<_> = place.iter().filter_map(|name| name.to_str()).collect();
        let manager = units.iter().rposition(|name| name.starts_with("user@") && name.ends_with(".service"));
        let root = rustix::process::geteuid().is_root();
        let ours = match manager {
            Some(at) if !root => &units[at + 1..],
            None if root => &units[..],
            _ => &[],
        };
        let last = |kind: &str| ours.iter().rfind(|name| name.ends_with(kind)).map(|name| name.to_string());
        Self { slice: last(".slice"), service: last(".service") }
    }
}

/// `StartTransientUnit(name, "fail", properties, no auxiliary units)` of org.freedesktop.systemd1(5).
fn start_transient_unit(name: &str, ties: &Ties) -> Vec<u8> {
    let mut body = Message::default();
    body.text(name);
    body.text("fail");
    body.array(|properties| {
        properties.property("Description", "s", |value| value.text("cgrun"));
        properties.property("Delegate", "b", |value| value.number(1));
        // systemd unloads the scope once it is empty, even if it failed.
        properties.property("CollectMode", "s", |value| value.text("inactive-or-failed"));
        if let Some(slice) = &ties.slice {
            properties.property("Slice", "s", |value| value.text(slice));
        }
        if let Some(service) = &ties.service {
            properties.property("PartOf", "as", |value| value.words(service));
        }
        properties.property("PIDs", "au", |value| {
            value.number(4);
            value.number(std::process::id());
        });
    });
    body.array(|_| ());

    let mut message = Message::default();
    const METHOD_CALL: u8 = 1;
    const VERSION: u8 = 1;
    message.0.extend([b'l', METHOD_CALL, 0, VERSION]);
    message.number(body.0.len() as u32);
    message.number(1);
    message.array(|fields| {
        for (field, kind, value) in [
            (1, "o", "/org/freedesktop/systemd1"),
            (2, "s", "org.freedesktop.systemd1.Manager"),
            (3, "s", "StartTransientUnit"),
            (6, "s", "org.freedesktop.systemd1"),
        ] {
            fields.align(8);
            fields.0.push(field);
            fields.signature(kind);
            fields.text(value);
        }
        fields.align(8);
        fields.0.push(8);
        fields.signature("g");
        fields.signature("ssa(sv)a(sa(sv))");
    });
    message.align(8);
    message.0.extend(body.0);
    message.0
}

/// A message under construction, little-endian, as the D-Bus specification defines it ("Marshaling").
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.0.extend(text.bytes().chain([0]));
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend(signature.bytes().chain([0]));
    }

    /// An array of structures, whose length does not count the padding before the first.
    fn array(&mut self, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(8);
        let start = self.0.len();
        fill(self);
        let length = (self.0.len() - start) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// An array of one string.
    fn words(&mut self, word: &str) {
        self.number((4 + word.len() + 1) as u32);
        self.text(word);
    }

    fn property(&mut self, name: &str, kind: &str, value: impl FnOnce(&mut Self)) {
        self.align(8);
        self.text(name);
        self.signature(kind);
        value(self);
    }
}

/// Waits for the reply. Returns the manager's own message if the reply is an error.
fn reply(stream: &mut UnixStream) -> io::Result<Option<String>> {
    const METHOD_RETURN: u8 = 2;
    const ERROR: u8 = 3;
    loop {
        let mut header = [0u8; 16];
        stream.read_exact(&mut header)?;
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
        };
        let (body, fields) = (number(4), number(12));
        if header[0] != b'l' || body > LONGEST_REPLY || fields > LONGEST_REPLY {
            return Err(io::Error::other("unexpected reply"));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        stream.read_exact(&mut rest)?;
        match header[1] {
            METHOD_RETURN => return Ok(None),
            ERROR => {
                // Its first value is the reason, a string.
                let text = rest.get(fields.next_multiple_of(8) + 4..).unwrap_or_default();
                let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
                return Ok(Some(String::from_utf8_lossy(text).into_owned()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_stays_below_our_slice_and_with_our_service() {
        let ties = Ties::of(Path::new("/sys/fs/cgroup/system.slice/runner.service"));
        assert_eq!(ties.slice.as_deref(), Some("system.slice"));
        assert_eq!(ties.service.as_deref(), Some("runner.service"));
        let elsewhere = "/sys/fs/cgroup/user.slice/user-7.slice/user@7.service/app.slice/x.service";
        assert_eq!(Ties::of(Path::new(elsewhere)), Ties::default(), "another manager's");
    }

    #[test]
    fn the_message_is_laid_out_as_the_specification_says() {
        let message = start_transient_unit("cgrun-bcdfghjk.scope", &Ties::default());
        let number = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(&message[..4], [b'l', 1, 0, 1]);
        let body = (16 + number(12)).next_multiple_of(8);
        assert_eq!(message.len(), body + number(4));
        assert_eq!(number(body), "cgrun-bcdfghjk.scope".len());
        assert_eq!(&message[body + 4..body + 24], b"cgrun-bcdfghjk.scope");
        // It ends with the pids, and the empty array of auxiliary units, padded as if it had one.
        let end = &message[message.len() - 16..];
        assert_eq!(end[..4], 4u32.to_le_bytes());
        assert_eq!(end[4..8], std::process::id().to_le_bytes());
        assert_eq!(end[8..], [0; 8]);
    }
}
