//! One report file.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::pipe;

/// The kernel follows no more symbolic links than this (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// How many bytes of the name its placeholder keeps. The kernel allows names of 255 bytes.
const LONGEST_NAME: usize = 200;
const NO_FOLLOW: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

#[derive(Debug)]
pub(crate) struct ReportFile {
    /// The path without symbolic links.
    pub path: PathBuf,
    /// A file in the same directory, created before the session starts and renamed to `path` at the end. If
    /// it is missing, the report has been written, unless `path` is empty.
    placeholder: PathBuf,
    /// Whether there was one at the start. If not, `path` itself says nothing: a test can have written to it.
    has_placeholder: bool,
    /// Whether a file that cannot be replaced is overwritten. Its old content is lost when the session starts.
    can_overwrite: bool,
    /// The pipe that the report goes to instead. The guardian does not have it.
    pipe: Option<File>,
}

impl ReportFile {
    /// A pipe that was passed to us; `None` if the path names something else. The session's user may be unable to open it.
    pub(crate) fn of_pipe(path: &Path) -> io::Result<Option<Self>> {
        let pipe = pipe::open(path)?;
        Ok(pipe.map(|pipe| Self {
            path: path.to_path_buf(),
            placeholder: PathBuf::new(),
            has_placeholder: false,
            can_overwrite: false,
            pipe: Some(pipe),
        }))
    }

    /// Follows symbolic links and creates missing directories, which it adds to `created`.
    pub(crate) fn resolve(path: &Path, owner: u32, created: &mut Vec<PathBuf>) -> io::Result<Self> {
        if path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(io::Error::other("it names a directory"));
        }
        let path = without_links(path, created)?;
        let file_name = path.file_name().ok_or_else(no_file_name)?.as_bytes();
        let mut name = OsString::from(".");
        name.push(OsStr::from_bytes(&file_name[..file_name.len().min(LONGEST_NAME)]));
        name.push(format!(".cgrun-{owner}"));
        let placeholder = path.with_file_name(name);
        Ok(Self { placeholder, path, has_placeholder: false, can_overwrite: false, pipe: None })
    }

    /// Lets it overwrite a file that cannot be replaced.
    pub(super) fn or_overwrite(self) -> Self {
        Self { can_overwrite: true, ..self }
    }

    /// What is or will be in its directory.
    pub(super) fn own_files(&self) -> [PathBuf; 2] {
        [self.path.clone(), self.placeholder.clone()]
    }

    /// Fails if the report could not be written later.
    pub(crate) fn create_placeholder(&mut self) -> io::Result<()> {
        if self.pipe.is_some() {
            return Ok(());
        }
        match std::fs::metadata(&self.path) {
            // Replacing a device with a file would be worse than writing no report.
            Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("it is not a regular file")),
            Ok(metadata) if is_our_output(&metadata) => {
                return Err(io::Error::other("stdout or stderr goes there and would be overwritten"));
            }
            Ok(_) => drop(OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(&self.path)?),
            Err(_) => {}
        }
        // A dead cgrun with the same pid may have left one.
        self.remove_placeholder();
        match File::create_new(&self.placeholder) {
            Err(error) if self.can_overwrite && cannot_be_replaced(&error) => {
                self.open_truncated().map(drop).map_err(|_| error)
            }
            created => created.map(|_| self.has_placeholder = true),
        }
    }

    pub(crate) fn remove_placeholder(&self) {
        if self.pipe.is_none() {
            let _ = std::fs::remove_file(&self.placeholder);
        }
    }

    /// A report for a pipe counts as written, because the guardian does not have the pipe.
    pub(super) fn is_written(&self) -> bool {
        let is_there = || std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > 0);
        self.pipe.is_some() || (self.has_placeholder && !self.placeholder.exists() && is_there())
    }

    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        if let Some(pipe) = &self.pipe {
            return pipe::write(pipe, text);
        }
        // The command may have removed the directory together with its old results.
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // The session may have replaced the placeholder with something that blocks or points elsewhere.
        self.remove_placeholder();
        match self.replace(text) {
            Err(error) if self.can_overwrite && cannot_be_replaced(&error) => {
                self.open_truncated().map_err(|_| error)?.write_all(text.as_bytes())?;
                self.remove_placeholder();
                Ok(())
            }
            other => other.inspect_err(|_| self.remove_placeholder()),
        }
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut file = File::create_new(&self.placeholder)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        std::fs::rename(&self.placeholder, &self.path)
    }

    pub(super) fn remove_old_report(&self) {
        if self.pipe.is_some() {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            if cannot_be_replaced(&error) {
                let _ = self.open_truncated();
            }
        }
    }

    fn open_truncated(&self) -> io::Result<File> {
        OpenOptions::new().write(true).truncate(true).custom_flags(NO_FOLLOW).open(&self.path)
    }
}

/// Whether the file cannot be replaced, for example because it is mounted into a container, belongs to another user in a
/// directory such as /tmp, or is in a directory to which we cannot write, as /dev/termination-log is in Kubernetes.
fn cannot_be_replaced(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy | io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Resolves links, so that a link stays a link and the file that it points to is written.
fn without_links(path: &Path, created: &mut Vec<PathBuf>) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let name = path.file_name().ok_or_else(no_file_name)?.to_owned();
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        create_directory(directory, created)?;
        let directory = std::fs::canonicalize(directory)?;
        path = directory.join(name);
        match std::fs::read_link(&path) {
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("its symbolic links form a loop"))
}

fn no_file_name() -> io::Error {
    io::Error::other("it has no file name")
}

fn create_directory(directory: &Path, created: &mut Vec<PathBuf>) -> io::Result<()> {
    let missing: Vec<_> =
        directory.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
    created.extend(missing.iter().rev().map(|it| it.to_path_buf()));
    std::fs::create_dir_all(directory)
}

/// Whether our stdout or stderr is this file.
fn is_our_output(file: &Metadata) -> bool {
    let is_file = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino) == (file.dev(), file.ino());
    rustix::fs::fstat(rustix::stdio::stdout()).is_ok_and(is_file)
        || rustix::fs::fstat(rustix::stdio::stderr()).is_ok_and(is_file)
}
