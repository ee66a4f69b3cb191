//! The files that reports go to: tried before the session, written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::config::ReportKind;
use crate::sys::tty::plain;

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
    /// A fork of ours leaves our drafts alone.
    owner: u32,
}

impl Targets {
    /// Tries whether they can be written. An error means that nothing was made.
    pub fn prepare(reports: &[(ReportKind, PathBuf)]) -> Result<Self> {
        let owner = std::process::id();
        let mut targets = Self { all: Vec::new(), owner };
        for (kind, path) in reports {
            let path = &resolved(path);
            if targets.all.iter().any(|other| other.path == *path) {
                bail!("two reports would go to {}; give each a file of its own", path.display());
            }
            let draft = draft(path, owner).and_then(|draft| make(path, &draft).map(|()| draft));
            match draft {
                Ok(draft) => targets.all.push(Target { kind: *kind, path: path.clone(), draft }),
                Err(error) => bail!(
                    "cannot write the report {}: {}; name a file in a directory that you may write to",
                    path.display(),
                    plain(&error)
                ),
            }
        }
        Ok(targets)
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that the supervisor, who is dead, has not written.
    pub fn write_the_rest(&self, content: impl Fn(ReportKind) -> Result<String>) {
        let unwritten = |target: &&Target| target.draft.exists() || !target.path.exists();
        Self::put(self.all.iter().filter(unwritten), content);
    }

    /// Writes them all; says what went wrong.
    pub fn write(&self, content: impl Fn(ReportKind) -> Result<String>) -> Vec<String> {
        Self::put(self.all.iter(), content)
    }

    fn put<'a>(
        targets: impl Iterator<Item = &'a Target>,
        content: impl Fn(ReportKind) -> Result<String>,
    ) -> Vec<String> {
        let problem = |target: &Target, why: String| {
            let _ = std::fs::remove_file(&target.draft);
            format!("the report {} is not written: {why}", target.path.display())
        };
        targets
            .filter_map(|target| match content(target.kind) {
                Ok(text) => target.put(&text).err().map(|error| problem(target, plain(&error))),
                Err(error) => Some(problem(target, format!("{error:#}"))),
            })
            .collect()
    }
}

impl Target {
    fn put(&self, text: &str) -> io::Result<()> {
        // The command may have emptied the directory of its last results, or removed it.
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut file = File::create(&self.draft)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        std::fs::rename(&self.draft, &self.path)
    }
}

/// What was tried and not written leaves no trace; but where we fail, the guardian is to write it.
impl Drop for Targets {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.owner == std::process::id() {
            self.all.iter().for_each(|target| drop(std::fs::remove_file(&target.draft)));
        }
    }
}

/// A link stays a link, and what it leads to is written.
fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

fn draft(path: &Path, owner: u32) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it is no file's name"))?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".cgrun-{owner}"));
    Ok(path.with_file_name(draft))
}

fn make(path: &Path, draft: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        // To put a file in a device's place would be worse than to write no report.
        Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("it is not a regular file")),
        // Who may not write the file may still be able to replace it.
        Ok(_) => drop(OpenOptions::new().append(true).open(path)?),
        Err(_) => {}
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // One of the same number that died before could write it no more.
    let _ = std::fs::remove_file(draft);
    File::create_new(draft).map(drop)
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
            let targets = Targets::prepare(&[(ReportKind::Json, path.clone())]).unwrap();
            assert_eq!(targets.write(|_| Ok(round.into())), Vec::<String>::new());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), round);
            // Whoever would write it for us finds nothing to do.
            targets.write_the_rest(|_| Ok("again".into()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), round);
        }
        assert_eq!(names(path.parent().unwrap()), ["x.json"]);
    }

    #[test]
    fn what_is_not_written_leaves_the_last_report_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        std::fs::write(&path, "before").unwrap();
        let targets = Targets::prepare(&[(ReportKind::Json, path.clone())]).unwrap();
        let problems = targets.write(|_| bail!("no words"));
        assert!(problems[0].contains("is not written: no words"), "{problems:?}");
        drop(Targets::prepare(&[(ReportKind::Json, path.clone())]).unwrap());
        assert_eq!(names(directory.path()), ["x.json"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
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
            vec![json(&file.join("x"))],
            vec![json(Path::new("/dev/null"))],
            vec![json(Path::new("/proc/cgrun.json"))],
            vec![json(&file), json(&link)],
        ] {
            let error = Targets::prepare(&reports).unwrap_err().to_string();
            assert!(error.contains("report"), "{error}");
        }
        assert_eq!(names(directory.path()).len(), 2);
    }
}
