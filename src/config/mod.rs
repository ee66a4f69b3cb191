//! `cgrun.toml`, or `[tool.cgrun]` in `pyproject.toml`: finding it and reading it.

mod diagnostic;
mod limits;
mod schema;
pub mod template;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use diagnostic::ConfigError;
pub use limits::Limits;
pub use schema::{File, OnLeak, Port, Ready, ReportKind, Service, ServiceName, Time, Words};

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
        let config = Self::parse(path, read(path)?)?;
        config.ok_or_else(|| ConfigError::NoTable { path: path.to_path_buf() })
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
                if let Some(config) = Self::parse(&path, text)? {
                    return Ok(Some(config));
                }
            }
        }
        Ok(None)
    }

    /// `None` for a `pyproject.toml` without `[tool.cgrun]`, however that may be spelled. One that
    /// does not even mention us may be broken in any way.
    fn parse(path: &Path, text: String) -> Result<Option<Self>, ConfigError> {
        let parsed = if !path.ends_with(PYPROJECT) {
            toml::from_str(&text).map(Some)
        } else if text.contains("cgrun") {
            toml::from_str::<PyProject>(&text).map(|project| project.tool.cgrun)
        } else {
            Ok(None)
        };
        match parsed {
            Ok(file) => Ok(file.map(|file| Self { path: path.to_path_buf(), text, file })),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                Err(ConfigError::at(path, &text, span, in_words_of_toml(error.message())))
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
    cgrun: Option<File>,
}

/// serde speaks of Rust's types; the user wrote TOML.
fn in_words_of_toml(message: &str) -> String {
    let words = [
        ("unknown field ", "unknown key "),
        ("missing field ", "missing key "),
        ("unknown variant ", "unknown value "),
        (", expected a sequence", ", expected a list"),
        (", expected a map", ", expected a table"),
    ];
    words.into_iter().fold(message.to_string(), |text, (rust, toml)| text.replacen(rust, toml, 1))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let bytes =
        read_bytes(path).map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
    String::from_utf8(bytes).map_err(|error| ConfigError::NotText {
        path: path.to_path_buf(),
        at: error.utf8_error().valid_up_to(),
    })
}

/// A FIFO would keep us waiting for a writer, and a device might never end.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(io::Error::other("it is not a regular file"));
    }
    std::fs::read(path)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}
