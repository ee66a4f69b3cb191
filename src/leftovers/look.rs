//! Looks for what is left, after the teardown.

use std::path::{Path, PathBuf};

use super::before::Before;
use super::leftover::{Leftover, LeftoverKind};
use super::maker::Maker;
use super::private_directories::PrivateDirectory;
use super::{files, objects};
use crate::containers::{EngineObject, Started};
use crate::leaks::{Leak, SHARED};

/// What is known of the session at its end.
pub(crate) struct Scene<'a> {
    pub makers: Vec<Maker>,
    pub leaks: Vec<&'a Leak>,
    /// The user of the session.
    pub uid: u32,
    /// Files and directories that are meant to stay: where the session runs, its logs and its reports.
    pub meant: Vec<PathBuf>,
    /// Whether nothing of the session is alive.
    pub is_proven: bool,
    /// What container engines have started.
    pub containers: Started,
}

impl Scene<'_> {
    /// Whether a process of the session can have had this user. Those of root can have become anybody.
    pub(super) fn may_be_of(&self, uid: u32) -> bool {
        self.uid == 0 || self.uid == uid || self.leaks.iter().any(|it| it.process.uid == Some(uid))
    }

    /// Whether a file is to stay where it is. A project in `/` does not own `/tmp`.
    pub(super) fn is_meant(&self, path: &Path) -> bool {
        let is_in_shared = |it: &&PathBuf| SHARED.iter().any(|shared| it.starts_with(shared));
        self.meant.iter().filter(is_in_shared).any(|it| path.starts_with(it))
    }

    pub(super) fn maker_of(&self, leak: &Leak) -> Option<&Maker> {
        self.makers.iter().find(|it| it.pid == leak.pid())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Whether what the session creates in container engines ends with it.
    pub ends_containers: bool,
    pub found: Vec<Leftover>,
    /// What could not be looked at.
    pub unverified: Vec<String>,
    /// The same, not worth a line after each session on such a host.
    pub never_verified: Vec<String>,
}

impl Leftovers {
    pub(crate) fn not_looked_for(reason: &str) -> Self {
        Self { unverified: vec![reason.into()], ..Self::default() }
    }

    /// Adds what the session had created by way of container engines, and cgrun has ended.
    pub(crate) fn add_ended(&mut self, objects: &[EngineObject]) {
        self.found.splice(0..0, objects.iter().map(Leftover::ended));
    }

    /// Whether a person should know. Files in a private `/tmp` are normal.
    pub(crate) fn has_news(&self) -> bool {
        !self.unverified.is_empty()
            || self.found.iter().any(|it| it.kind != LeftoverKind::Directory && !it.is_expected())
    }
}

pub(crate) fn look(before: &Before, mut scene: Scene<'_>) -> Leftovers {
    let Started { containers, unknown } = std::mem::take(&mut scene.containers);
    let found = containers.into_iter().map(Leftover::container).collect();
    let mut leftovers = Leftovers { found, unverified: unknown, ..Leftovers::default() };
    let scene = &scene;
    if !scene.is_proven {
        leftovers
            .unverified
            .push("a process of the session can have survived, and can still use some".into());
    }
    objects::look(before, scene, &mut leftovers);
    files::look(before, scene, &mut leftovers);
    leftovers.found.extend(before.directories.iter().filter_map(PrivateDirectory::leftover));
    leftovers
}
