//! What stays visible below a directory that is private: everything that the session was told about by name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::plan::{Environment, SessionPlan};
use crate::runtime::state_directory;

/// The sockets of X11 and of its session manager, which no variable names.
const SOCKETS: [&str; 2] = ["/tmp/.X11-unix", "/tmp/.ICE-unix"];
/// Variables that name a directory to fill, or one that was left.
const NOT_FOLLOWED: [&str; 4] = ["TMPDIR", "TMP", "TEMP", "OLDPWD"];

/// Absolute paths without links, none of which is in another: the working directories; what cgrun itself reads and writes; and
/// what a variable or a word of a command names. Of a file, it is the directory.
pub(super) fn paths(covered: &[PathBuf], plan: &SessionPlan, env: &Environment) -> Result<Vec<PathBuf>> {
    if covered.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(directory) = covered.iter().find(|it| plan.cwd.canonicalize().is_ok_and(|cwd| cwd == **it)) {
        bail!(
            "{} cannot be private while it is the working directory, since the session would not see its files; \
             change to a directory in it",
            directory.display()
        );
    }
    if is_below(&plan.state, covered) {
        state_directory::create(&plan.state)
            .with_context(|| format!("cannot create {}", plan.state.display()))?;
    }
    let ours = [&*plan.cwd, &*plan.state].into_iter().chain(plan.logs.as_deref());
    let mut kept = BTreeSet::new();
    for path in ours {
        kept.extend(existing(path, path, covered)?);
    }
    for (_, report) in &plan.reports {
        kept.extend(existing(report, report.parent().unwrap_or(report), covered)?);
    }
    let services = plan.services.iter();
    let directories = services.clone().map(|it| it.cwd.clone());
    let words = plan.command.iter().chain(services.flat_map(|it| &it.command));
    let variables = env.iter().filter(|(name, _)| !NOT_FOLLOWED.iter().any(|it| name == it));
    let named = words.map(|it| &**it).chain(variables.map(|(_, value)| value)).flat_map(paths_in);
    let found = named.chain(directories).chain(SOCKETS.map(PathBuf::from));
    kept.extend(found.filter_map(|path| visible(&path, covered)));
    let outer = kept.iter().filter(|path| !path.ancestors().skip(1).any(|it| kept.contains(it)));
    Ok(outer.cloned().collect())
}

/// The absolute paths in a value such as that of PATH, `--config=/tmp/x`, or `unix:path=/tmp/x,guid=0`.
fn paths_in(value: &OsStr) -> impl Iterator<Item = PathBuf> {
    let parts = value.as_bytes().split(|byte| b":=,".contains(byte)).filter(|part| part.starts_with(b"/"));
    parts.map(|part| PathBuf::from(OsStr::from_bytes(part)))
}

/// The path to keep for one that exists.
fn visible(path: &Path, covered: &[PathBuf]) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let is_inside = |path: &Path| is_below(path, covered);
    match path.parent() {
        Some(parent) if !path.is_dir() && is_inside(parent) => Some(parent.into()),
        _ => Some(path).filter(|it| is_inside(it)),
    }
}

/// The directory, or the nearest one above it that exists, for what cgrun writes: it must not be lost.
fn existing(written: &Path, directory: &Path, covered: &[PathBuf]) -> Result<Option<PathBuf>> {
    let Some(found) = directory.ancestors().find_map(|it| it.canonicalize().ok()) else { return Ok(None) };
    if covered.contains(&found) {
        bail!(
            "{} would be lost in the private {}; name another directory",
            written.display(),
            found.display()
        );
    }
    Ok(Some(found).filter(|it| is_below(it, covered)))
}

fn is_below(path: &Path, covered: &[PathBuf]) -> bool {
    path.ancestors().skip(1).any(|it| covered.iter().any(|covered| covered == it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_words_and_lists() {
        let found = |value: &str| -> Vec<String> {
            paths_in(OsStr::new(value)).map(|it| it.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(found("/usr/bin:/tmp/venv/bin:bin"), ["/usr/bin", "/tmp/venv/bin"]);
        assert_eq!(found("--config=/tmp/x"), ["/tmp/x"]);
        assert_eq!(found("unix:path=/tmp/dbus-1,guid=7"), ["/tmp/dbus-1"]);
        assert_eq!(found("tmp/x y"), [""; 0]);
    }

    #[test]
    fn of_a_file_its_directory_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let covered = [directory.path().canonicalize().unwrap()];
        std::fs::create_dir(covered[0].join("project")).unwrap();
        for name in ["project/a.py", "socket"] {
            std::fs::write(covered[0].join(name), "").unwrap();
        }
        let seen = |name: &str| visible(&covered[0].join(name), &covered);
        assert_eq!(seen("project/a.py"), Some(covered[0].join("project")));
        assert_eq!(seen("project"), Some(covered[0].join("project")));
        assert_eq!(seen("socket"), Some(covered[0].join("socket")));
        assert_eq!((seen("."), seen("missing")), (None, None));
        assert_eq!(visible(Path::new("/usr/bin"), &covered), None);
    }
}
