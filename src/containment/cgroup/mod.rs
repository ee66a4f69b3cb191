//! The session's cgroup and its leaves: made, filled, frozen, killed, removed. Never used twice,
//! since a cgroup that was killed once may kill what is started in it later.

pub mod metadata;
pub mod placement;
pub mod systemd;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::error::ContainmentError;
use super::session_id::SessionId;
use crate::limits::is_full;
use crate::sys::pidfd::Process;
use crate::sys::proc;
use crate::sys::spawn;
use metadata::Owner;
use placement::{Mount, Unavailable};

/// How often another id is tried where one is taken.
const ATTEMPTS: usize = 16;

/// The one cgroup of a session.
#[derive(Debug)]
pub struct SessionCgroup {
    pub id: SessionId,
    path: PathBuf,
    /// Its name in `/proc/PID/cgroup`.
    name: String,
    events: Events,
}

impl SessionCgroup {
    /// Makes a new cgroup below our own and writes onto it whose it is.
    pub fn create(mount: &Mount, command: &[u8], ports: &[u16]) -> Result<Self, Unavailable> {
        let owner = Owner::us().map_err(|source| Unavailable::Proc { file: "stat", source })?;
        let (id, path) = make_directory(&mount.own)?;
        if let Err(error) = metadata::write(&path, owner, command, ports) {
            let _ = std::fs::remove_dir(&path);
            return Err(ContainmentError::on("write the session's attributes to", &path)(error).into());
        }
        Self::open(mount, id, path)
    }

    /// Takes one that is there already.
    pub fn open(mount: &Mount, id: SessionId, path: PathBuf) -> Result<Self, Unavailable> {
        let name = mount.path_of(&path).ok_or_else(|| Unavailable::OutOfSight {
            own: path.to_string_lossy().into_owned(),
            mount: mount.point.clone(),
        })?;
        let events = Events::open(&path)?;
        Ok(Self { id, path, name, events })
    }

    /// Stops everything in it where it stands, or lets it go on. Takes effect a little later.
    pub fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        freeze(&self.path, frozen)
    }

    /// Makes a leaf in it.
    pub fn leaf(&self, name: &str) -> Result<CgroupLeaf, ContainmentError> {
        let path = self.path.join(name);
        std::fs::create_dir(&path).map_err(ContainmentError::on("make the cgroup", &path))?;
        CgroupLeaf::open(path, format!("{}/{name}", self.name))
    }

    /// Whether any process lives in it, however deep. Dead ones that nobody reaped do not count.
    pub fn is_populated(&self) -> Result<bool, ContainmentError> {
        self.events.is_populated()
    }

    /// Readable for priority data (`POLLPRI`) when that may have changed. The kernel holds such
    /// notices back for 10 to 15 ms.
    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.file.as_fd()
    }

    /// Asks the kernel to end every process in it at once. It does so after the call has returned.
    pub fn kill(&self) -> Result<(), ContainmentError> {
        kill(&self.path, &self.name)
    }

    /// All processes in it, however deep.
    pub fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        members(&self.path)
    }

    /// The processes in it that have left `leaves`, for the cgroup itself or others made in it.
    pub fn strays<'a>(
        &self,
        leaves: impl Iterator<Item = &'a CgroupLeaf>,
    ) -> Result<Vec<Pid>, ContainmentError> {
        let leaves: Vec<_> = leaves.map(|leaf| leaf.path.as_path()).collect();
        members_where(&self.path, |directory| !leaves.iter().any(|leaf| directory.starts_with(leaf)))
    }

    /// Its id, and those of the sessions in it.
    pub fn ids(&self) -> Result<Vec<SessionId>, ContainmentError> {
        let directories = session_directories(&self.path)?;
        Ok(directories.iter().filter_map(|path| id_of(path)).collect())
    }

    /// The numbers by which sockets name the cgroups in it: its own, and all below.
    pub fn numbers(&self) -> Result<Vec<u64>, ContainmentError> {
        numbers(&self.path)
    }

    /// Removes it, leaf first. The kernel refuses while a process lives in it, so that success
    /// proves it empty. Removing it twice is no error.
    pub fn remove(&self) -> Result<(), ContainmentError> {
        remove(&self.path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A part of the session: one service, or the command.
#[derive(Debug)]
pub struct CgroupLeaf {
    path: PathBuf,
    name: String,
    directory: OwnedFd,
    events: Events,
}

impl CgroupLeaf {
    fn open(path: PathBuf, name: String) -> Result<Self, ContainmentError> {
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_PATH)
            .open(&path)
            .map_err(ContainmentError::on("open the cgroup", &path))?
            .into();
        let events = Events::open(&path)?;
        Ok(Self { path, name, directory, events })
    }

    /// Its list of processes, opened for joining it.
    pub fn procs(&self) -> Result<OwnedFd, ContainmentError> {
        let path = self.path.join("cgroup.procs");
        Ok(open_for_writing(&path).map_err(ContainmentError::on("open", &path))?.into())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `start` with this leaf as the place where the new process begins.
    pub fn host<T>(&self, start: impl FnOnce(&spawn::Into<'_>) -> T) -> T {
        let procs = || {
            // Joining gets past every limit of processes, which is the kernel's to refuse at a birth only.
            let full = [Some(self.path.as_path()), self.path.parent()].into_iter().flatten().any(is_full);
            match full {
                true => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
                false => self.procs().map_err(|error| error.source),
            }
        };
        start(&spawn::Into { directory: self.directory.as_fd(), procs: &procs })
    }

    pub fn is_populated(&self) -> Result<bool, ContainmentError> {
        self.events.is_populated()
    }

    pub fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        members(&self.path)
    }

    pub fn contains(&self, pid: Pid) -> io::Result<bool> {
        is_below(pid, &self.name)
    }

    pub fn kill(&self) -> Result<(), ContainmentError> {
        kill(&self.path, &self.name)
    }

    /// Tries to remove it; [`SessionCgroup::remove`] says why, where that cannot be done.
    pub fn remove_if_empty(&self) {
        let _ = std::fs::remove_dir(&self.path);
    }

    /// Stops its processes where they stand, or lets them go on. Takes effect a little later.
    pub fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        freeze(&self.path, frozen)
    }

    pub fn is_frozen(&self) -> Result<bool, ContainmentError> {
        self.events.says("frozen 1")
    }
}

/// As [`SessionCgroup::events`].
impl AsFd for CgroupLeaf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.file.as_fd()
    }
}

/// An open `cgroup.events` file.
#[derive(Debug)]
struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    fn open(directory: &Path) -> Result<Self, ContainmentError> {
        let path = directory.join("cgroup.events");
        let file = File::open(&path).map_err(ContainmentError::on("open", &path))?;
        Ok(Self { path, file })
    }

    fn is_populated(&self) -> Result<bool, ContainmentError> {
        self.says("populated 1")
    }

    /// A removed cgroup says nothing any more (ENODEV): it holds nobody.
    fn says(&self, line: &str) -> Result<bool, ContainmentError> {
        // By its place: the guardian shares our open file, and its offset.
        let mut text = [0u8; 256];
        match self.file.read_at(&mut text, 0) {
            Ok(length) => Ok(String::from_utf8_lossy(&text[..length]).lines().any(|it| it == line)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
            Err(error) => Err(ContainmentError::on("read", &self.path)(error)),
        }
    }
}

/// Whether no process lives in the cgroup; where that cannot be read, one may.
pub fn is_empty(directory: &Path) -> bool {
    Events::open(directory).is_ok_and(|events| events.is_populated().is_ok_and(|populated| !populated))
}

/// The cgroups of all sessions, anywhere below the mount.
pub fn session_directories(mount: &Path) -> Result<Vec<PathBuf>, ContainmentError> {
    let mut found = Vec::new();
    walk(mount, &mut |directory| {
        if id_of(directory).is_some() {
            found.push(directory.to_path_buf());
        }
        Ok(())
    })?;
    Ok(found)
}

fn id_of(directory: &Path) -> Option<SessionId> {
    SessionId::of_directory(directory.file_name()?.to_str()?)
}

fn make_directory(parent: &Path) -> Result<(SessionId, PathBuf), Unavailable> {
    let mut attempts = 0;
    loop {
        let id = SessionId::random().map_err(ContainmentError::on("choose a name in", parent))?;
        let path = parent.join(id.directory());
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok((id, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts < ATTEMPTS => {
                attempts += 1
            }
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                return Err(Unavailable::Threaded { path: parent.to_path_buf() });
            }
            Err(source) => return Err(Unavailable::NotWritable { path: parent.to_path_buf(), source }),
        }
    }
}

/// Opens without creating: on a wrong path this must fail, not make a plain file.
fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

pub fn write(path: &Path, value: &[u8]) -> Result<(), ContainmentError> {
    open_for_writing(path)
        .and_then(|mut file| file.write_all(value))
        .map_err(ContainmentError::on("write to", path))
}

fn freeze(path: &Path, frozen: bool) -> Result<(), ContainmentError> {
    write(&path.join("cgroup.freeze"), if frozen { b"1" } else { b"0" })
}

fn kill(path: &Path, name: &str) -> Result<(), ContainmentError> {
    match write(&path.join("cgroup.kill"), b"1") {
        // Before Linux 5.14, or threaded: one by one.
        Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => {
            kill_each(path, name)
        }
        // Removed meanwhile: it holds nobody.
        Err(error) if error.source.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

fn kill_each(path: &Path, name: &str) -> Result<(), ContainmentError> {
    for pid in members(path)? {
        // Checked after opening: the number may have gone to a stranger before that.
        if let Ok(Some(process)) = Process::open(pid)
            && is_below(pid, name).unwrap_or(false)
        {
            process.signal(Signal::SIGKILL).map_err(ContainmentError::on("kill a process of", path))?;
        }
    }
    Ok(())
}

fn is_below(pid: Pid, name: &str) -> io::Result<bool> {
    let at = proc::cgroup_of(pid)?;
    Ok(at.is_some_and(|at| Path::new(&at).starts_with(name)))
}

fn members(path: &Path) -> Result<Vec<Pid>, ContainmentError> {
    members_where(path, |_| true)
}

/// Processes outside our PID namespace show as 0, which is no pid and is left out.
fn members_where(path: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<Pid>, ContainmentError> {
    let mut found = Vec::new();
    walk(path, &mut |directory| {
        if !wanted(directory) {
            return Ok(());
        }
        let file = directory.join("cgroup.procs");
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                found.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
                Ok(())
            }
            // Threaded cgroups list their processes in the domain above them.
            Err(error) if proc::is_gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            Err(error) => Err(ContainmentError::on("read", &file)(error)),
        }
    })?;
    Ok(found)
}

fn numbers(path: &Path) -> Result<Vec<u64>, ContainmentError> {
    let mut found = Vec::new();
    walk(path, &mut |directory| match std::fs::metadata(directory) {
        Ok(metadata) => {
            found.push(metadata.ino());
            Ok(())
        }
        Err(error) if proc::is_gone(&error) => Ok(()),
        Err(error) => Err(ContainmentError::on("look at", directory)(error)),
    })?;
    Ok(found)
}

fn remove(path: &Path) -> Result<(), ContainmentError> {
    match std::fs::remove_dir(path) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        Err(error) if !proc::is_gone(&error) => return Err(ContainmentError::on("remove", path)(error)),
        _ => return Ok(()),
    }
    let mut directories = Vec::new();
    walk(path, &mut |directory| {
        directories.push(directory.to_path_buf());
        Ok(())
    })?;
    // The walk meets a parent before its children.
    for directory in directories.iter().rev() {
        match std::fs::remove_dir(directory) {
            Err(error) if !proc::is_gone(&error) => {
                return Err(ContainmentError::on("remove", directory)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Visits a cgroup and all below it, parents first.
fn walk(
    path: &Path,
    visit: &mut dyn FnMut(&Path) -> Result<(), ContainmentError>,
) -> Result<(), ContainmentError> {
    let mut pending = vec![path.to_path_buf()];
    while let Some(directory) = pending.pop() {
        visit(&directory)?;
        match directories_in(&directory) {
            Ok(below) => pending.extend(below),
            Err(error) if proc::is_gone(&error) => {}
            Err(error) => return Err(ContainmentError::on("list", &directory)(error)),
        }
    }
    Ok(())
}

fn directories_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
