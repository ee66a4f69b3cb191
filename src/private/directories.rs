//! `/tmp`, `/var/tmp` and `/dev/shm` of the session's own: file systems in memory that go with its mount namespace.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::Private;
use crate::plan::{Environment, SessionPlan};
use crate::text::plain;

const TMP: [&str; 2] = ["/tmp", "/var/tmp"];
const SHM: [&str; 1] = ["/dev/shm"];
/// As the host's have it. A file system in memory holds half of the memory at most (tmpfs(5)).
const MODE: &str = "mode=1777";

/// A directory that cannot be made private.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {}", path.display(), plain(source))]
pub(super) struct NoDirectory {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(step: &'static str, path: &Path) -> impl FnOnce(E) -> NoDirectory {
    move |source| NoDirectory { step, path: path.into(), source: source.into() }
}

/// The directories that become private, without links. One that the host does not have is none of them.
pub(super) fn covered(private: Private) -> Vec<PathBuf> {
    let tmp = TMP.iter().filter(|_| private.tmp);
    let all = tmp.chain(SHM.iter().filter(|_| private.shm));
    let mut covered: Vec<_> = all.filter_map(|it| Path::new(it).canonicalize().ok()).collect();
    covered.sort();
    covered.dedup();
    covered
}

/// In the new mount namespace.
pub(super) fn set_up(
    covered: &[PathBuf],
    kept: &[PathBuf],
    plan: &SessionPlan,
    env: &Environment,
) -> Result<(), NoDirectory> {
    let nothing: Option<&str> = None;
    // What is mounted here is not seen outside, but what is unmounted outside is unmounted here.
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)
        .map_err(failed("separate the mounts below", Path::new("/")))?;
    let trees: Vec<(&PathBuf, OwnedFd)> =
        kept.iter().map(|path| Ok((path, tree(path)?))).collect::<Result<_, _>>()?;
    for directory in covered {
        mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(MODE))
            .map_err(failed("mount a file system on", directory))?;
    }
    for (path, tree) in trees {
        mount_point(path, &tree).map_err(failed("create", path))?;
        move_mount(&tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed("keep", path))?;
    }
    temporary_directories(covered, plan, env)?;
    // Until here, it is the one that is hidden now.
    std::env::set_current_dir(&plan.cwd).map_err(failed("enter", &plan.cwd))
}

/// What is mounted at the path, with everything below.
fn tree(path: &Path) -> Result<OwnedFd, NoDirectory> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(CWD, path, flags).map_err(failed("keep", path))
}

fn mount_point(path: &Path, tree: &OwnedFd) -> io::Result<()> {
    let is_directory = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode).is_dir();
    if is_directory {
        return std::fs::create_dir_all(path);
    }
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    File::create(path).map(drop)
}

/// A program would fail without the directory that TMPDIR names.
fn temporary_directories(
    covered: &[PathBuf],
    plan: &SessionPlan,
    env: &Environment,
) -> Result<(), NoDirectory> {
    let user = plan.identity.as_ref().and_then(|it| it.user.as_ref()).map(|(user, _)| user);
    for path in ["TMPDIR", "TMP", "TEMP"].into_iter().filter_map(|name| env.get(name)).map(Path::new) {
        if path.exists() || !covered.iter().any(|it| path.starts_with(it)) {
            continue;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        if let Some(user) = user {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            chown(path, Some(uid), Some(gid)).map_err(failed("hand over", path))?;
        }
    }
    Ok(())
}
