//! `cgrun.toml`, or `[tool.cgrun]` in `pyproject.toml`: finding it and reading it.

mod diagnostic;
mod schema;
pub mod template;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use diagnostic::ConfigError;
pub use schema::{File, OnLeak, Port, Ready, Service, ServiceName, Time};

pub const FILE_NAME: &str = "cgrun.toml";
const PYPROJECT: &str = "pyproject.toml";

/// A config as read, with what its errors need.
#[derive(Debug)]
pub struct Config {
    pub path: PathBuf,
    pub text: String,
    pub file: File,
}

impl Config {
    /// Reads this file and no other.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, read(path)?)
    }

    /// The nearest config from `start` upwards. A `pyproject.toml` without `[tool.cgrun]` is none.
    pub fn find(start: &Path) -> Result<Option<Self>, ConfigError> {
        for directory in start.ancestors() {
            for name in [FILE_NAME, PYPROJECT] {
                let path = directory.join(name);
                let text = match read(&path) {
                    Ok(text) => text,
                    Err(ConfigError::Unreadable { source, .. }) if is_absent(&source) => continue,
                    // Somebody else's broken file is not ours to complain about.
                    Err(ConfigError::NotText { .. }) if name == PYPROJECT => continue,
                    Err(error) => return Err(error),
                };
                if name == FILE_NAME || text.contains("tool.cgrun") || text.contains("cgrun]") {
                    let config = Self::parse(&path, text)?;
                    if name == FILE_NAME
                        || config.file != File::default()
                        || config.text.contains("[tool.cgrun]")
                    {
                        return Ok(Some(config));
                    }
                }
            }
        }
        Ok(None)
    }

    fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        let parsed = if path.file_name().is_some_and(|name| name == PYPROJECT) {
            toml::from_str::<PyProject>(&text).map(|project| project.tool.cgrun)
        } else {
            toml::from_str(&text)
        };
        match parsed {
            Ok(file) => Ok(Self { path: path.to_path_buf(), text, file }),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                Err(ConfigError::at(path, &text, span, error.message().to_string()))
            }
        }
    }

    /// An error at a place of this file.
    pub fn error(&self, span: std::ops::Range<usize>, message: String) -> ConfigError {
        ConfigError::at(&self.path, &self.text, span, message)
    }

    /// The directory that the file's relative paths start from.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PyProject {
    tool: Tool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tool {
    cgrun: File,
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let bytes =
        std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
    String::from_utf8(bytes).map_err(|error| ConfigError::NotText {
        path: path.to_path_buf(),
        at: error.utf8_error().valid_up_to(),
    })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}
