//! Writes the files of one limit of one cgroup, and reads them back. All use of `cgroups-rs` is here.
//!
//! We use only that crate's setters of single controllers, which report whether they worked. Values that the
//! crate cannot write, or writes without reporting a failure, are written here.

use std::path::{Path, PathBuf};

use cgroups_rs::fs::error::Error;

use super::limit::Limit;
use super::refused::Refused;
use crate::containment::ContainmentError;
use crate::containment::cgroup::files::write;

/// A size as the kernel's signed type. Parsing has already checked that it fits.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The files of one limit in a cgroup's directory.
pub(super) struct LimitFile<'a> {
    directory: &'a Path,
    limit: Limit,
}

impl<'a> LimitFile<'a> {
    pub(super) fn new(directory: &'a Path, limit: Limit) -> Self {
        Self { directory, limit }
    }

    /// The directory in the form that the crate's controllers take. Their second argument has no effect with
    /// cgroup v2.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.to_path_buf()
    }

    /// Writes `value` and checks that the kernel accepted it.
    pub(super) fn write(
        &self,
        file: &'static str,
        value: &str,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<(), Refused> {
        write(&self.directory.join(file), value.as_bytes()).map_err(|error| self.refused(file, error))?;
        self.read_back(file, is_set)
    }

    /// Checks the result of a setter of the crate. The source of the crate's error is the kernel's own error.
    pub(super) fn check(
        &self,
        file: &'static str,
        set: Result<(), Error>,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<(), Refused> {
        use std::error::Error as _;
        set.map_err(|error| {
            let source = error.source().and_then(|it| it.downcast_ref::<std::io::Error>());
            let source = source.and_then(std::io::Error::raw_os_error).map(std::io::Error::from_raw_os_error);
            let source = source.unwrap_or_else(|| std::io::Error::other(error.to_string()));
            self.refused(file, ContainmentError::on("write to", &self.directory.join(file))(source))
        })?;
        self.read_back(file, is_set)
    }

    pub(super) fn read(&self, file: &'static str) -> Result<String, Refused> {
        let path = self.directory.join(file);
        let text = std::fs::read_to_string(&path).map_err(ContainmentError::on("read", &path));
        text.map(|text| text.trim().to_string()).map_err(|error| self.refused(file, error))
    }

    fn read_back(&self, file: &'static str, is_set: impl Fn(&str) -> bool) -> Result<(), Refused> {
        let text = self.read(file)?;
        if is_set(&text) {
            return Ok(());
        }
        let other = std::io::Error::other(format!("the kernel reports {text:?} instead"));
        Err(self.refused(file, ContainmentError::on("set the limit in", &self.directory.join(file))(other)))
    }

    pub(super) fn refused(&self, file: &'static str, source: ContainmentError) -> Refused {
        let limit = self.limit;
        match source.is_not_there() && self.directory.exists() {
            true => Refused::NoFile { limit, file },
            false => Refused::NotSet { limit, source },
        }
    }
}
