//! The files that reports go to: tried before the session, written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::config::ReportKind;
use crate::sys::identity::{Identity, Lent};
use crate::text::plain;

/// The kernel follows no more, either (path_resolution(7)).
const LINKS: usize = 40;
const FOLLOW_NOTHING: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// One report to be written.
#[derive(Debug)]
struct Target {
    kind: ReportKind,
    path: PathBuf,
    /// Beside it, so that it can take its place in one step. Made before the session begins; whoever
    /// finds it gone knows that the report is written.
    draft: PathBuf,
}

#[derive(Debug)]
pub struct Targets {
    all: Vec<Target>,
    /// Directories that we made for them, parents first.
    made: Vec<PathBuf>,
    /// A fork of ours leaves our drafts alone.
    owner: u32,
    /// Whose files they are, if not ours: all that is done to them is done with these rights.
    identity: Option<Identity>,
}

impl Targets {
    /// Tries whether they can be written. An error means that nothing was made.
    pub fn prepare(reports: &[(ReportKind, PathBuf)], identity: Option<&Identity>) -> Result<Self> {
        let _lent = Lent::of(identity).context("cannot take on the rights of the session's user")?;
        let user = identity.and_then(|it| it.user.as_ref()).map(|(user, _)| user.name.as_str());
        let (owner, identity) = (std::process::id(), identity.cloned());
        let mut targets = Self { all: Vec::new(), made: Vec::new(), owner, identity };
        let prepared = targets.prepare_all(reports, user);
        if prepared.is_err() {
            targets.take_last_away();
        }
        prepared.map(|()| targets)
    }

    fn prepare_all(&mut self, reports: &[(ReportKind, PathBuf)], user: Option<&str>) -> Result<()> {
        for (kind, path) in reports {
            let cannot = |error: io::Error| {
                anyhow!(
                    "cannot write the report {}: {}; name a file in a directory that {} may write to",
                    path.display(),
                    plain(&error),
                    user.unwrap_or("you")
                )
            };
            let target = self.target(*kind, path).map_err(cannot)?;
            if self.all.iter().any(|other| other.path == target.path) {
                bail!("two reports would go to {}; give each a file of its own", path.display());
            }
            make(&target).map_err(cannot)?;
            self.all.push(target);
        }
        Ok(())
    }

    fn target(&mut self, kind: ReportKind, path: &Path) -> io::Result<Target> {
        if path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(io::Error::other("it is a directory's name"));
        }
        let path = resolved(path, &mut self.made)?;
        Ok(Target { kind, draft: draft(&path, self.owner)?, path })
    }

    /// The rights with which they are written.
    pub fn lent(&self) -> nix::Result<Option<Lent>> {
        Lent::of(self.identity.as_ref())
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that the supervisor, who is dead, has not written.
    pub fn write_the_rest(&self, content: impl Fn(ReportKind) -> Result<String>) {
        // There is nobody to whom it could be said that this failed.
        let Ok(_lent) = self.lent() else { return };
        let unwritten = |target: &&Target| target.draft.exists() || !target.path.exists();
        Self::put(self.all.iter().filter(unwritten), content);
    }

    /// Writes them all; says what went wrong.
    pub fn write(&self, content: impl Fn(ReportKind) -> Result<String>) -> Vec<String> {
        match self.lent() {
            Ok(_lent) => Self::put(self.all.iter(), content),
            Err(error) => vec![format!("no report is written: cannot take on the user's rights: {error}")],
        }
    }

    fn put<'a>(
        targets: impl Iterator<Item = &'a Target>,
        content: impl Fn(ReportKind) -> Result<String>,
    ) -> Vec<String> {
        let problem = |target: &Target, why: String| {
            let _ = std::fs::remove_file(&target.draft);
            target.take_last_away();
            format!("the report {} is not written: {why}", target.path.display())
        };
        targets
            .filter_map(|target| match content(target.kind) {
                Ok(text) => target.put(&text).err().map(|error| problem(target, plain(&error))),
                Err(error) => Some(problem(target, format!("{error:#}"))),
            })
            .collect()
    }

    /// There will be no report: the one of an earlier run is not to pass for it.
    pub fn take_last_away(&self) {
        if let Ok(_lent) = self.lent() {
            self.all.iter().for_each(Target::take_last_away);
        }
    }
}

impl Target {
    fn put(&self, text: &str) -> io::Result<()> {
        // The command may have emptied the directory of its last results, or removed it.
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // A new one: whatever else has taken the place of ours could keep us waiting, or lead elsewhere.
        let _ = std::fs::remove_file(&self.draft);
        let mut file = File::create_new(&self.draft)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        match std::fs::rename(&self.draft, &self.path) {
            Err(error) if stays(&error) => {
                self.emptied()?.write_all(text.as_bytes())?;
                std::fs::remove_file(&self.draft)
            }
            other => other,
        }
    }

    fn take_last_away(&self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && stays(&error)
        {
            let _ = self.emptied();
        }
    }

    /// The file that stands there, where it cannot be replaced.
    fn emptied(&self) -> io::Result<File> {
        OpenOptions::new().write(true).truncate(true).custom_flags(FOLLOW_NOTHING).open(&self.path)
    }
}

/// A file that was mounted into a container cannot be replaced, nor another's in a directory such as /tmp.
fn stays(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::PermissionDenied)
}

/// What was tried and not written leaves no trace; but where we fail, the guardian is to write it.
impl Drop for Targets {
    fn drop(&mut self) {
        if std::thread::panicking() || self.owner != std::process::id() {
            return;
        }
        if let Ok(_lent) = self.lent() {
            self.all.iter().for_each(|target| drop(std::fs::remove_file(&target.draft)));
            // Those with something in them stay.
            self.made.iter().rev().for_each(|directory| drop(std::fs::remove_dir(directory)));
        }
    }
}

/// A link stays a link, and what it leads to is written. Makes the directory, and notes what it made.
fn resolved(path: &Path, made: &mut Vec<PathBuf>) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        let name = path.file_name().ok_or_else(|| io::Error::other("it is no file's name"))?.to_owned();
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        make_directory(directory, made)?;
        let directory = std::fs::canonicalize(directory)?;
        path = directory.join(name);
        match std::fs::read_link(&path) {
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("its links lead round in a circle"))
}

fn make_directory(directory: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let missing: Vec<_> =
        directory.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
    made.extend(missing.iter().rev().map(|it| it.to_path_buf()));
    std::fs::create_dir_all(directory)
}

fn draft(path: &Path, owner: u32) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it is no file's name"))?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".cgrun-{owner}"));
    Ok(path.with_file_name(draft))
}

/// Whether one of our streams goes to that file.
fn is_ours(file: &std::fs::Metadata) -> bool {
    let same = |it: rustix::fs::Stat| (it.st_dev, it.st_ino) == (file.dev(), file.ino());
    rustix::fs::fstat(rustix::stdio::stdout()).is_ok_and(same)
        || rustix::fs::fstat(rustix::stdio::stderr()).is_ok_and(same)
}

fn make(target: &Target) -> io::Result<()> {
    match std::fs::metadata(&target.path) {
        // To put a file in a device's place would be worse than to write no report.
        Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("it is not a regular file")),
        Ok(metadata) if is_ours(&metadata) => {
            return Err(io::Error::other("stdout or stderr goes there, and would be lost"));
        }
        // Who may not write the file may still be able to replace it.
        Ok(_) => drop(OpenOptions::new().append(true).open(&target.path)?),
        Err(_) => {}
    }
    // One of the same number that died before could write it no more.
    let _ = std::fs::remove_file(&target.draft);
    File::create_new(&target.draft).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_report_replaces_the_last_one_at_once_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/x.json");
        for round in ["one", "two"] {
            let targets = Targets::prepare(&[(ReportKind::Json, path.clone())], None).unwrap();
            assert_eq!(targets.write(|_| Ok(round.into())), Vec::<String>::new());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), round);
            // Whoever would write it for us finds nothing to do.
            targets.write_the_rest(|_| Ok("again".into()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), round);
        }
        assert_eq!(names(path.parent().unwrap()), ["x.json"]);
    }

    #[test]
    fn the_last_report_does_not_pass_for_one_that_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        std::fs::write(&path, "before").unwrap();
        let targets = Targets::prepare(&[(ReportKind::Json, path.clone())], None).unwrap();
        let problems = targets.write(|_| bail!("no words"));
        assert!(problems[0].contains("is not written: no words"), "{problems:?}");
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn what_was_only_tried_leaves_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        std::fs::write(&path, "before").unwrap();
        let deep = directory.path().join("a/b/y.json");
        let reports = [(ReportKind::Json, path.clone()), (ReportKind::Junit, deep)];
        drop(Targets::prepare(&reports, None).unwrap());
        assert_eq!(names(directory.path()), ["x.json"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    }

    #[test]
    fn links_are_followed_first() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link.json");
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        let targets = Targets::prepare(&[(ReportKind::Json, link.clone())], None).unwrap();
        assert_eq!(targets.write(|_| Ok("it".into())), Vec::<String>::new());
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(directory.path().join("real.json")).unwrap(), "it");
        let same = directory.path().join("sub/../real.json");
        let reports = [(ReportKind::Json, link), (ReportKind::Junit, same)];
        assert!(Targets::prepare(&reports, None).unwrap_err().to_string().contains("two reports"));
        let circle = directory.path().join("circle");
        std::os::unix::fs::symlink("circle", &circle).unwrap();
        let error = Targets::prepare(&[(ReportKind::Json, circle)], None).unwrap_err().to_string();
        assert!(error.contains("round in a circle"), "{error}");
    }

    #[test]
    fn what_cannot_be_written_is_told_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let json = |path: &Path| (ReportKind::Json, path.to_path_buf());
        for reports in [
            vec![json(directory.path())],
            vec![json(Path::new(&format!("{}/new/", directory.path().display())))],
            vec![json(&file.join("x"))],
            vec![json(Path::new("/dev/null"))],
            vec![json(Path::new("/proc/cgrun.json"))],
            vec![json(&file), json(&link)],
        ] {
            let error = Targets::prepare(&reports, None).unwrap_err().to_string();
            assert!(error.contains("report"), "{error}");
            // Nothing was made. The file's last content was of no run of this command line.
            assert_eq!(names(directory.path()).len(), 2 - usize::from(!file.exists()));
        }
    }
}
