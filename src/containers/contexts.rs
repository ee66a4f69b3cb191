//! The contexts of Docker's command line: each is a name and where its engine listens. The current one, if it is not
//! `default`, is in `config.json`, and each is in `contexts/meta/HASH/meta.json`.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::sockets::set;
use crate::sys::regular_file::open_regular;

/// The context that is none: clients look at the usual place.
pub(super) const DEFAULT: &str = "default";
/// Nobody has as many.
const MOST: usize = 500;
/// What Docker writes is far smaller.
const LONGEST: u64 = 1 << 20;

/// The directory of Docker's command line.
#[derive(Debug)]
pub(super) struct Contexts(PathBuf);

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(rename = "currentContext", default)]
    current: Option<String>,
}

/// One `meta.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Context {
    pub name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Debug, Default, Deserialize)]
struct Endpoints {
    #[serde(default)]
    docker: Option<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default)]
    host: Option<String>,
}

/// A file that is not as Docker has written it.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub path: PathBuf,
    pub error: io::Error,
}

impl Contexts {
    pub(super) fn new(variable: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Option<Self> {
        let named = set(variable("DOCKER_CONFIG")).map(PathBuf::from);
        named.or_else(|| home.map(|home| home.join(".docker"))).map(Self)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    /// The name of the current one; `None` if it is the default.
    pub(super) fn current(&self) -> Result<Option<String>, Unreadable> {
        let config: Option<Config> = read(&self.config())?;
        Ok(config.and_then(|it| it.current).filter(|it| !it.is_empty()))
    }

    /// The context of this name; an error if it can be one that cannot be read.
    pub(super) fn find(&self, name: &str) -> Result<Option<Context>, Unreadable> {
        let mut unreadable = None;
        for context in self.all() {
            match context {
                Ok(context) if context.name == name => return Ok(Some(context)),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    pub(super) fn all(&self) -> Vec<Result<Context, Unreadable>> {
        let meta = self.0.join("contexts/meta");
        match std::fs::read_dir(&meta) {
            Ok(entries) => {
                let paths = entries.flatten().take(MOST).map(|it| it.path().join("meta.json"));
                paths.filter_map(|path| read(&path).transpose()).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => vec![Err(Unreadable { path: meta, error })],
        }
    }
}

impl Context {
    /// Where its engine listens; `None` if that is the default.
    pub(super) fn host(self) -> Option<String> {
        self.endpoints.docker?.host.filter(|it| !it.is_empty())
    }
}

/// `None` if the file does not exist or is empty.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Unreadable> {
    let unreadable = |error| Unreadable { path: path.to_path_buf(), error };
    let file = match open_regular(path, 0) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(unreadable(io::Error::other("it is not a regular file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    // The error does not quote the file, which can have passwords in it.
    let invalid = |error: serde_json::Error| {
        io::Error::other(format!("it is not valid (line {}, column {})", error.line(), error.column()))
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(invalid(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(files: &[(&str, &str)]) -> (tempfile::TempDir, Contexts) {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = home.path().join(".docker").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let contexts = Contexts::new(|_| None, Some(home.path())).unwrap();
        (home, contexts)
    }

    #[test]
    fn a_context_is_found_by_its_name() {
        let one = r#"{"Name":"one","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///one","SkipTLSVerify":false}}}"#;
        let (_home, contexts) = contexts(&[
            ("config.json", r#"{"auths":{},"currentContext":"one"}"#),
            ("contexts/meta/a/meta.json", r#"{"Name":"two"}"#),
            ("contexts/meta/b/meta.json", one),
            ("contexts/meta/empty/meta.json", ""),
            ("contexts/meta/other/other.json", ""),
        ]);
        assert_eq!(contexts.current().unwrap().unwrap(), "one");
        assert_eq!(contexts.find("one").unwrap().unwrap().host().unwrap(), "unix:///one");
        assert!(contexts.find("two").unwrap().unwrap().host().is_none());
        assert!(contexts.find("three").unwrap().is_none());
    }

    #[test]
    fn without_a_file_the_default_is_current() {
        let (_home, contexts) = contexts(&[]);
        assert!(contexts.current().unwrap().is_none());
        assert!(contexts.find("one").unwrap().is_none());
        let named = Contexts::new(|name| (name == "DOCKER_CONFIG").then(|| "/d".into()), None).unwrap();
        assert_eq!(named.config(), Path::new("/d/config.json"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_unless_the_context_is_in_another() {
        let (home, contexts) = contexts(&[
            ("config.json", "{\n\"auths\": secret"),
            ("contexts/meta/a/meta.json", "[]"),
            ("contexts/meta/b/meta.json", r#"{"Name":"one"}"#),
        ]);
        let error = contexts.current().unwrap_err();
        assert_eq!(error.path, home.path().join(".docker/config.json"));
        assert_eq!(error.error.to_string(), "it is not valid (line 2, column 10)");
        assert!(contexts.find("one").unwrap().is_some());
        assert!(contexts.find("two").unwrap_err().path.ends_with("a/meta.json"));
        std::fs::remove_file(contexts.config()).unwrap();
        std::fs::create_dir(contexts.config()).unwrap();
        contexts.current().unwrap_err();
    }
}
