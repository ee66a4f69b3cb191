//! The container in which cgrun runs. Each engine has its own options to permit more.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::Pid;

use crate::sys::procfs::environ::variable;

/// The inode number of the host's UTS namespace (`PROC_UTS_INIT_INO` in include/linux/proc_ns.h).
const UTS_OF_THE_HOST: u64 = 0xEFFF_FFFE;
/// The files that an engine replaces, even in a container that shares the host's namespaces.
const REPLACED: [&str; 4] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"];
const SIGNS: [(&str, Container); 4] = [
    // First, because its engine may leave a sign of its own.
    ("/run/secrets/kubernetes.io", Container::Kubernetes),
    ("/var/run/secrets/kubernetes.io", Container::Kubernetes),
    ("/run/.containerenv", Container::Podman),
    ("/.dockerenv", Container::Docker),
];

/// The engine that runs the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Docker,
    Podman,
    Kubernetes,
    /// The name that it gives itself.
    Other(String),
}

impl Container {
    /// `None` if we are not in a container that can be recognized.
    pub(crate) fn detect() -> Option<Self> {
        if let Ok(name) = std::fs::read_to_string("/run/systemd/container") {
            return Some(Self::named(name.trim()));
        }
        // The image of a virtual machine may contain the signs too, if it was made from a container.
        if is_separate() {
            if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
                return Some(Self::Kubernetes);
            }
            let sign = SIGNS.into_iter().find(|(path, _)| Path::new(path).exists());
            if let Some((_, container)) = sign {
                return Some(container);
            }
        }
        variable(Pid::INIT, "container").map(|name| Self::named(&name.to_string_lossy()))
    }

    /// By the name that the first process of a container gets (<https://systemd.io/CONTAINER_INTERFACE>).
    fn named(name: &str) -> Self {
        match name {
            "docker" => Self::Docker,
            "podman" => Self::Podman,
            "kubernetes" => Self::Kubernetes,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Kubernetes => "kubernetes",
            Self::Other(name) => name,
        })
    }
}

/// Whether something separates us from the host: a host name of our own, or files mounted by an engine.
fn is_separate() -> bool {
    let uts = std::fs::metadata("/proc/self/ns/uts").map(|namespace| namespace.ino());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    uts.is_ok_and(|uts| uts != UTS_OF_THE_HOST) || points.any(|point| REPLACED.contains(&point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for container in [
            Container::Docker,
            Container::Podman,
            Container::Kubernetes,
            Container::Other("systemd-nspawn".into()),
        ] {
            assert_eq!(Container::named(&container.to_string()), container);
        }
    }
}
