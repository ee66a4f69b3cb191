//! Opens directories that others can change meanwhile, and removes what protects them from their owner.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{
    FileType, IFlags, Mode, OFlags, ResolveFlags, chmod, fchmod, fstat, ioctl_getflags, ioctl_setflags,
    openat2,
};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

/// openat2(2) fails if something is renamed meanwhile.
const ATTEMPTS: usize = 16;
/// Only the last component is opened, and neither a link nor a mount point is it.
const WITHIN: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_XDEV).union(ResolveFlags::NO_SYMLINKS);
const LOCKS: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// Opens a directory to read it.
pub(super) fn open_in(parent: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd> {
    open(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a directory only to look at it from outside.
pub(super) fn open_path(parent: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd> {
    open(&parent, name, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens one as [`open_in`] does, also if its owner has no right to it, as long as its owner is us.
pub(super) fn open_all(parent: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd> {
    let directory = match open_in(&parent, name) {
        Err(Errno::ACCESS) => {
            grant(&parent, name)?;
            open_in(&parent, name)?
        }
        opened => opened?,
    };
    let mode = Mode::from_raw_mode(fstat(&directory)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        // If this fails, so does the removal of what is in it.
        let _ = fchmod(&directory, mode | Mode::RWXU);
    }
    Ok(directory)
}

/// Gives the owner all rights to a directory.
pub(super) fn grant(parent: impl AsFd, name: impl Arg + Copy) -> Result<()> {
    let directory = open_path(&parent, name)?;
    let mode = Mode::from_raw_mode(fstat(&directory)?.st_mode);
    // fchmod(2) refuses such a descriptor. This link of the kernel leads nowhere else.
    chmod(format!("/proc/self/fd/{}", directory.as_raw_fd()), mode | Mode::RWXU)
}

/// Lets a directory be changed that is immutable or only grows. Returns whether it was such a one.
pub(super) fn unlock(directory: impl AsFd) -> Result<bool> {
    let flags = ioctl_getflags(&directory)?;
    if flags.intersects(LOCKS) {
        ioctl_setflags(&directory, flags - LOCKS)?;
    }
    Ok(flags.intersects(LOCKS))
}

/// The same for a file, unless it has another name: that can be outside.
pub(super) fn unlock_file(parent: impl AsFd, name: impl Arg + Copy) -> Result<bool> {
    let path = open(&parent, name, OFlags::PATH)?;
    // A device must not be opened.
    if FileType::from_raw_mode(fstat(&path)?.st_mode) != FileType::RegularFile {
        return Ok(false);
    }
    let file = open(&parent, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = fstat(&file)?;
    if stat.st_nlink != 1 || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(false);
    }
    unlock(file)
}

fn open(parent: impl AsFd, name: impl Arg + Copy, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..ATTEMPTS {
        opened = openat2(&parent, name, flags, Mode::empty(), WITHIN);
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    opened
}
