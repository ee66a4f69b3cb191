//! What stays visible of a directory that is private: every entry of it that the session was told about by name.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::covered::Covered;
use crate::plan::{BaselinePlan, SessionPlan};
use crate::runtime::state_directory;

/// The sockets of X11 and of its session manager, which no variable names.
const SOCKETS: [&str; 2] = ["/tmp/.X11-unix", "/tmp/.ICE-unix"];
/// Variables that name a directory to fill.
pub(super) const TEMPORARY: [&str; 3] = ["TMPDIR", "TMP", "TEMP"];
/// And one that was left.
const LEFT: &str = "OLDPWD";

/// The entries of the covered directories that are named by a working directory, by what cgrun reads or writes, by a
/// variable, or in a word of a command. An entry is kept as a whole, because what is named can need what is beside it.
pub(super) fn entries(covered: &[Covered], plan: &SessionPlan) -> Result<BTreeSet<PathBuf>> {
    let mut kept = BTreeSet::new();
    if covered.is_empty() {
        return Ok(kept);
    }
    if let Some(directory) = covered.iter().find(|it| it.is(&plan.cwd)) {
        bail!(
            "{} cannot be private while it is the working directory, since the session would not see its files; \
             change to a directory in it",
            directory.path.display()
        );
    }
    if covered.iter().any(|it| !it.entries_in(plan.state.as_os_str()).is_empty()) {
        state_directory::create(&plan.state)
            .with_context(|| format!("cannot create {}", plan.state.display()))?;
    }
    let written = written(plan);
    for (path, directory) in &written {
        refuse_loss(path, directory, covered)?;
    }
    // Each can be there by a link.
    let written = written.iter().flat_map(|(path, directory)| {
        [Some(path.clone()), path.canonicalize().ok(), directory.canonicalize().ok()]
    });
    let cwd = [Some(plan.cwd.clone()), plan.cwd.canonicalize().ok()];
    let ours = written.chain(cwd).flatten().chain([plan.state.clone()]).map(PathBuf::into_os_string);
    for text in ours.chain(told(plan)).chain(SOCKETS.map(OsString::from)) {
        kept.extend(covered.iter().flat_map(|it| it.entries_in(&text)));
    }
    // Where a link in one of them leads to.
    let targets: Vec<_> = kept.iter().filter_map(|entry| entry.canonicalize().ok()).collect();
    for target in targets {
        kept.extend(covered.iter().flat_map(|it| it.entries_in(target.as_os_str())));
    }
    kept.retain(|entry| entry.symlink_metadata().is_ok());
    Ok(kept)
}

/// What cgrun writes, with the directory in which it is.
fn written(plan: &SessionPlan) -> Vec<(PathBuf, PathBuf)> {
    let files = plan.reports.iter().map(|(_, path)| path.as_path());
    let files = files.chain(plan.baseline.iter().filter_map(BaselinePlan::written));
    let files = files.map(|path| (path.to_path_buf(), path.parent().unwrap_or(path).to_path_buf()));
    files.chain(plan.logs.iter().map(|path| (path.clone(), path.clone()))).collect()
}

fn refuse_loss(path: &Path, directory: &Path, covered: &[Covered]) -> Result<()> {
    let existing = directory.ancestors().find(|it| it.exists()).unwrap_or(directory);
    match covered.iter().find(|it| it.is(existing)) {
        Some(covered) => bail!(
            "{} would be lost in the private {}; name one outside, or in a directory there that exists",
            path.display(),
            covered.path.display()
        ),
        None => Ok(()),
    }
}

/// What the session's processes are told.
fn told(plan: &SessionPlan) -> impl Iterator<Item = OsString> {
    let variables =
        std::env::vars_os().filter(|(name, _)| name != LEFT && !TEMPORARY.iter().any(|it| name == it));
    let services = plan.services.iter().flat_map(|service| {
        let words = service.command.iter().cloned().chain(service.readiness_command().unwrap_or_default());
        words.chain(service.env.values().map(OsString::from)).chain([service.cwd.clone().into_os_string()])
    });
    variables.map(|(_, value)| value).chain(plan.command.iter().cloned()).chain(services)
}
