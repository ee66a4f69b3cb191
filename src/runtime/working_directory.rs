//! The directory in which cgrun runs.

use std::io;
use std::path::PathBuf;

use rustix::fs::{Access, AtFlags, CWD, Stat, accessat, statat};

/// Its path, or `.` if that path leads nowhere: it may be longer than `PATH_MAX`, or lie below a directory that we
/// cannot enter.
pub(crate) fn path() -> io::Result<PathBuf> {
    let path = match std::env::current_dir() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        Err(_) => return Ok(PathBuf::from(".")),
    };
    // Unlike ".", the empty path needs no permission to search the directory.
    let here = statat(CWD, "", AtFlags::EMPTY_PATH)?;
    let is_here = |there: Stat| (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino);
    let leads_here = statat(CWD, &path, AtFlags::empty()).is_ok_and(is_here);
    Ok(if leads_here { path } else { PathBuf::from(".") })
}

/// Whether a process that has left it could return to it.
pub(crate) fn may_be_entered() -> bool {
    accessat(CWD, ".", Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}
