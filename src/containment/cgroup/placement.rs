//! Finds where a session's cgroup can be created: below our own, in the cgroup2 hierarchy, wherever that is
//! mounted (hybrid hosts mount it beside the old controllers).

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::StatVfsMountFlags;
use rustix::process::Pid;

use super::metadata;
use super::own_mount::OwnMount;
use super::slurm;
use super::systemd::{self, NoScope};
use super::usual_mount::point_of_whole_hierarchy;
use crate::containment::container::Container;
use crate::containment::error::ContainmentError;
use crate::containment::session_id::SessionId;
use crate::sys::kernel;
use crate::sys::process::namespace::needs_no_user;
use crate::sys::procfs::details::unified_path;
use crate::sys::small_file::read_all;
use crate::sys::users::user_name;
use crate::text::plain;

/// Without the first option, Docker's seccomp profile also denies the namespaces that we would need to make a mount.
const DOCKER_CGROUPS: &str =
    "--security-opt writable-cgroups=true (Docker 28 or newer) or --security-opt seccomp=unconfined";

/// Why no cgroup can be created here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error(
        "no cgroup2 file system is mounted here (none of the mounts in /proc/self/mountinfo is reachable)"
    )]
    NotMounted,
    #[error("cgrun's own cgroup {own} is not below the cgroup2 mount {}", mount.display())]
    OutOfSight { own: String, mount: PathBuf },
    #[error("cgrun is not permitted to create a cgroup in {}: {}", path.display(), plain(source))]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("{} is a threaded cgroup, which cannot hold a session", path.display())]
    Threaded { path: PathBuf },
    #[error("systemd manages {} and did not give cgrun a scope of its own: {source}", path.display())]
    NoScope { path: PathBuf, source: NoScope },
    #[error(transparent)]
    Cgroup(#[from] ContainmentError),
    #[error("cannot read /proc/self/{file}: {source}")]
    Proc { file: &'static str, source: io::Error },
}

impl Unavailable {
    /// Says how the user can fix it.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::NotMounted if kernel::is_wsl1() => kernel::CONVERT_WSL1.into(),
            Self::NotMounted => "mount one as root: mount -t cgroup2 none /sys/fs/cgroup".into(),
            Self::OutOfSight { .. } => {
                "start cgrun from inside that mount, or mount cgroup2 in this cgroup namespace".into()
            }
            Self::NotWritable { source, .. } if source.raw_os_error() == Some(libc::EROFS) => {
                remedy_for_read_only()
            }
            Self::NotWritable { .. } => {
                "run as root (sudo cgrun --user NAME), or have that cgroup delegated to you (Delegate=yes in a \
                 systemd unit)"
                    .into()
            }
            Self::Threaded { .. } => "start cgrun from an ordinary cgroup".into(),
            Self::NoScope { .. } if rustix::process::geteuid().is_root() => {
                "run in a unit with Delegate=yes".into()
            }
            Self::NoScope { .. } => {
                let user = user_name(rustix::process::geteuid().as_raw());
                format!(
                    "start your service manager (sudo loginctl enable-linger {user}), or run in a unit with \
                     Delegate=yes"
                )
            }
            Self::Cgroup(_) => "check this user's permissions there".into(),
            Self::Proc { .. } => "mount /proc".into(),
        }
    }

    /// The reason and the remedy.
    pub(crate) fn advice(&self) -> String {
        format!("{self}; {}", self.remedy())
    }
}

/// How to get a writable cgroup2 mount, if we could not make one ourselves either.
fn remedy_for_read_only() -> String {
    let container = Container::detect();
    if !rustix::process::geteuid().is_root() {
        let option = match container {
            Some(Container::Docker) => format!(", in a container started with {DOCKER_CGROUPS}"),
            _ => String::new(),
        };
        return format!("run as root (cgrun --user NAME){option}");
    }
    if needs_no_user() {
        let point = Mount::find().map_or_else(|_| "/sys/fs/cgroup".into(), |mount| mount.point);
        return format!("make the mount writable: mount -o remount,bind,rw {}", point.display());
    }
    match container {
        Some(Container::Docker) => format!("start the container with {DOCKER_CGROUPS}"),
        Some(Container::Podman) => "start the container with --security-opt unmask=/sys/fs/cgroup".into(),
        Some(Container::Kubernetes) => {
            "add the capability SYS_ADMIN in the container's securityContext; Kubernetes has no setting for \
             the cgroup mount alone"
                .into()
        }
        _ => "run with CAP_SYS_ADMIN, or mount cgroup2 without the option ro".into(),
    }
}

/// Why we are allowed to create the session's cgroup where we create it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// Our own cgroup was delegated to us, or is inside a session.
    Delegated,
    /// No other program manages the hierarchy, or its manager does not answer.
    Direct,
    /// systemd gave us a scope.
    Scope,
    /// The existing mount is read-only, or there is none, and we could make our own.
    OwnMount,
}

/// Finds where we are allowed to create a session's cgroup. Under systemd this may move us into a scope of
/// our own.
pub(crate) fn find_source() -> Result<(Mount, Source), Unavailable> {
    if !systemd::manages_this_host() {
        let mount = Mount::find_writable()?;
        let source = if mount.handle.is_some() { Source::OwnMount } else { Source::Direct };
        return Ok((mount, source));
    }
    let mount = Mount::find()?;
    if mount.is_delegated() {
        return Ok((mount, Source::Delegated));
    }
    let moved = systemd::enter_scope(&mount.own, |name| {
        let mount = Mount::find().ok()?;
        mount.own.ends_with(name).then_some(mount)
    });
    match moved {
        Ok(mount) => Ok((mount, Source::Scope)),
        // No manager is running that this could interfere with.
        Err(NoScope::NoManager { .. }) if rustix::process::geteuid().is_root() => Ok((mount, Source::Direct)),
        Err(source) => Err(Unavailable::NoScope { path: mount.own, source }),
    }
}

/// The mounted cgroup2 hierarchy, and our own position in it.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub point: PathBuf,
    /// The directory of our own cgroup, below which sessions are created.
    pub own: PathBuf,
    /// The part of the hierarchy that is mounted, `/` for all of it.
    root: String,
    /// Where people find our own cgroup, if the mount is not attached to a directory: in another mount, or its
    /// name in `/proc/PID/cgroup`.
    shown: PathBuf,
    /// Keeps a mount that is not attached to a directory.
    handle: Option<Rc<OwnMount>>,
    /// Processes of cgrun in its own cgroup, besides this one.
    pub aides: Vec<Pid>,
}

impl Mount {
    /// Finds the mount that shows cgrun's own cgroup.
    pub(crate) fn find() -> Result<Self, Unavailable> {
        let own = own_path()?;
        let usual = point_of_whole_hierarchy().map(|point| Self::of("/".into(), point.into()));
        if let Some(mount) = usual {
            if let Some(own) = mount.below(&own) {
                return Ok(Self { shown: own.clone(), own, ..mount });
            }
        }
        let mut mounts: Vec<_> = read("mountinfo")?.lines().filter_map(cgroup2_mount).collect();
        mounts.retain(Self::is_in_sight);
        // The last mount on a point hides the earlier ones.
        let found = mounts.iter().rev().find_map(|mount| Some((mount, mount.below(&own)?)));
        match found {
            Some((mount, own)) => Ok(Self { shown: own.clone(), own, ..mount.clone() }),
            None => Err(mounts.into_iter().next().map_or(Unavailable::NotMounted, |mount| {
                Unavailable::OutOfSight { own, mount: mount.point }
            })),
        }
    }

    /// Mounted by others, and not yet placed below.
    fn of(root: String, point: PathBuf) -> Self {
        Self { root, own: point.clone(), shown: point.clone(), point, handle: None, aides: Vec::new() }
    }

    /// Finds the mount that shows cgrun's own cgroup, or makes one if there is none.
    pub(crate) fn find_any() -> Result<Self, Unavailable> {
        Self::find().or_else(|missing| Self::create(None).ok_or(missing))
    }

    /// Like [`find_any`](Self::find_any), but also makes one if the existing one is read-only. If that is not
    /// permitted, returns the existing one.
    fn find_writable() -> Result<Self, Unavailable> {
        let mount = Self::find_any()?;
        let another = if mount.is_read_only() { Self::create(Some(mount.own.clone())) } else { None };
        Ok(another.unwrap_or(mount))
    }

    /// This mount and a directory in it; if it is read-only, another mount and the same directory there.
    pub(crate) fn writable(&self, directory: &Path) -> (Self, PathBuf) {
        let below = directory.strip_prefix(&self.own).ok().filter(|_| self.is_read_only());
        match below.and_then(|below| Some((below, Self::create(Some(self.own.clone()))?))) {
            Some((below, mount)) => {
                let directory = mount.own.join(below);
                (mount, directory)
            }
            None => (self.clone(), directory.into()),
        }
    }

    /// Makes a mount of our own. `shown` is our own cgroup in another mount.
    fn create(shown: Option<PathBuf>) -> Option<Self> {
        let root = own_path().ok()?;
        let handle = OwnMount::create()?;
        let (point, shown) = (handle.root(), shown.unwrap_or_else(|| PathBuf::from(&root)));
        Some(Self {
            own: point.clone(),
            point,
            root,
            shown,
            handle: Some(Rc::new(handle)),
            aides: Vec::new(),
        })
    }

    /// A mount as if cgrun had made it.
    #[cfg(test)]
    pub(crate) fn fake(own: &Path, shown: &Path) -> Self {
        let (point, own, shown) = (own.into(), own.into(), shown.into());
        Self { point, own, shown, root: "/".into(), handle: None, aides: Vec::new() }
    }

    fn is_read_only(&self) -> bool {
        let flags = rustix::fs::statvfs(&self.own).map(|found| found.f_flag);
        flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::RDONLY))
    }

    /// Where people find a directory below our own cgroup.
    pub(crate) fn shown(&self, directory: &Path) -> PathBuf {
        directory.strip_prefix(&self.own).map_or_else(|_| directory.into(), |rest| join(&self.shown, rest))
    }

    /// The same for a session with limits. In a task of Slurm's it is beside the task's cgroup, so that we need not leave that.
    pub(crate) fn for_limits(self) -> Self {
        match slurm::around_task(&self.own).map(Path::to_path_buf) {
            Some(around) => Self { shown: self.shown(&around), own: around, ..self },
            None => self,
        }
    }

    pub(crate) fn with_aides(self, aides: Vec<Pid>) -> Self {
        Self { aides, ..self }
    }

    /// Keeps the mount as long as the handle is held.
    pub(super) fn handle(&self) -> Option<Rc<OwnMount>> {
        self.handle.clone()
    }

    /// Whether systemd has delegated this cgroup to us. A cgroup delegated to a user's service manager is
    /// managed by that manager. Slurm would lose sight of a task that leaves its cgroup for a scope.
    fn is_delegated(&self) -> bool {
        if slurm::around_task(&self.own).is_some() {
            return true;
        }
        let is_ours = |directory: &Path| {
            let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            SessionId::of_directory(name).is_some()
        };
        let above = self.own.ancestors().take_while(|directory| directory.starts_with(&self.point));
        for directory in above {
            if is_ours(directory) {
                return true;
            }
            // A mark on the mount point itself is meant for the container's manager, not for us.
            if *directory != self.point && metadata::is_marked_delegated(directory) {
                let name = directory.file_name().unwrap_or_default().to_string_lossy();
                return !(name.starts_with("user@") && name.ends_with(".service"));
            }
        }
        false
    }

    /// Whether it is visible. Another file system may be mounted over it, and we could create directories
    /// there too.
    fn is_in_sight(&self) -> bool {
        rustix::fs::statfs(&self.point).is_ok_and(|found| found.f_type == libc::CGROUP2_SUPER_MAGIC)
    }

    /// Where a path of the hierarchy appears below this mount.
    fn below(&self, path: &str) -> Option<PathBuf> {
        let rest = Path::new(path).strip_prefix(&self.root).ok()?;
        let leaves = rest.components().any(|part| part == std::path::Component::ParentDir);
        (!leaves).then(|| join(&self.point, rest))
    }

    /// The path of a directory below this mount within the hierarchy, as `/proc/PID/cgroup` shows it.
    pub(crate) fn path_of(&self, directory: &Path) -> Option<String> {
        let rest = directory.strip_prefix(&self.point).ok()?;
        Some(Path::new(&self.root).join(rest).to_string_lossy().into_owned())
    }
}

/// `Path::join` would add a slash to an empty path.
fn join(directory: &Path, rest: &Path) -> PathBuf {
    if rest == Path::new("") { directory.into() } else { directory.join(rest) }
}

fn own_path() -> Result<String, Unavailable> {
    unified_path(&read("cgroup")?).ok_or(Unavailable::NotMounted)
}

fn read(file: &'static str) -> Result<String, Unavailable> {
    let bytes = read_all(format!("/proc/self/{file}"));
    Ok(String::from_utf8_lossy(&bytes.map_err(|source| Unavailable::Proc { file, source })?).into_owned())
}

/// One line of mountinfo (proc_pid_mountinfo(5)), if it is a cgroup2 mount:
/// `38 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`
fn cgroup2_mount(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    if !file_system.starts_with("cgroup2 ") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    Some(Mount::of(unescape(root), unescape(point).into()))
}

/// mountinfo writes blanks, tabs, newlines and backslashes in octal.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_string(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        38 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime shared:4 - cgroup2 cgroup2 rw";

    #[test]
    fn finds_the_mount_of_a_hybrid_host() {
        let mounts: Vec<_> = HYBRID.lines().filter_map(cgroup2_mount).collect();
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].point, Path::new("/sys/fs/cgroup/uni fied"));
        assert_eq!(mounts[0].below("/a/b"), Some("/sys/fs/cgroup/uni fied/a/b".into()));
    }

    #[test]
    fn the_usual_mount_is_what_mountinfo_shows() {
        let Some(usual) = point_of_whole_hierarchy() else {
            eprintln!("not checked: the host's whole hierarchy is not mounted in a usual place");
            return;
        };
        let mounts = read("mountinfo").unwrap();
        let found = mounts.lines().rev().filter_map(cgroup2_mount).find(|mount| mount.point == usual);
        assert_eq!(found.map(|mount| mount.root).as_deref(), Some("/"), "{mounts}");
    }

    #[test]
    fn a_partial_mount_shows_only_its_part() {
        let mount = cgroup2_mount("38 31 0:38 /ci/job /mnt rw - cgroup2 none rw").unwrap();
        assert_eq!(mount.below("/ci/job/7"), Some("/mnt/7".into()));
        assert_eq!(mount.below("/ci/job").unwrap().as_os_str(), "/mnt");
        assert_eq!(mount.below("/ci"), None);
        assert_eq!(mount.below("/../outside"), None);
        assert_eq!(mount.path_of(Path::new("/mnt/7/x")), Some("/ci/job/7/x".into()));
    }
}
