//! The namespaces of a private session.

use std::io;

use nix::sched::CloneFlags;

use crate::config::Private;
use crate::sys::kernel;
use crate::sys::process::namespace;
use crate::text::plain;

/// Why the session cannot be private.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoNamespaces {
    #[error("the kernel refuses to create its namespaces: {}{}", plain(source), remedy())]
    Refused { source: io::Error },
    #[error("its mounts cannot be separated from the host's: {}", plain(source))]
    Mounts { source: io::Error },
    #[error(
        "without CAP_SYS_ADMIN, root can create namespaces only inside a user namespace, where it would lose \
         root's access to files; run with CAP_SYS_ADMIN and CAP_NET_ADMIN, or as another user"
    )]
    Powerless,
}

/// How to change the settings of this host that forbid it.
pub(super) fn remedy() -> String {
    let sysctls = kernel::settings_against_namespaces();
    sysctls.map(|it| format!("; allow user namespaces: {it}")).unwrap_or_default()
}

/// The namespaces that it takes.
pub(super) fn of_kinds(private: Private) -> CloneFlags {
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNET, private.has_network());
    flags.set(CloneFlags::CLONE_NEWIPC, private.ipc);
    flags.set(CloneFlags::CLONE_NEWNS, private.shm || private.tmp);
    flags
}

/// The user namespace that an ordinary user needs around the others.
pub(super) fn of_user() -> Result<CloneFlags, NoNamespaces> {
    if namespace::needs_no_user() {
        return Ok(CloneFlags::empty());
    }
    if rustix::process::geteuid().is_root() {
        Err(NoNamespaces::Powerless)
    } else {
        Ok(CloneFlags::CLONE_NEWUSER)
    }
}

/// Moves this process, and all that it starts from now on, into new namespaces.
///
/// Must be called while this process has a single thread.
pub(super) fn enter(namespaces: CloneFlags) -> Result<(), NoNamespaces> {
    namespace::unshare(namespaces).map_err(|source| NoNamespaces::Refused { source })?;
    if namespaces.contains(CloneFlags::CLONE_NEWNS) {
        namespace::separate_mounts().map_err(|source| NoNamespaces::Mounts { source })?;
    }
    Ok(())
}
