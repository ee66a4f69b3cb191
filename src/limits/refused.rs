//! Why a limit cannot be applied, and how to fix it.

use std::path::PathBuf;

use super::limit::{Controller, Limit};
use crate::containment::cgroup::systemd;
use crate::containment::{ContainmentError, Kind, Mount};

/// Why a limit cannot be applied here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the {} controller belongs to cgroup v1 on this host", .0.name())]
    Hybrid(Controller),
    #[error("this kernel has no {} controller", .0.name())]
    NotInKernel(Controller),
    #[error("the {} controller is not delegated to {}", controller.name(), path.display())]
    NotDelegated { controller: Controller, path: PathBuf },
    #[error("{} has processes of its own ({processes}), and cgroup v2 allows no limits below such a cgroup", path.display())]
    Occupied { path: PathBuf, processes: String },
    #[error("this session runs in a {0}, and only a cgroup can have limits")]
    NoCgroup(Kind),
    #[error("{0}")]
    Impossible(String),
    #[error("this kernel has no {file}")]
    NoFile { limit: Limit, file: &'static str },
    #[error("the cgroups above grant only CPUs {granted} and none of {asked}")]
    NotGranted { asked: String, granted: String },
    #[error("{source}")]
    NotSet { limit: Limit, source: ContainmentError },
    #[error(transparent)]
    Cgroup(#[from] ContainmentError),
}

impl Refused {
    /// Names the path at which people find the cgroup, if the mount is cgrun's own.
    pub(super) fn shown_in(self, mount: &Mount) -> Self {
        match self {
            Self::NotDelegated { controller, path } => {
                Self::NotDelegated { controller, path: mount.shown(&path) }
            }
            Self::Occupied { path, processes } => Self::Occupied { path: mount.shown(&path), processes },
            Self::Cgroup(error) => Self::Cgroup(ContainmentError { path: mount.shown(&error.path), ..error }),
            other => other,
        }
    }

    /// Says how the user can fix it.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Hybrid(_) => {
                "boot with systemd.unified_cgroup_hierarchy=1, or cgroup_no_v1=all without systemd".into()
            }
            Self::NotInKernel(controller) => {
                format!("check that cgroup_disable={} is not in /proc/cmdline", controller.name())
            }
            Self::NotDelegated { .. } if rustix::process::geteuid().is_root() => {
                "start cgrun where this controller is delegated, such as in a systemd unit with Delegate=yes"
                    .into()
            }
            Self::NotDelegated { controller, .. } => format!(
                "delegate it: as root, run `systemctl edit user@.service`, add Delegate=memory pids cpu {} below \
                 [Service], and log in again; or run sudo cgrun --user NAME",
                controller.name()
            ),
            Self::Occupied { .. } if systemd::manages_this_host() => format!(
                "give cgrun a scope of its own: systemd-run {}--scope -p Delegate=yes cgrun COMMAND",
                if rustix::process::geteuid().is_root() { "" } else { "--user " }
            ),
            Self::Occupied { .. } => "start cgrun alone in a cgroup of its own".into(),
            Self::NoCgroup(_) => "see `cgrun doctor` for how to get one".into(),
            Self::Impossible(_) => "use another value".into(),
            Self::NoFile { limit, .. } => limit.where_missing().into(),
            Self::NotGranted { .. } if systemd::manages_this_host() => {
                "use some of these CPUs, or check AllowedCPUs= of the units above (systemctl show)".into()
            }
            Self::NotGranted { .. } => {
                "use some of these CPUs, or check cpuset.cpus of the cgroups above".into()
            }
            Self::NotSet { source, .. } if source.is_denied() => "check this user's permissions there".into(),
            Self::NotSet { limit, .. } => format!("use another value for {}", limit.name()),
            Self::Cgroup(_) => "check this user's permissions there".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_cgroup_in_a_mount_of_our_own_is_named_as_people_find_it() {
        let (own, shown) = (Path::new("/proc/self/fd/7"), Path::new("/sys/fs/cgroup/job"));
        let mount = Mount::fake(own, shown);
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        for refused in [
            Refused::Occupied { path: own.into(), processes: "pid 1".into() },
            Refused::NotDelegated { controller: Controller::Pids, path: own.into() },
            ContainmentError::on("read", &own.join("cgroup.procs"))(denied).into(),
        ] {
            let text = refused.shown_in(&mount).to_string();
            assert!(text.contains("/sys/fs/cgroup/job") && !text.contains("/proc/"), "{text}");
        }
    }
}
