//! Which user the session runs as.

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User};

use crate::sys::process::identity::Identity;
use crate::sys::users::groups_of;

/// The identity that `--user` and `--no-new-privs` ask for; `None` for the supervisor's own.
pub(super) fn resolve_identity(name: Option<&str>, no_new_privileges: bool) -> Result<Option<Identity>> {
    let Some(name) = name else {
        return Ok(no_new_privileges.then_some(Identity { user: None, no_new_privileges }));
    };
    let by_number = name.parse().ok().map(|uid| User::from_uid(Uid::from_raw(uid)));
    let found = User::from_name(name).with_context(|| format!("cannot look up user {name:?}"))?;
    let found = found.or(by_number.transpose()?.flatten());
    let user = found.with_context(|| format!("there is no user {name:?}; see: getent passwd"))?;
    if !Uid::effective().is_root() {
        if user.uid != Uid::effective() {
            bail!("only root can run a session as another user; try: sudo cgrun --user {name} COMMAND");
        }
        return Ok(no_new_privileges.then_some(Identity { user: None, no_new_privileges }));
    }
    if user.uid.is_root() {
        bail!(
            "--user root would change nothing, because root keeps all capabilities; name another user, or omit --user"
        );
    }
    let groups = groups_of(&user).with_context(|| format!("cannot look up the groups of {name:?}"))?;
    Ok(Some(Identity { user: Some((user, groups)), no_new_privileges }))
}
