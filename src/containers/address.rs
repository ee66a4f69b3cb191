//! The address of an engine, as a variable or a context gives it: `unix:///run/docker.sock`, `tcp://build:2376`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::text::{readable, shorten};

/// As much of an address as is worth reading.
const WIDTH: usize = 120;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(super) OsString);

impl Address {
    /// The path of a Unix socket; `None` if it is something else, or not absolute: clients disagree about relative paths.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        let path = self.0.as_bytes().strip_prefix(b"unix://")?;
        path.starts_with(b"/").then(|| PathBuf::from(OsStr::from_bytes(path)))
    }
}

/// Without what can be secret: a user and a password, and the query.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        if self.socket().is_some() {
            return f.write_str(&shorten(&readable(&text), WIDTH));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), &*text),
        };
        // A password can contain anything, an @ too.
        let (user, rest) = match rest.rsplit_once('@') {
            Some((_secret, rest)) => ("…@", rest),
            None => ("", rest),
        };
        let shown = match rest.find(['?', '#']) {
            Some(at) => format!("{scheme}{user}{}…", &rest[..at]),
            None => format!("{scheme}{user}{rest}"),
        };
        f.write_str(&shorten(&readable(&shown), WIDTH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address(text.into()).to_string()
    }

    #[test]
    fn only_an_absolute_path_is_a_socket() {
        let socket = |text: &str| Address(text.into()).socket();
        assert_eq!(socket("unix:///run/docker.sock"), Some("/run/docker.sock".into()));
        let wrong =
            ["", "unix://", "unix:", "unix://run/docker.sock", "/run/docker.sock", "UNIX:///x", "tcp:///x"];
        for wrong in wrong {
            assert_eq!(socket(wrong), None, "{wrong}");
        }
        let strange = OsStr::from_bytes(b"unix:///run/\xff@\n");
        assert_eq!(Address(strange.into()).socket().unwrap().as_os_str().as_bytes(), b"/run/\xff@\n");
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(shown("tcp://build:2376"), "tcp://build:2376");
        assert_eq!(shown("ssh://me:secret@build/run/x"), "ssh://…@build/run/x");
        assert_eq!(shown("tcp://me:se@c/r?e#t@build:1?key=secret"), "tcp://…@build:1…");
        assert_eq!(shown("me:secret@build"), "…@build");
        assert_eq!(shown("secret://secret@secret@build#secret"), "secret://…@build…");
    }

    #[test]
    fn an_address_cannot_draw_on_the_terminal() {
        assert_eq!(shown("tcp://\x1b[2J"), "tcp://\\u{1b}[2J");
        assert_eq!(shown("unix:///\x07"), "unix:///\\u{7}");
        assert!(shown(&"x".repeat(10_000)).len() < 200);
    }
}
