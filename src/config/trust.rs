//! Which configs are used without `--config`: those that only trusted users can have written.
//!
//! A config that others can write to is refused, and so is one below which others can write to a directory,
//! even a sticky one: they could have put the file there. The group's permission to write is accepted, because
//! many hosts give each user a group of their own and a umask of 002.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Stat, statat};

use crate::sys::users::{NamedUser, user_name};

const WRITABLE_BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// The users whose configs are used.
#[derive(Debug)]
pub(crate) struct TrustedUsers {
    uids: Vec<u32>,
    /// All users can replace any file in the working directory, so the mode of a file there means nothing. Some file
    /// systems (Windows, virtual machines) give everything that mode.
    is_working_directory_open: bool,
}

impl TrustedUsers {
    /// Root, our own user, the user who called sudo, the user of `--user`, and the owner of the working directory,
    /// whose tests are run anyway.
    pub(crate) fn of_this_run(session_user: Option<&str>) -> Self {
        let ours = rustix::process::geteuid().as_raw();
        let sudo = std::env::var("SUDO_UID").ok().filter(|_| ours == 0);
        let session = session_user.and_then(|name| NamedUser::from_text(name).ok()?);
        let session = session.map(|named| named.user.uid.as_raw());
        // Unlike ".", this needs no permission to search the directory.
        let directory = statat(CWD, "", AtFlags::EMPTY_PATH).ok();
        let uids = [0, ours].into_iter().chain(sudo.and_then(|uid| uid.parse().ok())).chain(session);
        Self {
            uids: uids.chain(directory.map(|it| it.st_uid)).collect(),
            is_working_directory_open: directory
                .is_some_and(|it| it.st_mode & (WRITABLE_BY_OTHERS | STICKY) == WRITABLE_BY_OTHERS),
        }
    }

    fn include(&self, stat: &Stat) -> bool {
        self.uids.contains(&stat.st_uid)
    }

    /// Why this file is not trusted; `None` if it is. `link` is the path itself, which may be a symbolic link to the
    /// file. `is_here` tells whether that is in the working directory.
    pub(super) fn distrust_file(&self, file: &Stat, link: &Stat, is_here: bool) -> Option<Distrust> {
        let foreign = [file, link].into_iter().find(|it| !self.include(it));
        if let Some(foreign) = foreign {
            return Some(Distrust::Owner(foreign.st_uid));
        }
        let is_excused = is_here && self.is_working_directory_open;
        let is_open = file.st_mode & WRITABLE_BY_OTHERS != 0 && !is_excused;
        is_open.then_some(Distrust::FileWritable)
    }

    /// Why nothing in this directory, which lies above the working directory, is trusted; `None` if it is.
    pub(super) fn distrust_directory(&self, path: &Path, directory: &Stat) -> Option<Distrust> {
        let distrusted = |why| Some(Distrust::Directory { path: path.to_path_buf(), why });
        if !self.include(directory) {
            return distrusted(format!("belongs to {}", user_name(directory.st_uid)));
        }
        if directory.st_mode & WRITABLE_BY_OTHERS != 0 {
            return distrusted("is writable by all users".into());
        }
        None
    }
}

/// Why a config is not trusted.
#[derive(Clone, Debug)]
pub(crate) enum Distrust {
    Owner(u32),
    FileWritable,
    Directory { path: PathBuf, why: String },
}

/// Completes "the config is not trusted: ...", and gives a remedy other than naming the config.
impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(uid) => {
                write!(f, "it belongs to {}; if it is yours, chown it", user_name(*uid))
            }
            Self::FileWritable => f.write_str("all users can write to it; if it is yours, chmod o-w it"),
            Self::Directory { path, why } => {
                write!(
                    f,
                    "{} {why}, so another user could have put it there; if that is wrong, chown or chmod the directory",
                    path.display()
                )
            }
        }
    }
}
