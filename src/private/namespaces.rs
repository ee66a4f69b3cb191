//! The namespaces of a private session.

use std::io;

use nix::sched::CloneFlags;

use crate::sys::kernel;
use crate::sys::process::namespace;
use crate::text::plain;

/// Why the session cannot be private.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoNamespaces {
    #[error("the kernel refuses to create its namespaces: {}{}", plain(source), remedy())]
    Refused { source: io::Error },
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

/// Moves this process, and all that it starts from now on, into new namespaces. An ordinary user needs a user namespace
/// around them.
///
/// Must be called while this process has a single thread.
pub(super) fn enter(namespaces: CloneFlags) -> Result<(), NoNamespaces> {
    let privileged = namespace::needs_no_user();
    if !privileged && rustix::process::geteuid().is_root() {
        return Err(NoNamespaces::Powerless);
    }
    // In the user namespace they have no meaning until they are mapped.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let user = if privileged { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    let refused = |source| NoNamespaces::Refused { source };
    nix::sched::unshare(user | namespaces).map_err(|errno| refused(errno.into()))?;
    if !privileged {
        namespace::map_user(uid, gid).map_err(refused)?;
    }
    Ok(())
}
