//! Empties a directory, level by level. Nothing is reached by a path, and neither the depth of what is in it nor its
//! length takes more memory or descriptors.

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, RenameFlags, renameat_with, statat, unlinkat};
use rustix::io::{Errno, Result};

use super::directory::{grant, open_all, unlock, unlock_file};
use super::remove::{FILLED, Removed};
use crate::containment::SessionId;
use crate::runtime::clock;
use crate::sys::time::Instant;
use crate::text::plain;

/// How many directories are open at once. One that is deeper is moved to the top, and then it is no longer deep.
const DEEPEST: usize = 32;
/// How often a directory is read again that is filled while it is emptied.
const PASSES: u32 = 16;

pub(super) struct Walk {
    /// From the top to the one that is being emptied.
    levels: Vec<Level>,
    limit: Duration,
    deadline: Instant,
    removed: Removed,
    /// What the names of moved directories begin with, and how many there are.
    moved: (String, u64),
}

struct Level {
    /// In the one above.
    name: CString,
    directory: Dir,
    passes: u32,
    /// In this pass: whether something was removed, and how much could not be.
    has_progress: bool,
    left: u64,
}

impl Level {
    fn open(name: CString, directory: OwnedFd) -> Result<Self> {
        Ok(Self { name, directory: Dir::new(directory)?, passes: 0, has_progress: false, left: 0 })
    }

    fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.directory.fd()
    }

    fn read_again(mut self) -> Self {
        self.directory.rewind();
        Self { passes: self.passes + 1, has_progress: false, left: 0, ..self }
    }
}

impl Walk {
    pub(super) fn new(top: OwnedFd, limit: Duration) -> Result<Self> {
        // Otherwise it could not be removed, even if it is empty.
        let _ = unlock(&top);
        // Nobody has chosen the same.
        let names = SessionId::random().map_err(|_| Errno::AGAIN)?.to_string();
        let levels = vec![Level::open(CString::default(), top)?];
        let deadline = clock::now() + limit;
        Ok(Self { levels, limit, deadline, removed: Removed::default(), moved: (names, 0) })
    }

    pub(super) fn run(mut self) -> Result<Removed> {
        while let Some(level) = self.levels.last_mut() {
            if clock::now() >= self.deadline {
                self.removed.unfinished_after = Some(self.limit);
                break;
            }
            match level.directory.read() {
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    if name != c"." && name != c".." {
                        self.remove(name, entry.file_type())?;
                    }
                }
                Some(Err(error)) => {
                    self.note_left(c"", error);
                    self.end_pass()?;
                }
                None => self.end_pass()?,
            }
        }
        Ok(self.removed)
    }

    fn remove(&mut self, name: &CStr, kind: FileType) -> Result<()> {
        let removed = match kind {
            FileType::Directory => self.enter(name)?,
            _ => self.remove_file(name)?,
        };
        match removed {
            Ok(()) => self.note_progress(),
            Err(Errno::NOENT) => {}
            Err(error) => self.note_left(name, error),
        }
        Ok(())
    }

    fn remove_file(&mut self, name: &CStr) -> Result<Result<()>> {
        let stat = statat(self.here()?, name, AtFlags::SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Directory) {
            return self.enter(name);
        }
        let here = self.here()?;
        let unlink = || unlinkat(here, name, AtFlags::empty());
        let removed = match unlink() {
            Err(Errno::PERM) if unlock(here).unwrap_or(false) => unlink(),
            removed => removed,
        };
        let removed = match removed {
            Err(Errno::PERM) if unlock_file(here, name).unwrap_or(false) => unlink(),
            removed => removed,
        };
        if removed.is_ok() {
            self.removed.files += 1;
            // The content of a file with another name stays.
            let is_last = |it: &rustix::fs::Stat| {
                it.st_nlink == 1 && FileType::from_raw_mode(it.st_mode) == FileType::RegularFile
            };
            self.removed.bytes += stat.ok().filter(is_last).map_or(0, |it| it.st_size.unsigned_abs());
        }
        Ok(removed)
    }

    /// Goes on with a directory.
    fn enter(&mut self, name: &CStr) -> Result<Result<()>> {
        if self.levels.len() >= DEEPEST {
            return self.move_up(name);
        }
        let opened = open_all(self.here()?, name).and_then(|it| Level::open(name.into(), it));
        Ok(opened.map(|level| self.levels.push(level)))
    }

    fn move_up(&mut self, name: &CStr) -> Result<Result<()>> {
        let here = self.here()?;
        let Some(top) = self.levels.first() else { return Ok(Ok(())) };
        let top = top.fd()?;
        let to = format!("{}-{}", self.moved.0, self.moved.1);
        let rename = || renameat_with(here, name, top, &to, RenameFlags::NOREPLACE);
        let renamed = match rename() {
            // It is to get another parent, which takes the right to change it.
            Err(Errno::ACCESS) => grant(here, name).and_then(|()| rename()),
            Err(Errno::PERM) => {
                let is_unlocked = open_all(here, name).and_then(unlock).unwrap_or(false);
                if is_unlocked | unlock(here).unwrap_or(false) { rename() } else { Err(Errno::PERM) }
            }
            renamed => renamed,
        };
        if renamed.is_ok() {
            self.moved.1 += 1;
        }
        if let (Ok(()), Some(top)) = (&renamed, self.levels.first_mut()) {
            // It has to be read again, however often.
            top.passes = 0;
            top.has_progress = true;
        }
        Ok(renamed)
    }

    /// The innermost directory has been read to its end.
    fn end_pass(&mut self) -> Result<()> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let can_go_on = level.has_progress && level.passes < PASSES;
        if self.levels.is_empty() {
            if can_go_on {
                self.levels.push(level.read_again());
            } else {
                self.removed.left = level.left;
            }
            return Ok(());
        }
        let here = self.here()?;
        let rmdir = || unlinkat(here, &*level.name, AtFlags::REMOVEDIR);
        let removed = match rmdir() {
            Err(Errno::PERM) => {
                let is_unlocked = level.fd().and_then(unlock).unwrap_or(false);
                if is_unlocked | unlock(here).unwrap_or(false) { rmdir() } else { Err(Errno::PERM) }
            }
            removed => removed,
        };
        match removed {
            Ok(()) => self.note_progress(),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if can_go_on => self.levels.push(level.read_again()),
            // What is in it says why.
            Err(_) if level.left > 0 => self.add_left(level.left),
            Err(error) => self.note_left(&level.name, error),
        }
        Ok(())
    }

    fn here(&self) -> Result<BorrowedFd<'_>> {
        self.levels.last().ok_or(Errno::BADF)?.fd()
    }

    fn note_progress(&mut self) {
        self.levels.iter_mut().last().into_iter().for_each(|level| level.has_progress = true);
    }

    fn add_left(&mut self, count: u64) {
        self.levels.iter_mut().last().into_iter().for_each(|level| level.left += count);
    }

    fn note_left(&mut self, name: &CStr, error: Errno) {
        self.add_left(1);
        let why = || match error {
            Errno::XDEV | Errno::BUSY => "another file system is mounted there".into(),
            Errno::NOTEMPTY | Errno::EXIST => FILLED.into(),
            Errno::NOSYS => "this kernel cannot open a directory safely (openat2)".into(),
            _ => plain(&error.into()),
        };
        if self.removed.first.is_none() {
            let names = self.levels.iter().skip(1).map(|level| &*level.name).chain([name]);
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            self.removed.first = Some((names.join("/"), why()));
        }
    }
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("depth", &self.levels.len()).finish_non_exhaustive()
    }
}
