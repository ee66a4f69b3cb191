//! The host around cgrun: what a maintainer needs to know to reproduce a problem. Nothing here identifies a person or a
//! machine.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit};
use serde::Serialize;

use crate::runtime::ci::Ci;
use crate::runtime::state_directory;
use crate::sys::process::descriptor_limit;
use crate::sys::procfs::status::Status;

#[derive(Debug, Serialize)]
pub(super) struct Host {
    /// Such as `x86_64`.
    pub architecture: String,
    /// `PRETTY_NAME` of os-release(5).
    pub distribution: Option<String>,
    /// The CI system that runs cgrun.
    pub ci: Option<String>,
    pub systemd_version: Option<String>,
    pub cgroup_mounts: Vec<CgroupMount>,
    /// `ulimit -n`
    pub open_files: ResourceLimit,
    /// `ulimit -u`
    pub processes: ResourceLimit,
    /// Whether a seccomp filter restricts us, as in containers.
    pub seccomp: bool,
    pub no_new_privs: bool,
    /// Where logs and records go.
    pub state_directory: PathBuf,
}

#[derive(Debug, Serialize)]
pub(super) struct CgroupMount {
    pub point: String,
    /// `cgroup` or `cgroup2`.
    pub kind: String,
    pub options: String,
}

/// `None` is unlimited.
#[derive(Debug, Serialize)]
pub(super) struct ResourceLimit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

impl Host {
    pub(super) fn examine(has_systemd: bool) -> Self {
        let status = Status::of(rustix::process::getpid());
        let field = |name| status.as_ref().and_then(|status| status.field(name));
        let is_on = |name| field(name).is_some_and(|value| value != "0");
        Self {
            architecture: rustix::system::uname().machine().to_string_lossy().into_owned(),
            distribution: distribution(),
            ci: Ci::detect().map(|ci| ci.to_string()),
            systemd_version: has_systemd.then(systemd_version).flatten(),
            cgroup_mounts: cgroup_mounts(&std::fs::read_to_string("/proc/self/mounts").unwrap_or_default()),
            open_files: descriptor_limit::at_start().into(),
            processes: getrlimit(Resource::Nproc).into(),
            seccomp: is_on("Seccomp"),
            no_new_privs: is_on("NoNewPrivs"),
            state_directory: state_directory::locate(|_| ()),
        }
    }
}

impl fmt::Display for ResourceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |limit: Option<u64>| limit.map_or("unlimited".into(), |it| it.to_string());
        f.write_str(&shown(self.soft))?;
        if self.soft == self.hard { Ok(()) } else { write!(f, " (at most {})", shown(self.hard)) }
    }
}

impl From<Rlimit> for ResourceLimit {
    fn from(limit: Rlimit) -> Self {
        Self { soft: limit.current, hard: limit.maximum }
    }
}

fn distribution() -> Option<String> {
    let files = ["/etc/os-release", "/usr/lib/os-release"];
    files.into_iter().find_map(|file| pretty_name(&std::fs::read_to_string(file).ok()?))
}

fn pretty_name(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_string())
}

/// `systemd 252 (252.17-1~deb12u1)`
fn systemd_version() -> Option<String> {
    let output = Command::new("systemctl").arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().and_then(|line| line.strip_prefix("systemd ")).map(str::to_string)
}

/// From the text of `/proc/self/mounts`.
fn cgroup_mounts(mounts: &str) -> Vec<CgroupMount> {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1).map(str::to_string);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        matches!(kind.as_str(), "cgroup" | "cgroup2").then_some(CgroupMount { point, kind, options })
    };
    mounts.lines().filter_map(mount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_has_a_name_with_or_without_quotes() {
        let debian = "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
        assert_eq!(pretty_name(debian).unwrap(), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(pretty_name("PRETTY_NAME=Void\n").unwrap(), "Void");
        assert_eq!(pretty_name("ID=x\n"), None);
    }

    #[test]
    fn both_versions_of_cgroups_are_mounts_of_cgroups() {
        let mounts = cgroup_mounts(
            "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n\
             cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n",
        );
        let points: Vec<_> = mounts.iter().map(|it| it.point.as_str()).collect();
        assert_eq!(points, ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu"]);
        assert_eq!(mounts[0].options, "rw,nsdelegate");
    }
}
