//! A directory in whose place the session has one of its own.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::Private;

const TMP: [&str; 2] = ["/tmp", "/var/tmp"];
const SHM: [&str; 1] = ["/dev/shm"];
/// What can follow a path in a text.
const ENDS: &[u8] = b"/:;,= \t\n\"'()<>|&";

#[derive(Debug)]
pub(super) struct Covered {
    /// Without links.
    pub path: PathBuf,
    /// As it is written: `/var/tmp` can be a link.
    name: &'static str,
}

impl Covered {
    /// One that the host does not have is none of them, and neither is one in another.
    pub(super) fn all(private: Private) -> Vec<Self> {
        let names = TMP.iter().filter(|_| private.tmp).chain(SHM.iter().filter(|_| private.shm));
        let mut all: Vec<Self> = Vec::new();
        for name in names {
            let Ok(path) = Path::new(name).canonicalize() else { continue };
            if !all.iter().any(|it| path.starts_with(&it.path)) {
                all.push(Self { path, name });
            }
        }
        all
    }

    pub(super) fn is(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| path == self.path)
    }

    /// The entries of the directory that a text names, wherever in it: `/tmp/venv` for `PATH=/bin:/tmp/venv/bin`.
    pub(super) fn entries_in(&self, text: &OsStr) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for prefix in [self.name.as_bytes(), self.path.as_os_str().as_bytes()] {
            let mut rest = text.as_bytes();
            while let Some(at) =
                rest.windows(prefix.len() + 1).position(|it| it.starts_with(prefix) && it.ends_with(b"/"))
            {
                let is_begin = at == 0 || !is_in_a_name(rest[at - 1]);
                rest = &rest[at + prefix.len() + 1..];
                let end = rest.iter().position(|byte| ENDS.contains(byte)).unwrap_or(rest.len());
                if is_begin && ![&b""[..], b".", b".."].contains(&&rest[..end]) {
                    found.push(self.path.join(OsStr::from_bytes(&rest[..end])));
                }
            }
        }
        found
    }
}

/// Then what follows is not the beginning of a path. An option can be: `-I/tmp/include`.
fn is_in_a_name(byte: u8) -> bool {
    b"./_-~".contains(&byte) || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_that_a_text_names_are_found() {
        let covered = Covered { path: "/tmp".into(), name: "/tmp" };
        let found = |text: &str| -> Vec<String> {
            let mut found = covered.entries_in(OsStr::new(text));
            found.dedup();
            found.iter().map(|it| it.to_string_lossy().into_owned()).collect()
        };
        assert!(found("/usr/tmpx /tmp /tmp/ ./tmp/x /tmp/.. a/tmp/./b").is_empty());
        for (text, entry) in [
            ("/tmp/venv/bin/python", "/tmp/venv"),
            ("/usr/bin:/tmp/a/bin", "/tmp/a"),
            ("--config=/tmp/x.toml", "/tmp/x.toml"),
            ("cat '/tmp/x' >out", "/tmp/x"),
            ("-I/tmp/include", "/tmp/include"),
            ("unix:path=/tmp/dbus,guid=7", "/tmp/dbus"),
        ] {
            assert_eq!(found(text)[0], entry, "{text}");
        }
    }

    #[test]
    fn a_link_is_the_same_directory() {
        let covered = Covered { path: "/tmp".into(), name: "/var/tmp" };
        for (text, entry) in [("/var/tmp/x", "/tmp/x"), ("/tmp/y", "/tmp/y")] {
            let found = covered.entries_in(OsStr::new(text));
            assert!(!found.is_empty() && found.iter().all(|it| it == Path::new(entry)), "{found:?}");
        }
    }
}
