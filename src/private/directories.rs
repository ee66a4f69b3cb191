//! `/tmp`, `/var/tmp` and `/dev/shm` of the session's own: file systems in memory that go with its mount namespace.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::User;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::covered::Covered;
use crate::limits::Memory;
use crate::text::plain;

/// As the host's have it. A file system in memory holds half of the memory at most (tmpfs(5)).
const MODE: &str = "mode=1777";
const OF_A_USER: u32 = 0o700;

/// A directory that cannot be made private.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {}; leave out shm and tmp, as in --private net,ipc", path.display(), plain(source))]
pub(super) struct NoDirectory {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(step: &'static str, path: &Path) -> impl FnOnce(E) -> NoDirectory {
    move |source| NoDirectory { step, path: path.into(), source: source.into() }
}

/// In the new mount namespace, in which nobody else is yet. `kept` are entries of the covered directories.
pub(super) fn set_up(
    covered: &[Covered],
    kept: &BTreeSet<PathBuf>,
    size: Option<Memory>,
) -> Result<(), NoDirectory> {
    let entries: Vec<_> = kept
        .iter()
        .map(|path| Ok((path, Entry::of(path).map_err(failed("keep", path))?)))
        .collect::<Result<_, _>>()?;
    let replaced = replace(covered, &entries, &options(size));
    if replaced.is_err() {
        // cgrun removes from the host's what it has made there.
        covered.iter().for_each(|it| _ = umount2(&it.path, MntFlags::MNT_DETACH));
    }
    replaced
}

fn options(size: Option<Memory>) -> String {
    let size = size.map(|size| {
        let host = rustix::system::sysinfo();
        format!(",size={}", size.bytes(host.totalram as u64 * u64::from(host.mem_unit)))
    });
    format!("{MODE}{}", size.unwrap_or_default())
}

fn replace(covered: &[Covered], entries: &[(&PathBuf, Entry)], options: &str) -> Result<(), NoDirectory> {
    for Covered { path, .. } in covered {
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
            .map_err(failed("mount a file system on", path))?;
    }
    entries.iter().try_for_each(|(path, entry)| entry.attach(path).map_err(failed("keep", path)))
}

/// What is kept of a covered directory.
enum Entry {
    Link(PathBuf),
    /// With everything that is mounted in it.
    Tree {
        tree: OwnedFd,
        is_directory: bool,
    },
}

impl Entry {
    fn of(path: &Path) -> io::Result<Self> {
        let kind = path.symlink_metadata()?.file_type();
        if kind.is_symlink() {
            return std::fs::read_link(path).map(Self::Link);
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        Ok(Self::Tree { tree: open_tree(CWD, path, flags)?, is_directory: kind.is_dir() })
    }

    fn attach(&self, path: &Path) -> io::Result<()> {
        let (tree, is_directory) = match self {
            Self::Link(target) => return symlink(target, path),
            Self::Tree { tree, is_directory } => (tree, *is_directory),
        };
        if is_directory {
            std::fs::create_dir(path)?;
        } else {
            File::create_new(path)?;
        }
        Ok(move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }
}

/// A program would fail without the directory that TMPDIR names. It is made only in a directory that is new, in which nobody
/// else can have put a link.
pub(super) fn make_temporary(
    path: &Path,
    covered: &[Covered],
    user: Option<&User>,
) -> Result<(), NoDirectory> {
    let is_plain = path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)));
    let missing: Vec<_> = path.ancestors().take_while(|it| it.symlink_metadata().is_err()).collect();
    let parent = missing.last().and_then(|first| first.parent());
    if !is_plain || !parent.is_some_and(|parent| covered.iter().any(|it| it.is(parent))) {
        return Ok(());
    }
    for directory in missing.into_iter().rev() {
        DirBuilder::new().mode(OF_A_USER).create(directory).map_err(failed("create", directory))?;
        if let Some(user) = user {
            chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .map_err(failed("hand over", directory))?;
        }
    }
    Ok(())
}
