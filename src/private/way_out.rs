//! What connects a network of the session's own to the outside: pasta, which needs no privilege and no interface of the
//! host (passt(1)). It runs outside of the session, and ends with it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::CloneFlags;

use super::resolver::{FORWARDER, Servers};
use crate::config::Forward;
use crate::containment::{MARKER, OUTER};
use crate::ports::{Holding, listening_on};
use crate::sys::process::held_namespaces::HeldNamespaces;
use crate::sys::process::keeper::{Kept, keep};
use crate::sys::search_path;
use crate::text::plain;

const PROGRAM: &str = "pasta";
const TUN: &str = "/dev/net/tun";

/// Why there is no way between the session's network and the outside.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoWay {
    #[error(
        "net = \"outbound\" and forward need pasta, which is not in PATH; install it (package passt), or use net = true"
    )]
    NotInstalled,
    #[error("{holding}; forward needs the port: end what uses it, or forward another port")]
    Taken { holding: String },
    #[error("{} is not used, since others than root can write there; install it (package passt)", path.display())]
    Untrusted { path: PathBuf },
    #[error(
        "cannot open {TUN}, which pasta needs: {}; as root: modprobe tun, and chmod 0666 {TUN}",
        plain(source)
    )]
    NoTun { source: io::Error },
    #[error("cannot determine whether the ports that forward needs are free (sock_diag): {}", plain(source))]
    Unknown { source: io::Error },
    #[error("cannot create and enter its network: {}{}", plain(source), super::namespaces::remedy())]
    Namespace { source: io::Error },
    #[error("pasta cannot connect it: {said}")]
    Refused { said: String },
}

/// Where a session's network leads to.
#[derive(Debug)]
pub(super) struct WayOut<'a> {
    pub is_outbound: bool,
    pub forward: &'a [Forward],
    pub servers: Servers,
}

impl WayOut<'_> {
    /// Moves this process into a new network that pasta connects, and with `user` into a new user namespace around it.
    ///
    /// Must be called while this process has a single thread.
    pub(super) fn enter(&self, user: CloneFlags) -> Result<Kept, NoWay> {
        let pasta = find()?;
        File::options().read(true).write(true).open(TUN).map_err(|source| NoWay::NoTun { source })?;
        self.check_ports()?;
        let namespace = |source| NoWay::Namespace { source };
        let held = HeldNamespaces::create(user | CloneFlags::CLONE_NEWNET).map_err(namespace)?;
        let mut command = Command::new(pasta);
        command.args(self.options());
        if user.is_empty() {
            // As another user, it could not enter the namespace.
            let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
            command.args(["--runas", &format!("{}:{}", user.as_raw(), group.as_raw()), "--netns-only"]);
            command.args(["--netns", &format!("/proc/{}/ns/net", held.pid())]);
        } else {
            command.arg(held.pid().to_string());
        }
        let kept = keep(command, &[MARKER, OUTER])
            .map_err(|error| NoWay::Refused { said: in_a_line(&error.to_string()) })?;
        held.enter().map_err(namespace)?;
        Ok(kept)
    }

    fn check_ports(&self) -> Result<(), NoWay> {
        let ports: Vec<_> = self.forward.iter().map(|it| it.outer_port()).collect();
        let held = listening_on(&ports).map_err(|source| NoWay::Unknown { source })?;
        let taken = Holding::of(&held).first().map(ToString::to_string);
        taken.map_or(Ok(()), |holding| Err(NoWay::Taken { holding }))
    }

    /// By default pasta would forward every port that is in use on either side.
    fn options(&self) -> Vec<String> {
        // It writes its pid once it is ready. The namespace's name in /proc goes with the process that holds it.
        let mut options = vec!["--quiet", "--foreground", "--pid", "/dev/stdout", "--no-netns-quit"];
        options.extend(["--no-map-gw", "--tcp-ns", "none", "--udp-ns", "none", "--udp-ports", "none"]);
        if self.is_outbound {
            options.push("--config-net");
        } else {
            // What comes from the host's loopback needs no interface.
            options.extend(["--no-udp", "--no-icmp", "--no-dhcp", "--no-dhcpv6", "--no-ndp", "--no-ra"]);
        }
        if self.servers == Servers::Unreachable {
            options.extend(["--dns-forward", FORWARDER]);
        }
        if self.forward.is_empty() {
            options.extend(["--tcp-ports", "none"]);
        }
        let forwarded = self.forward.iter().flat_map(|it| ["--tcp-ports".to_owned(), it.to_string()]);
        options.into_iter().map(str::to_owned).chain(forwarded).collect()
    }
}

fn find() -> Result<PathBuf, NoWay> {
    let untrusted = || search_path::on_path(PROGRAM).map(|path| NoWay::Untrusted { path });
    search_path::trusted_on_path(PROGRAM).ok_or_else(|| untrusted().unwrap_or(NoWay::NotInstalled))
}

/// pasta also complains that no system logger is there.
fn in_a_line(said: &str) -> String {
    let lines = said.lines().map(str::trim);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && !line.ends_with("to syslog")).collect();
    lines.join("; ")
}

pub(crate) fn has_pasta() -> bool {
    search_path::trusted_on_path(PROGRAM).is_some()
}
