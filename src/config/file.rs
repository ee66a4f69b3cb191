//! `cgrun.toml`, or `[tool.cgrun]` in `pyproject.toml`.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::diagnostic::ConfigError;
use super::keys::ConfigKeys;
use super::toml_terms::in_toml_terms;
use crate::limits::Limit;
use crate::runtime::ci::Ci;

pub(crate) const FILE_NAME: &str = "cgrun.toml";
pub(super) const PYPROJECT: &str = "pyproject.toml";

/// A config and its text, which its diagnostics quote.
#[derive(Debug)]
pub(crate) struct Config {
    pub path: PathBuf,
    pub text: String,
    pub keys: ConfigKeys,
    pub profile: Option<UsedProfile>,
}

/// A profile whose keys have been applied.
#[derive(Debug)]
pub(crate) struct UsedProfile {
    pub name: String,
    /// The CI system because of which it is used; `None` if the user named it.
    pub chosen_by: Option<Ci>,
    /// The limits that it sets.
    pub limits: Vec<Limit>,
}

impl Config {
    /// Reads this file, regardless of its owner.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_bytes(path).map_err(|error| unreadable(path, error))?;
        let config = Self::parse(path, as_text(path, bytes)?)?;
        config.ok_or_else(|| ConfigError::NoTable { path: path.to_path_buf() })
    }

    /// `None` for a `pyproject.toml` without `[tool.cgrun]`. One that does not mention cgrun at all may even
    /// be invalid TOML.
    pub(super) fn parse(path: &Path, text: String) -> Result<Option<Self>, ConfigError> {
        let parsed = if !path.ends_with(PYPROJECT) {
            toml::from_str(&text).map(Some)
        } else if text.contains("cgrun") {
            toml::from_str::<PyProject>(&text).map(|project| project.tool.cgrun)
        } else {
            Ok(None)
        };
        match parsed {
            Ok(keys) => Ok(keys.map(|keys| Self { path: path.to_path_buf(), text, keys, profile: None })),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let message = in_toml_terms(error.message(), text.get(span.clone()).unwrap_or_default());
                Err(ConfigError::at(path, &text, span, message))
            }
        }
    }

    /// An error about `span` (byte offsets) of this file.
    pub(crate) fn error(&self, span: std::ops::Range<usize>, message: String) -> ConfigError {
        ConfigError::at(&self.path, &self.text, span, message)
    }

    /// The directory that relative paths in the file are relative to.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PyProject {
    tool: ToolTable,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolTable {
    cgrun: Option<ConfigKeys>,
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::Unreadable { path: path.to_path_buf(), source }
}

/// The text, without the byte order mark that some editors write.
pub(super) fn as_text(path: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    let text = String::from_utf8(bytes).map_err(|error| ConfigError::NotText {
        path: path.to_path_buf(),
        at: error.utf8_error().valid_up_to(),
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}

/// Refuses a FIFO, on which we would wait for a writer, and a device, which might have no end. `/dev/null` is an
/// empty config.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    let is_null = metadata.file_type().is_char_device() && metadata.rdev() == nix::sys::stat::makedev(1, 3);
    if !metadata.is_file() && !metadata.is_dir() && !is_null {
        return Err(io::Error::other("it is not a regular file"));
    }
    std::fs::read(path)
}
