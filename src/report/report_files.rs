//! The files that reports are written to. Each is checked before the session starts, and later written
//! completely or not at all.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::report_file::ReportFile;
use crate::config::ReportKind;
use crate::sys::process::identity::{ActingAs, Identity};
use crate::text::plain;

#[derive(Debug)]
pub(crate) struct ReportFiles {
    files: Vec<(ReportKind, ReportFile)>,
    /// Directories that were created for the files, parents first.
    created_directories: Vec<PathBuf>,
    /// The process that removes the placeholders. Its forks must not remove them.
    owner: u32,
    /// The user whose rights are used to write the files, if not ours.
    identity: Option<Identity>,
}

impl ReportFiles {
    /// Checks that the files can be written. After an error nothing is left behind.
    pub(crate) fn prepare(reports: &[(ReportKind, PathBuf)], identity: Option<&Identity>) -> Result<Self> {
        let user = identity.and_then(|it| it.user.as_ref()).map(|(user, _)| user.name.as_str());
        let open_pipe = |(_, path): &(ReportKind, PathBuf)| {
            ReportFile::of_pipe(path).map_err(|error| cannot_write(path, &error, user))
        };
        let pipes = reports.iter().map(open_pipe).collect();
        let _user = ActingAs::session_user(identity).context("cannot switch to the session's user")?;
        let (owner, identity) = (std::process::id(), identity.cloned());
        let mut files = Self { files: Vec::new(), created_directories: Vec::new(), owner, identity };
        let prepared = files.prepare_all(reports, pipes, user);
        if prepared.is_err() {
            files.remove_old_reports();
        }
        prepared.map(|()| files)
    }

    fn prepare_all(
        &mut self,
        reports: &[(ReportKind, PathBuf)],
        pipes: Vec<Result<Option<ReportFile>>>,
        user: Option<&str>,
    ) -> Result<()> {
        for ((kind, path), pipe) in reports.iter().zip(pipes) {
            let cannot_write = |error: io::Error| cannot_write(path, &error, user);
            let mut file = match pipe? {
                Some(pipe) => pipe,
                None => ReportFile::resolve(path, self.owner, &mut self.created_directories)
                    .map_err(cannot_write)?
                    .or_overwrite(),
            };
            if self.files.iter().any(|(_, other)| other.path == file.path) {
                bail!("two reports would be written to {}; give each its own file", path.display());
            }
            file.create_placeholder().map_err(cannot_write)?;
            self.files.push((*kind, file));
        }
        Ok(())
    }

    /// Switches to the rights with which the files are written.
    pub(crate) fn act_as_user(&self) -> nix::Result<Option<ActingAs>> {
        ActingAs::session_user(self.identity.as_ref())
    }

    /// The reports, and what stands for them until they are written.
    pub(super) fn own_files(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().flat_map(|(_, file)| file.own_files())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes the files that the supervisor had not written when it died.
    pub(crate) fn write_missing(&self, render: impl Fn(ReportKind) -> Result<String>) {
        // A failure is ignored, because the guardian cannot report it to the user.
        let Ok(_user) = self.act_as_user() else { return };
        write_each(self.files.iter().filter(|(_, file)| !file.is_written()), render);
    }

    /// Writes all files and returns what went wrong.
    pub(crate) fn write(&self, render: impl Fn(ReportKind) -> Result<String>) -> Vec<String> {
        match self.act_as_user() {
            Ok(_user) => write_each(self.files.iter(), render),
            Err(error) => {
                vec![format!("no report was written: cannot switch to the session's user: {error}")]
            }
        }
    }

    /// Called if there will be no report, so that an earlier one is not mistaken for this session's.
    pub(crate) fn remove_old_reports(&self) {
        if let Ok(_user) = self.act_as_user() {
            self.files.iter().for_each(|(_, file)| file.remove_old_report());
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error, user: Option<&str>) -> anyhow::Error {
    anyhow!(
        "cannot write the report {}: {}; name a file in a directory that {} can write to",
        path.display(),
        plain(error),
        user.unwrap_or("you")
    )
}

fn write_each<'a>(
    files: impl Iterator<Item = &'a (ReportKind, ReportFile)>,
    render: impl Fn(ReportKind) -> Result<String>,
) -> Vec<String> {
    let problem = |file: &ReportFile, reason: String| {
        file.remove_placeholder();
        file.remove_old_report();
        format!("the report {} was not written: {reason}", file.path.display())
    };
    files
        .filter_map(|(kind, file)| match render(*kind) {
            Ok(text) => file.write(&text).err().map(|error| problem(file, plain(&error))),
            Err(error) => Some(problem(file, format!("{error:#}"))),
        })
        .collect()
}

/// A session that never wrote its reports leaves no trace of them. After a panic the placeholders stay,
/// because they tell the guardian which reports it has to write.
impl Drop for ReportFiles {
    fn drop(&mut self) {
        if std::thread::panicking() || self.owner != std::process::id() {
            return;
        }
        if let Ok(_user) = self.act_as_user() {
            self.files.iter().for_each(|(_, file)| file.remove_placeholder());
            // This intentionally fails for directories that are not empty.
            self.created_directories.iter().rev().for_each(|directory| drop(std::fs::remove_dir(directory)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_report_replaces_an_old_one_in_one_step() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/x.json");
        for round in ["one", "two"] {
            let files = ReportFiles::prepare(&[(ReportKind::Json, path.clone())], None).unwrap();
            assert_eq!(files.write(|_| Ok(round.into())), Vec::<String>::new());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), round);
            // The guardian has nothing to do.
            files.write_missing(|_| Ok("again".into()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), round);
        }
        assert_eq!(names(path.parent().unwrap()), ["x.json"]);
    }

    /// A test can write to the path, which is not what the supervisor writes.
    #[test]
    fn the_guardian_overwrites_a_file_that_had_no_placeholder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        std::fs::write(&path, "of a test").unwrap();
        let files = |has_placeholder: bool| {
            let mut file = ReportFile::resolve(&path, std::process::id(), &mut Vec::new()).unwrap();
            if has_placeholder {
                file.create_placeholder().unwrap();
                file.remove_placeholder();
            }
            let files = vec![(ReportKind::Json, file)];
            ReportFiles { files, created_directories: Vec::new(), owner: std::process::id(), identity: None }
        };
        for (has_placeholder, text) in [(true, "of a test"), (false, "of the guardian")] {
            files(has_placeholder).write_missing(|_| Ok("of the guardian".into()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn an_old_report_is_removed_if_the_new_one_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        std::fs::write(&path, "before").unwrap();
        let files = ReportFiles::prepare(&[(ReportKind::Json, path.clone())], None).unwrap();
        let problems = files.write(|_| bail!("no words"));
        assert!(problems[0].contains("was not written: no words"), "{problems:?}");
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn a_session_without_reports_leaves_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        std::fs::write(&path, "before").unwrap();
        let deep = directory.path().join("a/b/y.json");
        let reports = [(ReportKind::Json, path.clone()), (ReportKind::Junit, deep)];
        drop(ReportFiles::prepare(&reports, None).unwrap());
        assert_eq!(names(directory.path()), ["x.json"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    }

    #[test]
    fn a_name_may_be_as_long_as_the_kernel_allows() {
        let directory = tempfile::tempdir().unwrap();
        let name = "é".repeat(127);
        let reports = [(ReportKind::Json, directory.path().join(&name))];
        let files = ReportFiles::prepare(&reports, None).unwrap();
        assert_eq!(files.write(|_| Ok("it".into())), Vec::<String>::new());
        assert_eq!(names(directory.path()), [name]);
    }

    #[test]
    fn symbolic_links_are_resolved() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link.json");
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        let files = ReportFiles::prepare(&[(ReportKind::Json, link.clone())], None).unwrap();
        assert_eq!(files.write(|_| Ok("it".into())), Vec::<String>::new());
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(directory.path().join("real.json")).unwrap(), "it");
        let same = directory.path().join("sub/../real.json");
        let reports = [(ReportKind::Json, link), (ReportKind::Junit, same)];
        assert!(ReportFiles::prepare(&reports, None).unwrap_err().to_string().contains("two reports"));
        let circle = directory.path().join("circle");
        std::os::unix::fs::symlink("circle", &circle).unwrap();
        let error = ReportFiles::prepare(&[(ReportKind::Json, circle)], None).unwrap_err().to_string();
        assert!(error.contains("form a loop"), "{error}");
    }

    #[test]
    fn unwritable_files_are_refused() {
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
            let error = ReportFiles::prepare(&reports, None).unwrap_err().to_string();
            assert!(error.contains("report"), "{error}");
            // Nothing was created, and an old report is gone.
            assert_eq!(names(directory.path()).len(), 2 - usize::from(!file.exists()));
        }
    }
}
