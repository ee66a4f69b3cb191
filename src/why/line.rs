//! What the kernel tells of the connection that a process waits at, besides the processes at its other end.

use std::time::Duration;

use crate::sys::connections::{Connection, State};
use crate::sys::port::Protocol;
use crate::text::{age, counted};

/// Less is not worth a word.
const LONG: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub protocol: Protocol,
    pub other: Other,
    /// Whether the other end is a client, which has made the connection.
    pub is_client: bool,
    /// It waits for the answer to its first packet.
    pub is_connecting: bool,
    /// For how long nothing has arrived, if that is known.
    pub silent_for: Option<Duration>,
    /// How many bytes the process has sent that the other end has not read.
    pub unread: u32,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// Processes have it.
    Held,
    /// It is on this host, and the processes that have it are hidden from us.
    Hidden,
    /// Processes listen, and have not accepted the connection.
    NotAccepted,
    Closed,
    Elsewhere,
}

impl Line {
    pub(super) fn of(own: &Connection, is_client: bool, peer: Option<&Connection>, other: Other) -> Self {
        Self {
            protocol: own.protocol,
            other,
            is_client,
            is_connecting: own.state == State::Connecting,
            silent_for: own.silent_for,
            unread: own.unsent.saturating_add(peer.map_or(0, |peer| peer.unread)),
        }
    }

    /// `127.0.0.1:8000, held by 4711 (uvicorn)`: who has the other end, as `held` names the processes.
    pub(super) fn at(&self, address: &str, held: Option<&str>) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "",
            Protocol::Udp if address.ends_with(":53") => " (DNS over UDP)",
            Protocol::Udp => " (UDP)",
        };
        let end = match (self.other, held) {
            (Other::NotAccepted, Some(held)) if self.protocol == Protocol::Udp || self.is_connecting => {
                format!(", on which {held} listens")
            }
            (Other::NotAccepted, Some(held)) => {
                format!(", on which {held} listens, but has not accepted the connection")
            }
            (_, Some(held)) => format!(", held by {held}"),
            (Other::Hidden | Other::NotAccepted, None) => ", held by a process that cannot be seen".into(),
            (Other::Closed, None) => ", whose other end is closed".into(),
            (Other::Elsewhere, None) if self.is_connecting => String::new(),
            (Other::Held | Other::Elsewhere, None) => ", which is outside of this session".into(),
        };
        format!("{address}{protocol}{end}")
    }

    /// `; no answer for 58 s`, or nothing.
    pub(super) fn progress(&self) -> String {
        let mut text = match self.silent_for.filter(|it| *it >= LONG).map(age) {
            Some(silent) if self.is_connecting => format!("; no answer for {silent}"),
            Some(silent) => format!("; nothing has come for {silent}"),
            None if self.is_connecting => "; no answer yet".into(),
            None => String::new(),
        };
        if self.unread > 0 && !self.is_connecting {
            let verb = if self.unread == 1 { "is" } else { "are" };
            text += &format!("; {} that it sent {verb} not read", counted(self.unread.into(), "byte"));
        }
        text
    }
}
