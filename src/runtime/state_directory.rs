//! The directory for files that outlive a run (logs, records): in the user's home, following the XDG base
//! directory specification. Without a usable home, it is `cgrun-UID` in the directory for temporary files,
//! where another user may have created a directory of that name.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;

use crate::text::plain;

const NAME: &str = "cgrun";
/// The directories in it.
pub(crate) const LOGS: &str = "logs";
pub(crate) const RECORDS: &str = "ended";
/// No other user can look into it (XDG base directory specification, "Referencing this specification").
const MODE: u32 = 0o700;
const NOT_FOR_US: u32 = 0o077;

/// Finds it without creating anything. `warn` is called if later runs will not find it.
pub(crate) fn locate(warn: impl FnOnce(&str)) -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let chosen = set("XDG_STATE_HOME").filter(|path| may_be_followed(path) && is_usable(path));
    let home = || set("HOME").filter(|home| belongs_to_us(home)).map(|home| home.join(".local/state"));
    chosen
        .or_else(|| home().filter(|path| is_usable(path)))
        .map_or_else(|| in_temporary(&std::env::temp_dir(), warn), |path| path.join(NAME))
}

/// The directory in `temporary`. If another user has taken its name, it gets one that cannot be guessed.
fn in_temporary(temporary: &Path, warn: impl FnOnce(&str)) -> PathBuf {
    let path = temporary.join(own_name());
    match check_private(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn(&format!(
                "cannot keep logs and records in {}: {}; each run uses a new directory, so `cgrun sessions` does not show \
                 the records of earlier ones; remove that directory, or set XDG_STATE_HOME",
                path.display(),
                plain(&error)
            ));
            let mut random = [0u8; 8];
            // Without randomness the name is predictable, but that directory is checked too.
            let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
            let mut name = path.into_os_string();
            name.push(format!("-{:016x}", u64::from_ne_bytes(random)));
            PathBuf::from(name)
        }
        _ => path,
    }
}

fn own_name() -> OsString {
    format!("{NAME}-{}", geteuid().as_raw()).into()
}

/// Creates the state directory, or one in it. Fails if another user has created it.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE).create(path)?;
    path.ancestors().filter(|path| is_in_temporary(path)).try_for_each(check_private)
}

/// Whether [`in_temporary`] chose it. Its name shows that, because the guardian has no environment.
fn is_in_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let rest = name.strip_prefix(own_name().as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-"))
}

/// Whether it is a directory that belongs to us and that no other user can enter.
fn check_private(path: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    let is_private =
        metadata.is_dir() && metadata.uid() == geteuid().as_raw() && metadata.mode() & NOT_FOR_US == 0;
    let planted = || io::Error::other("it belongs to another user, or other users can enter it");
    if is_private { Ok(()) } else { Err(planted()) }
}

/// A home that another user owns is not ours to write to: sudo may have passed it on.
fn belongs_to_us(home: &Path) -> bool {
    let owners = [0, geteuid().as_raw()];
    std::fs::metadata(home).is_ok_and(|metadata| metadata.is_dir() && owners.contains(&metadata.uid()))
}

/// Whether nobody else decides where root writes: `sudo -E` passes on the user's directory, in which the user may have put
/// links to any other.
fn may_be_followed(base: &Path) -> bool {
    !geteuid().is_root() || base.ancestors().find(|path| path.exists()).is_some_and(belongs_to_us)
}

/// Whether we can write logs and records below it. `sudo -E cgrun` may have made these directories for root.
fn is_usable(base: &Path) -> bool {
    [LOGS, RECORDS].iter().all(|it| may_be_made(&base.join(NAME).join(it)))
}

fn may_be_made(path: &Path) -> bool {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    existing.is_dir() && accessat(CWD, existing, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_planted_directory_is_not_written_to_wherever_it_is() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join(own_name());
        DirBuilder::new().create(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(create(&path.join("ended")).is_err());
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        create(&path.join("ended")).unwrap();
    }

    #[test]
    fn a_directory_that_was_planted_is_avoided_with_a_warning() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join(own_name());
        let found = || {
            let mut warnings = 0;
            let found = in_temporary(temporary.path(), |_| warnings += 1);
            assert_eq!(warnings, usize::from(found != path));
            found
        };
        assert_eq!(found(), path);
        DirBuilder::new().mode(MODE).create(&path).unwrap();
        assert_eq!(found(), path);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        assert_ne!(found(), path);
        std::fs::remove_dir(&path).unwrap();
        symlink(temporary.path(), &path).unwrap();
        assert_ne!(found(), path);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_ne!(found(), path);
    }
}
