use std::ffi::OsString;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::address::Address;
use super::no_upstream::NoUpstream;
use super::sockets::{UserDirectories, is_socket};
use super::upstream::{Upstreams, resolve};

/// A home directory, and variables that name sockets in it.
struct Home {
    directory: tempfile::TempDir,
    variables: Vec<(&'static str, OsString)>,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut home = Self { directory, variables: Vec::new() };
        home.variables.push(("XDG_RUNTIME_DIR", home.path("runtime").into()));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        UnixListener::bind(&path).unwrap();
        path
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn context(&self, name: &str, host: &str) -> &Self {
        let text = serde_json::json!({ "Name": name, "Endpoints": { "docker": { "Host": host } } });
        self.file(&format!(".docker/contexts/meta/{name}/meta.json"), &text.to_string())
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) -> &mut Self {
        self.variables.push((name, value.into()));
        self
    }

    fn resolve(&self) -> Result<Upstreams, NoUpstream> {
        let variable =
            |name: &str| self.variables.iter().rev().find(|it| it.0 == name).map(|it| it.1.clone());
        resolve(variable, Some(self.directory.path()))
    }

    /// Its error, with `HOME` for the directory.
    fn error(&self) -> String {
        self.resolve().unwrap_err().to_string().replace(self.directory.path().to_str().unwrap(), "HOME")
    }
}

fn url(path: &Path) -> String {
    format!("unix://{}", path.display())
}

fn docker(path: PathBuf) -> Upstreams {
    Upstreams { docker: Some(path), podman: None }
}

#[test]
fn a_variable_beats_a_context_and_a_context_the_usual_sockets() {
    let mut home = Home::new();
    let [named, context, current] = ["named", "context", "current"].map(|it| home.socket(it));
    home.socket("runtime/docker.sock");
    home.context("one", &url(&context)).context("two", &url(&current));
    home.file(".docker/config.json", r#"{"currentContext":"two"}"#);
    assert_eq!(home.resolve().unwrap(), docker(current));
    home.set("DOCKER_CONTEXT", "one");
    assert_eq!(home.resolve().unwrap(), docker(context.clone()));
    home.set("DOCKER_HOST", url(&named));
    assert_eq!(home.resolve().unwrap(), docker(named));
    home.set("DOCKER_HOST", "");
    assert_eq!(home.resolve().unwrap(), docker(context));
}

#[test]
fn podman_stays_local_unless_it_is_told_otherwise() {
    let mut home = Home::new();
    let podman = home.socket("podman");
    home.socket("docker");
    home.set("DOCKER_HOST", url(&home.path("docker"))).set("CONTAINER_HOST", "");
    assert_eq!(home.resolve().unwrap().podman, None);
    home.set("CONTAINER_HOST", url(&podman));
    assert_eq!(home.resolve().unwrap().podman, Some(podman));
    for wrong in ["ssh://core@localhost:1/run/podman.sock", "tcp://127.0.0.1:8080", "podman"] {
        home.set("CONTAINER_HOST", wrong);
        let start = format!("CONTAINER_HOST is {}, but", Address(wrong.into()));
        assert!(home.error().starts_with(&start), "{}", home.error());
    }
}

/// Those of root can be on the host of the test as well, and Docker's goes first.
#[test]
fn without_a_context_the_usual_sockets_are_tried() {
    let mut home = Home::new();
    home.set("DOCKER_CONTEXT", "default");
    home.file(".docker/config.json", r#"{"currentContext":"missing"}"#);
    let usual = UserDirectories::new(|_| None, None).sockets();
    let docker_of_root = usual.iter().find(|path| path.ends_with("docker.sock") && is_socket(path));
    let names = [".docker/run/docker.sock", "runtime/docker.sock"];
    let in_order = names.map(|name| {
        home.socket(name);
        home.resolve().unwrap().docker.unwrap()
    });
    let expected = names.map(|name| docker_of_root.cloned().unwrap_or_else(|| home.path(name)));
    assert_eq!(in_order, expected);
    let home = Home::new();
    let podman = home.socket("runtime/podman/podman.sock");
    assert_eq!(home.resolve().unwrap(), docker(docker_of_root.cloned().unwrap_or(podman)));
    // A context without an address is like the default.
    home.context("empty", "").file(".docker/config.json", r#"{"currentContext":"empty"}"#);
    home.resolve().unwrap();
}

#[test]
fn what_is_no_unix_socket_is_refused_without_its_secrets() {
    let mut home = Home::new();
    home.set("DOCKER_HOST", "tcp://build:2376");
    assert_eq!(
        home.error(),
        "DOCKER_HOST is tcp://build:2376, but --containers needs an engine on a Unix socket (unix:///PATH); \
         unset it, or pass --containers=false"
    );
    for wrong in
        ["ssh://me:secret@build", "npipe:////./pipe/docker_engine", "fd://", "unix://run/d", "build:1"]
    {
        home.set("DOCKER_HOST", wrong);
        let error = home.error();
        assert!(error.starts_with("DOCKER_HOST is ") && error.contains("on a Unix socket"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    home.set("DOCKER_HOST", "").set("DOCKER_CONTEXT", "far");
    home.context("far", "ssh://me:secret@build");
    assert_eq!(
        home.error(),
        "the Docker context far (named in DOCKER_CONTEXT) leads to ssh://…@build, but --containers needs an engine \
         on a Unix socket (unix:///PATH); use another one (docker context use NAME), or pass --containers=false"
    );
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let mut home = Home::new();
    home.file("plain", "").context("gone", &url(&home.path("gone")));
    home.file(".docker/config.json", r#"{"currentContext":"gone"}"#);
    let start = "the Docker context gone (named in HOME/.docker/config.json) leads to unix://HOME/gone, but this \
                 socket cannot be used (No such file or directory); start";
    assert!(home.error().starts_with(start), "{}", home.error());
    home.set("DOCKER_HOST", url(&home.path("plain")));
    let start =
        "DOCKER_HOST is unix://HOME/plain, but this socket cannot be used (it is not a socket); start";
    assert!(home.error().starts_with(start), "{}", home.error());
    let long = format!("unix:///{}", "x".repeat(5000));
    home.set("DOCKER_HOST", long);
    assert!(home.error().contains("(File name too long)"), "{}", home.error());
}

#[test]
fn a_context_that_cannot_be_determined_is_an_error() {
    let mut home = Home::new();
    home.socket("runtime/docker.sock");
    home.set("DOCKER_CONTEXT", "a\x1bb");
    let start = "the Docker context a\\u{1b}b (named in DOCKER_CONTEXT) does not exist; choose one";
    assert!(home.error().starts_with(start), "{}", home.error());
    assert!(matches!(
        resolve(|name| (name == "DOCKER_CONTEXT").then(|| "one".into()), None),
        Err(NoUpstream::NoSuchContext { .. })
    ));
    home.file(".docker/contexts/meta/x/meta.json", "secret");
    let start =
        "cannot determine the Docker context from HOME/.docker/contexts/meta/x/meta.json: it is not valid";
    assert!(home.error().starts_with(start) && !home.error().contains("secret"), "{}", home.error());
    home.set("DOCKER_CONTEXT", "").file(".docker/config.json", "{");
    let start = "cannot determine the Docker context from HOME/.docker/config.json: it is not valid";
    assert!(home.error().starts_with(start), "{}", home.error());
    home.set("DOCKER_CONFIG", home.path("other"));
    home.file("other/config.json", r#"{"currentContext":"three"}"#);
    let start = "the Docker context three (named in HOME/other/config.json) does not exist; choose one";
    assert!(home.error().starts_with(start), "{}", home.error());
}

#[test]
fn without_an_engine_the_sockets_that_were_looked_for_are_named() {
    let error = NoUpstream::NoEngine { sockets: UserDirectories::default().sockets() };
    let text = "no container engine listens at /var/run/docker.sock, /run/podman/podman.sock; start one";
    assert!(error.to_string().starts_with(text), "{error}");
    let home = Home::new();
    if UserDirectories::default().sockets().iter().all(|path| !is_socket(path)) {
        assert!(
            home.error().contains(" HOME/runtime/docker.sock, HOME/.docker/run/docker.sock,"),
            "{}",
            home.error()
        );
    }
}
