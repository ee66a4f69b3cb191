//! The session's cgroup. It is never used twice: the kernel may kill a process that is started in a cgroup
//! that was killed before.

mod events;
pub(crate) mod files;
mod kill;
mod leaf;
pub(crate) mod metadata;
mod own_mount;
pub(crate) mod placement;
mod slurm;
pub(crate) mod systemd;
mod usual_mount;
mod walk;

pub(crate) use events::is_empty;
pub(crate) use slurm::Shelter;
use walk::session_directories;
pub(crate) use walk::{session_members, visible_sessions};

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::process::Pid;

use super::error::ContainmentError;
use super::holder::{Holder, LeafHolder};
use super::kind::Kind;
use super::session_id::SessionId;
use super::sockets::Sockets;
use crate::sys::port::Port;
use crate::sys::sockets::Listener;
use events::CgroupEvents;
use leaf::CgroupLeaf;
use metadata::Owner;
use own_mount::OwnMount;
use placement::{Mount, Unavailable};

/// How many ids are tried if their names are taken.
const ATTEMPTS: usize = 16;

/// The one cgroup of a session.
#[derive(Debug)]
pub(crate) struct SessionCgroup {
    pub id: SessionId,
    path: PathBuf,
    /// Its name in `/proc/PID/cgroup`.
    name: String,
    /// The directory where people find it.
    shown: PathBuf,
    /// Keeps the mount that contains `path`, if it is our own.
    mount: Option<Rc<OwnMount>>,
    events: CgroupEvents,
}

impl SessionCgroup {
    /// Creates a new cgroup below our own and signs it with its owner.
    pub(crate) fn create(mount: &Mount, command: &[u8], ports: &[Port]) -> Result<Self, Unavailable> {
        let owner = Owner::us().map_err(|source| Unavailable::Proc { file: "stat", source })?;
        let (id, path) = make_directory(&mount.own)?;
        if let Err(error) = metadata::write(&path, owner, command, ports) {
            let _ = std::fs::remove_dir(&path);
            return Err(ContainmentError::on("write the session's attributes to", &path)(error).into());
        }
        Self::open(mount, id, path)
    }

    /// Opens an existing session cgroup.
    pub(crate) fn open(mount: &Mount, id: SessionId, path: PathBuf) -> Result<Self, Unavailable> {
        let name = mount.path_of(&path).ok_or_else(|| Unavailable::OutOfSight {
            own: path.to_string_lossy().into_owned(),
            mount: mount.point.clone(),
        })?;
        let events = CgroupEvents::open(&path)?;
        let (shown, mount) = (mount.shown(&path), mount.handle());
        Ok(Self { id, path, name, shown, mount, events })
    }

    /// Whether the kernel can kill all of its processes at once. Kills those that are in it.
    pub(crate) fn is_killed_at_once(&self) -> bool {
        kill::kill_at_once(&self.path).is_ok()
    }

    /// Removes it, leaves first. The kernel refuses while a process lives in it, so success proves it empty.
    pub(crate) fn remove(&self) -> Result<(), ContainmentError> {
        walk::remove(&self.path)
    }

    /// Creates a leaf and opens its `cgroup.procs`, for a process that will join it.
    pub(crate) fn open_procs_of_leaf(&self, name: &str) -> Result<OwnedFd, ContainmentError> {
        self.make_leaf(name)?.procs()
    }

    fn make_leaf(&self, name: &str) -> Result<CgroupLeaf, ContainmentError> {
        let path = self.path.join(name);
        std::fs::create_dir(&path).map_err(ContainmentError::on("create the cgroup", &path))?;
        CgroupLeaf::open(path, format!("{}/{name}", self.name))
    }
}

impl Holder for SessionCgroup {
    fn kind(&self) -> Kind {
        Kind::Cgroup
    }

    fn leaf(&self, name: &str) -> Result<Box<dyn LeafHolder>, ContainmentError> {
        Ok(Box::new(self.make_leaf(name)?))
    }

    fn is_populated(&self) -> Result<bool, ContainmentError> {
        self.events.is_populated()
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        walk::members(&self.path)
    }

    fn contains(&self, pid: Pid) -> io::Result<bool> {
        kill::is_in(pid, &self.name)
    }

    /// The processes that left `leaves` for the session's cgroup itself, or for other cgroups created in it.
    fn members_outside(&self, leaves: &[&str]) -> Result<Vec<Pid>, ContainmentError> {
        let leaves: Vec<_> = leaves.iter().map(|leaf| self.path.join(leaf)).collect();
        walk::members_where(&self.path, |directory| !leaves.iter().any(|leaf| directory.starts_with(leaf)))
    }

    fn session_ids(&self) -> Result<Vec<SessionId>, ContainmentError> {
        let directories = session_directories(&self.path)?;
        Ok(directories.iter().filter_map(|path| walk::session_id(path)).collect())
    }

    fn sockets(&self, _: &[Listener]) -> Result<Sockets, ContainmentError> {
        Ok(Sockets::MadeIn(walk::inode_numbers(&self.path)?))
    }

    fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        kill::freeze(&self.path, frozen)
    }

    fn is_frozen(&self) -> Result<bool, ContainmentError> {
        self.events.is_frozen()
    }

    fn kill(&self) -> Result<(), ContainmentError> {
        kill::kill(&self.path, &self.name)
    }

    fn remove(&self) -> Result<(), ContainmentError> {
        self.remove()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn shelter(&self, guardian: Pid) -> Option<Shelter> {
        Shelter::beside(&self.path, guardian)
    }

    fn mount(&self) -> Option<BorrowedFd<'_>> {
        self.mount.as_ref().map(|mount| mount.as_fd())
    }

    fn name(&self) -> String {
        self.shown.display().to_string()
    }
}

fn make_directory(parent: &Path) -> Result<(SessionId, PathBuf), Unavailable> {
    let mut attempts = 0;
    loop {
        let id =
            SessionId::random().map_err(ContainmentError::on("choose a name for a cgroup in", parent))?;
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
