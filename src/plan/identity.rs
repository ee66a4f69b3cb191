//! Which user the session runs as.

use anyhow::{Context, Result, bail};
use nix::unistd::{Gid, Uid};

use crate::sys::process::identity::Identity;
use crate::sys::users::{ASKS_NAME_SERVICE, NamedUser};

/// The identity that `--user` and `--no-new-privs` ask for; `None` for the supervisor's own.
pub(crate) fn resolve_identity(name: Option<&str>, no_new_privileges: bool) -> Result<Option<Identity>> {
    let Some(name) = name else {
        return Ok(no_new_privileges.then_some(Identity { user: None, no_new_privileges }));
    };
    let found = NamedUser::from_text(name).with_context(|| format!("cannot look up user {name:?}"))?;
    let Some(named) = found else { bail!("{}", no_such_user(name, ASKS_NAME_SERVICE)) };
    let user = &named.user;
    if !Uid::effective().is_root() {
        if user.uid != Uid::effective() {
            bail!("only root can run a session as another user; try: sudo cgrun --user {name} COMMAND");
        }
        let own_group = Gid::effective();
        if named.gives_group && user.gid != own_group {
            bail!(
                "only root can run a session in another group, and yours is {own_group}; omit --user, or try: sudo cgrun \
                 --user {name} COMMAND"
            );
        }
        return Ok(no_new_privileges.then_some(Identity { user: None, no_new_privileges }));
    }
    if user.uid.is_root() {
        bail!(
            "--user root would change nothing, because root keeps all capabilities; name another user, or omit --user"
        );
    }
    let groups = named.groups().with_context(|| format!("cannot look up the groups of {name:?}"))?;
    Ok(Some(Identity { user: Some((named.user, groups)), no_new_privileges }))
}

fn no_such_user(name: &str, asks_name_service: bool) -> String {
    if asks_name_service {
        return format!("there is no user {name:?}; see: getent passwd");
    }
    format!(
        "there is no user {name:?} in /etc/passwd, and this static build looks nowhere else; if `id {name}` shows the user, \
         give these numbers as --user UID:GID, or install the wheel or the .deb, which ask the host's name service"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_build_says_where_it_did_not_look() {
        let message = no_such_user("ann@corp", false);
        assert!(message.starts_with("there is no user \"ann@corp\" in /etc/passwd, and"), "{message}");
        assert!(message.contains("--user UID:GID"), "{message}");
    }
}
