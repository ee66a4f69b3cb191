//! `cgrun doctor`: shows this host's containment and how to get a stronger one. Each finding comes from a
//! trial, not from a version number. The text is also what a bug report contains.

mod build;
mod engines;
mod findings;
mod home;
mod host;
mod json;
mod show;

use anyhow::Result;

use super::output::print;
use crate::plan::resolve_identity;
use crate::runtime::exit_code::Exit;

/// Examines the host and prints the findings to stdout.
/// `user`: whose sessions would use a container engine.
pub(crate) fn doctor(as_json: bool, user: Option<&str>) -> Result<Exit> {
    let identity = resolve_identity(user, false)?;
    let findings = findings::gather(identity.as_ref());
    let names = home::HomeNames::of_this_user();
    let text =
        if as_json { json::as_json(&findings, &names)? } else { names.hide(&show::as_text(&findings)) };
    print(&text)
}
