//! One thing that is left.

use std::path::Path;

use serde::Serialize;

use super::maker::Maker;
use crate::containers::{Container, EngineObject, ObjectType};
use crate::leaks::Origin;
use crate::sys::system_v::{Object, ObjectKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LeftoverKind {
    File,
    /// All that is in a private directory.
    Directory,
    /// It was or is in a container engine, as is what follows.
    Container,
    Pod,
    Network,
    Volume,
    #[serde(untagged)]
    Object(ObjectKind),
}

impl LeftoverKind {
    pub(crate) fn is_of_engine(self) -> bool {
        matches!(self, Self::Container | Self::Pod | Self::Network | Self::Volume)
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    Removed,
    LeftAlone,
    /// It was private.
    GoneWithSession,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Leftover {
    pub kind: LeftoverKind,
    /// The path of a file, the id of an object.
    pub name: String,
    /// As ipcs(1) shows it.
    pub key: Option<String>,
    pub size_bytes: Option<u64>,
    /// How many files and directories are in a directory.
    pub file_count: Option<u64>,
    /// The user that it belongs to.
    pub uid: Option<u32>,
    pub creator_pid: Option<i32>,
    /// The process of the session that has made it, or held a file until it was stopped.
    pub process: Option<String>,
    pub started_during: Option<String>,
    pub fate: Fate,
    /// How to remove what was left alone.
    pub remove_with: Option<String>,
    pub container: Option<Container>,
    /// Whether it was still running although nothing needed it any more, and is not allowed to.
    pub leaked: bool,
    /// Whether the baseline lists it, so that it does not count.
    pub known: bool,
    /// The test that has created what is in a container engine.
    #[serde(skip)]
    pub origin: Option<Origin>,
}

impl Leftover {
    pub(super) fn object(object: &Object, maker: Option<&Maker>, fate: Fate) -> Self {
        let option = match object.kind {
            ObjectKind::SharedMemory => "-m",
            ObjectKind::Semaphores => "-s",
            ObjectKind::MessageQueue => "-q",
        };
        Self {
            key: Some(format!("{:#010x}", object.key)),
            size_bytes: object.bytes,
            uid: Some(object.uid),
            creator_pid: object.creator.map(|pid| pid.as_raw_nonzero().get()),
            process: maker.map(|it| it.text.clone()),
            started_during: maker.and_then(|it| it.test.clone()),
            remove_with: (fate == Fate::LeftAlone).then(|| format!("ipcrm {option} {}", object.id)),
            ..Self::named(LeftoverKind::Object(object.kind), object.id.to_string(), fate)
        }
    }

    /// What the session had created by way of a container engine, and cgrun has removed.
    pub(crate) fn ended(object: &EngineObject) -> Self {
        let kind = match object.kind {
            ObjectType::Container => LeftoverKind::Container,
            ObjectType::Pod => LeftoverKind::Pod,
            ObjectType::Network => LeftoverKind::Network,
            ObjectType::Volume => LeftoverKind::Volume,
        };
        Self {
            process: object.service.as_ref().map(|it| format!("service {it}")),
            started_during: object.origin.as_ref().map(ToString::to_string),
            origin: object.origin.clone(),
            known: object.is_known,
            container: object.container.clone(),
            leaked: object.leaked,
            ..Self::named(kind, object.name.clone(), Fate::Removed)
        }
    }

    pub(super) fn file(path: &Path, bytes: u64, uid: u32, holder: Option<&Maker>, fate: Fate) -> Self {
        let path = path.to_string_lossy();
        Self {
            kind: LeftoverKind::File,
            size_bytes: Some(bytes),
            uid: Some(uid),
            process: holder.map(|it| it.text.clone()),
            started_during: holder.and_then(|it| it.test.clone()),
            remove_with: (fate == Fate::LeftAlone).then(|| format!("rm {}", quoted(&path))),
            ..Self::named(LeftoverKind::File, path.into_owned(), fate)
        }
    }

    pub(super) fn directory(path: &Path, bytes: u64, files: u64) -> Self {
        Self {
            size_bytes: Some(bytes),
            file_count: Some(files),
            ..Self::named(LeftoverKind::Directory, path.to_string_lossy().into_owned(), Fate::GoneWithSession)
        }
    }

    pub(super) fn container(container: Container) -> Self {
        let name = if container.name.is_empty() { container.id.clone() } else { container.name.clone() };
        Self {
            remove_with: Some(format!("{} rm --force {}", container.engine, quoted(&name))),
            container: Some(container),
            ..Self::named(LeftoverKind::Container, name, Fate::LeftAlone)
        }
    }

    /// Whether it leaked, and the baseline does not list it.
    pub(crate) fn is_new_leak(&self) -> bool {
        self.leaked && !self.known
    }

    /// Whether it is normal that it was left: a service's, or a container that is known, may run on, or whose command was
    /// cancelled.
    pub(crate) fn is_expected(&self) -> bool {
        let is_running = self.container.as_ref().is_some_and(|it| it.running);
        let is_ended = self.kind.is_of_engine() && self.fate == Fate::Removed;
        is_ended && !self.is_new_leak() && (is_running || self.process.is_some())
    }

    fn named(kind: LeftoverKind, name: String, fate: Fate) -> Self {
        Self {
            kind,
            name,
            key: None,
            size_bytes: None,
            file_count: None,
            uid: None,
            creator_pid: None,
            process: None,
            started_during: None,
            fate,
            remove_with: None,
            container: None,
            leaked: false,
            known: false,
            origin: None,
        }
    }
}

/// As a word of a shell.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if path.chars().all(is_plain) { path.into() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(quoted("/dev/shm/psm_1.a"), "/dev/shm/psm_1.a");
        assert_eq!(quoted("/dev/shm/a b'c"), r"'/dev/shm/a b'\''c'");
    }
}
