//! The files in `/dev/shm` that were made while the session ran, and those there and in `/tmp` that leaks held.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, statx};
use rustix::io::Errno;

use super::before::Before;
use super::leftover::{Fate, Leftover};
use super::look::{Leftovers, Scene};
use crate::leaks::Leak;
use crate::sys::lease;
use crate::text::plain;

/// The files of shm_open(3) and sem_open(3).
const SHARED_MEMORY: &str = "/dev/shm";
/// So many entries are looked at.
const MOST: usize = 10_000;

pub(super) fn look(before: &Before, scene: &Scene<'_>, leftovers: &mut Leftovers) {
    let mut known = BTreeSet::new();
    for leak in &scene.leaks {
        for path in &leak.held.files {
            let is_new = !scene.is_meant(path) && known.insert(path.clone());
            leftovers.found.extend(is_new.then(|| held(path, before, scene, leak)).flatten());
        }
    }
    if let Err(error) = look_at_shared_memory(before, scene, &known, leftovers) {
        leftovers.unverified.push(format!("cannot look at {SHARED_MEMORY}: {}", plain(&error)));
    }
}

fn held(path: &Path, before: &Before, scene: &Scene<'_>, leak: &Leak) -> Option<Leftover> {
    let is_shared_memory = path.starts_with(SHARED_MEMORY);
    if before.private.tmp && !is_shared_memory {
        return None;
    }
    let it = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, WANTED).ok().filter(is_regular)?;
    let fate = if before.private.shm && is_shared_memory { Fate::GoneWithSession } else { Fate::LeftAlone };
    let is_new = born(&it).is_some_and(|it| it >= before.began);
    let can_be_ours =
        || fate == Fate::GoneWithSession || scene.may_be_of(it.stx_uid) && !is_in_use(path, it.stx_uid);
    (is_new && can_be_ours())
        .then(|| Leftover::file(path, it.stx_size, it.stx_uid, scene.maker_of(leak), fate))
}

/// The files of shared memory that were made while the session ran, except those that are `known`.
fn look_at_shared_memory(
    before: &Before,
    scene: &Scene<'_>,
    known: &BTreeSet<PathBuf>,
    leftovers: &mut Leftovers,
) -> io::Result<()> {
    let own = match statx(CWD, SHARED_MEMORY, AtFlags::empty(), WANTED) {
        Ok(own) => own,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    // If nothing was made there, or removed, nobody has to look at the entries.
    if time(own.stx_mtime).is_some_and(|changed| changed < before.began) {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(SHARED_MEMORY)?;
    for entry in entries.by_ref().take(MOST) {
        let path = entry?.path();
        let it = statx(CWD, &path, AtFlags::SYMLINK_NOFOLLOW, WANTED).ok().filter(is_regular);
        // What is mounted there is kept, and not of this file system.
        let device = |it: &Statx| (it.stx_dev_major, it.stx_dev_minor);
        let Some(it) = it.filter(|it| device(it) == device(&own)) else { continue };
        if known.contains(&path) || scene.is_meant(&path) {
            continue;
        }
        let fate = match born(&it) {
            _ if before.private.shm => Fate::GoneWithSession,
            None => {
                leftovers.never_verified.push("the kernel does not tell when a file was made".into());
                return Ok(());
            }
            // Nothing of the session is alive, so what is in use is somebody else's.
            Some(born)
                if born < before.began || !scene.may_be_of(it.stx_uid) || is_in_use(&path, it.stx_uid) =>
            {
                continue;
            }
            Some(_) => Fate::LeftAlone,
        };
        leftovers.found.push(Leftover::file(&path, it.stx_size, it.stx_uid, None, fate));
    }
    if entries.next().is_some() {
        leftovers.unverified.push(format!(
            "{SHARED_MEMORY} has more than {MOST} entries, of which only so many were looked at"
        ));
    }
    Ok(())
}

/// If that is unknown, our own is named, and what belongs to another is not.
fn is_in_use(path: &Path, uid: u32) -> bool {
    lease::is_in_use(path).unwrap_or(uid != rustix::process::geteuid().as_raw())
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

fn is_regular(it: &Statx) -> bool {
    FileType::from_raw_mode(it.stx_mode.into()).is_file()
}

/// `None` if the file system does not keep it.
fn born(it: &Statx) -> Option<SystemTime> {
    if it.stx_mask & StatxFlags::BTIME.bits() == 0 { None } else { time(it.stx_btime) }
}

fn time(it: rustix::fs::StatxTimestamp) -> Option<SystemTime> {
    let whole = Duration::from_secs(u64::try_from(it.tv_sec).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(whole + Duration::from_nanos(it.tv_nsec.into()))
}
