//! Reads a baseline. Its faults are shown as the config's are, with the line and a caret.

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::entry::{Entry, KnownOwner};
use super::error::BaselineError;
use super::pattern::NamePattern;
use crate::config::{ConfigError, TrustedUsers, find_trusted, in_toml_terms};
use crate::sys::regular_file::open_regular;
use crate::text::plain;

pub(crate) const FILE_NAME: &str = "cgrun-leaks.toml";
const VERSION: i64 = 1;
/// About 100,000 leaks.
const LARGEST: u64 = 16 << 20;

/// A baseline and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    pub path: PathBuf,
    pub(super) text: String,
    pub(super) lines: Vec<Line>,
    /// Where the list is, with its brackets.
    pub(super) list: Option<Range<usize>>,
}

/// An entry, and where it stands in the text.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub entry: Entry,
    pub span: Range<usize>,
    /// Where the number of `at_most` stands.
    pub at_most: Option<Range<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys version and leaks")]
struct FileKeys {
    version: Option<Spanned<i64>>,
    leaks: Option<Spanned<Vec<Spanned<LineKeys>>>>,
}

#[derive(Deserialize)]
struct VersionKey {
    version: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, such as { test = \"tests/test_a.py::test_b\", program = \"sleep 900\" }"
)]
struct LineKeys {
    test: Option<String>,
    worker: Option<String>,
    service: Option<String>,
    program: String,
    at_most: Option<Spanned<usize>>,
}

impl Baseline {
    /// The baseline that is written if there is none yet.
    pub(crate) fn empty(path: PathBuf) -> Self {
        Self { path, text: String::new(), lines: Vec::new(), list: None }
    }

    /// Reads the file that the user named; `None` if it does not exist.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, BaselineError> {
        match open_regular(path, 0) {
            Ok(Some(file)) => Self::from_reader(path, file).map(Some),
            Ok(None) => Err(unreadable(path, "it is not a regular file".into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(path, plain(&error))),
        }
    }

    /// Reads the file of that name in this directory, if there is one that only trusted users can have written.
    pub(crate) fn find(directory: &Path, trusted: &TrustedUsers) -> Result<Option<Self>, BaselineError> {
        let path = directory.join(FILE_NAME);
        match find_trusted(directory, FILE_NAME, trusted) {
            Err(error) => Err(unreadable(&path, plain(&error))),
            Ok(None) => Ok(None),
            Ok(Some(Err(reason))) => Err(BaselineError::Distrusted { path, reason }),
            Ok(Some(Ok(file))) => Self::from_reader(&path, file).map(Some),
        }
    }

    fn from_reader(path: &Path, file: impl Read) -> Result<Self, BaselineError> {
        let mut bytes = Vec::new();
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(path, plain(&error)))?;
        if bytes.len() as u64 > LARGEST {
            return Err(unreadable(path, "it is larger than 16 MiB".into()));
        }
        let text = String::from_utf8(bytes).map_err(|_| unreadable(path, "it is not UTF-8 text".into()))?;
        Self::parse(path, text)
    }

    pub(super) fn parse(path: &Path, text: String) -> Result<Self, BaselineError> {
        let parsed = toml::from_str::<FileKeys>(&text);
        // A newer version can have keys that are unknown here.
        let version = match &parsed {
            Ok(keys) => keys.version.clone(),
            Err(_) => toml::from_str::<VersionKey>(&text).ok().and_then(|it| it.version),
        };
        match version.map(|it| (*it.get_ref(), it.span())) {
            Some((version, _)) if version > VERSION => {
                return Err(BaselineError::Newer { path: path.into(), version });
            }
            Some((version, place)) if version < VERSION => {
                let message = format!("there is no version {version}; write version = {VERSION}");
                return Err(ConfigError::at(path, &text, place, message).into());
            }
            _ => {}
        }
        let keys = parsed.map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let message = in_toml_terms(error.message(), text.get(span.clone()).unwrap_or_default());
            ConfigError::at(path, &text, span, message)
        })?;
        let list = keys.leaks.as_ref().map(Spanned::span);
        let lines = keys.leaks.map(Spanned::into_inner).unwrap_or_default();
        let lines = lines.into_iter().map(|line| {
            let span = line.span();
            Line::new(line).map_err(|(at, message)| ConfigError::at(path, &text, at.unwrap_or(span), message))
        });
        let lines = lines.collect::<Result<_, _>>()?;
        Ok(Self { path: path.into(), lines, text, list })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().map(|line| &line.entry)
    }
}

impl Line {
    /// An error has a place, unless it is about the whole line.
    fn new(line: Spanned<LineKeys>) -> Result<Self, (Option<Range<usize>>, String)> {
        let span = line.span();
        let LineKeys { test, worker, service, program, at_most } = line.into_inner();
        let owner = match (test, worker, service) {
            (Some(name), None, None) => KnownOwner::Test(NamePattern::new(name)),
            (None, Some(name), None) => KnownOwner::Worker(NamePattern::new(name)),
            (None, None, Some(name)) => KnownOwner::Service(NamePattern::new(name)),
            (None, None, None) => KnownOwner::Unknown,
            _ => return Err((None, "a leak has one owner: keep one of test, worker and service".into())),
        };
        if let Some(zero) = at_most.as_ref().filter(|it| *it.get_ref() == 0) {
            return Err((Some(zero.span()), "a leak that is known is at least 1; or remove the line".into()));
        }
        let place = at_most.as_ref().map(Spanned::span);
        let entry = Entry { owner, program, at_most: at_most.map(Spanned::into_inner) };
        Ok(Self { entry, span, at_most: place })
    }
}

fn unreadable(path: &Path, reason: String) -> BaselineError {
    BaselineError::Unreadable { path: path.into(), reason }
}
