//! Finds the config that a run uses without `--config`: the nearest one from the working directory upwards.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::diagnostic::ConfigError;
use super::file::{Config, FILE_NAME, PYPROJECT, as_text, unreadable};
use super::trust::{Distrust, TrustedUsers};

/// At most this many bytes of an untrusted file are read, to see whether it is a config at all.
const GLANCE: u64 = 1 << 20;

impl Config {
    /// Reads the nearest config from `start` upwards. A `pyproject.toml` without `[tool.cgrun]` does not count, and
    /// neither does anything that is not a file or cannot be reached. A config that others may have written is
    /// refused.
    pub(crate) fn discover(start: &Path, trusted: &TrustedUsers) -> Result<Option<Self>, ConfigError> {
        let mut above = None;
        for path in start.ancestors() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = match openat(CWD, path, flags, Mode::empty()) {
                Err(errno) if is_out_of_reach(errno) => continue,
                opened => opened.map_err(|errno| unreadable(path, errno.into()))?,
            };
            let is_here = path == start;
            if !is_here && above.is_none() {
                let stat = fstat(&directory).map_err(|errno| unreadable(path, errno.into()))?;
                above = trusted.distrust_directory(path, &stat);
            }
            for name in [FILE_NAME, PYPROJECT] {
                let path = path.join(name);
                let found = match FoundFile::open(&directory, name) {
                    Ok(Some(found)) => found,
                    // A `cgrun.toml` in the working directory is meant for us. Any error other than a missing
                    // permission may hide a config without which the tests would pass wrongly.
                    Err(errno) if name == FILE_NAME && (is_here || errno != Errno::ACCESS) => {
                        return Err(unreadable(&path, errno.into()));
                    }
                    Ok(None) | Err(_) => continue,
                };
                let distrust = trusted.distrust_file(&found.file_stat, &found.link_stat, is_here);
                if let Some(config) = found.read(&path, distrust.or_else(|| above.clone()))? {
                    return Ok(Some(config));
                }
            }
        }
        Ok(None)
    }
}

/// Opens the file of this name in a directory, or says why it is not trusted; `None` if there is none. The directories above are
/// not examined.
pub(crate) fn find_trusted(
    directory: &Path,
    name: &str,
    trusted: &TrustedUsers,
) -> io::Result<Option<Result<File, Distrust>>> {
    let opened = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let (stat, here) = (fstat(&opened)?, statat(CWD, "", AtFlags::EMPTY_PATH)?);
    let is_here = (stat.st_dev, stat.st_ino) == (here.st_dev, here.st_ino);
    let Some(found) = FoundFile::open(&opened, name)? else { return Ok(None) };
    let distrust = trusted.distrust_file(&found.file_stat, &found.link_stat, is_here);
    let above = || (!is_here).then(|| trusted.distrust_directory(directory, &stat)).flatten();
    Ok(Some(distrust.or_else(above).map_or(Ok(found.file), Err)))
}

/// A regular file with one of these names.
struct FoundFile {
    file: File,
    file_stat: Stat,
    /// The metadata of the name itself, which may be a symbolic link to the file.
    link_stat: Stat,
}

impl FoundFile {
    /// `None` if there is no such file, if it cannot be reached, or if it is something else.
    ///
    /// It is opened before it is examined, so that everything we learn is about the same file, even if it is
    /// replaced meanwhile.
    fn open(directory: &OwnedFd, name: &str) -> Result<Option<Self>, Errno> {
        match open_to_read(directory, name, OFlags::NOFOLLOW) {
            Ok(file) => Self::of(file, None),
            Err(Errno::LOOP) => Self::behind_link(directory, name),
            Err(errno) => {
                if is_file_at(directory, name)? {
                    Err(errno)
                } else {
                    Ok(None)
                }
            }
        }
    }

    /// Follows the link that it examines, not another one that may have taken its name by now.
    fn behind_link(directory: &OwnedFd, name: &str) -> Result<Option<Self>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = openat(directory, name, flags, Mode::empty())?;
        let target = readlinkat(&link, "", Vec::new())?;
        // A device might do anything when it is opened.
        if !is_file_at(directory, &target)? {
            return Ok(None);
        }
        Self::of(open_to_read(directory, &target, OFlags::empty())?, Some(fstat(&link)?))
    }

    fn of(file: OwnedFd, link_stat: Option<Stat>) -> Result<Option<Self>, Errno> {
        let file_stat = fstat(&file)?;
        let link_stat = link_stat.unwrap_or(file_stat);
        Ok(is_file(&file_stat).then(|| Self { file: file.into(), file_stat, link_stat }))
    }

    /// `None` if it is not a config.
    fn read(self, path: &Path, distrust: Option<Distrust>) -> Result<Option<Config>, ConfigError> {
        let refused = |reason| ConfigError::Distrusted { path: path.to_path_buf(), reason };
        let is_other_tools = path.ends_with(PYPROJECT);
        match distrust {
            Some(reason) if !is_other_tools => Err(refused(reason)),
            Some(reason) => match self.text(path, GLANCE).and_then(|text| Config::parse(path, text)) {
                Ok(None) | Err(ConfigError::NotText { .. }) => Ok(None),
                _ => Err(refused(reason)),
            },
            None => match self.text(path, u64::MAX) {
                // A broken file of another tool is not our concern.
                Err(ConfigError::NotText { .. }) if is_other_tools => Ok(None),
                text => Config::parse(path, text?),
            },
        }
    }

    fn text(self, path: &Path, limit: u64) -> Result<String, ConfigError> {
        let mut bytes = Vec::new();
        self.file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
        as_text(path, bytes)
    }
}

/// Does not wait for the writer of a FIFO.
fn open_to_read(directory: &OwnedFd, name: impl Arg, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(directory, name, flags | more, Mode::empty())
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// `false` if it cannot be reached.
fn is_file_at(directory: &OwnedFd, name: impl Arg) -> Result<bool, Errno> {
    match statat(directory, name, AtFlags::empty()) {
        Err(errno) if is_out_of_reach(errno) => Ok(false),
        stat => stat.map(|stat| is_file(&stat)),
    }
}

fn is_out_of_reach(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::NAMETOOLONG | Errno::LOOP)
}
