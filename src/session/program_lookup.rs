//! Resolves a command, as the user wrote it, to a program that can be executed. Nothing is started here.

use std::ffi::{CString, OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags};

use super::not_found::{no_such_file_hint, not_found_hint};
use crate::plan::Environment;
use crate::sys::process::spawn::{Directory, Program};

/// The search path if `PATH` is not set, as for execvp(3).
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The kernel reads no more of a `#!` line (`BINPRM_BUF_SIZE`, linux/binfmts.h).
const INTERPRETER_LINE: u64 = 256;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("{program}: command not found{hint}")]
    NotFound { program: String, hint: String },
    #[error("{}: cannot be executed: {reason}", path.display())]
    NotExecutable { path: PathBuf, reason: String },
    #[error("the kernel cannot execute it: {reason}{}", loader_hint(reason))]
    Refused { reason: String },
    #[error("the working directory {} {reason}", path.display())]
    WorkingDirectory { path: PathBuf, reason: &'static str },
    #[error("an argument or variable contains a NUL byte, which cannot be passed to a program")]
    Nul,
}

/// The program exists, so its loader must be the missing file.
fn loader_hint(reason: &str) -> &'static str {
    if reason == nix::errno::Errno::ENOENT.desc() {
        "; its loader is missing: is it built for this host?"
    } else {
        ""
    }
}

/// Resolves the program and prepares everything that executing it in `cwd` needs. `ours` is our own working
/// directory, in which a program runs even if it could not enter it.
pub(super) fn prepare(
    command: &[OsString],
    env: &Environment,
    cwd: &Path,
    ours: &Path,
) -> Result<Program, ProgramError> {
    prepare_found(&find(command, env, cwd, ours)?, command, env, cwd, ours)
}

/// Resolves the program only.
pub(super) fn find(
    command: &[OsString],
    env: &Environment,
    cwd: &Path,
    ours: &Path,
) -> Result<PathBuf, ProgramError> {
    let is_ours = cwd == ours;
    if !is_ours {
        check_directory(cwd)?;
    }
    let name = command.first().map_or(OsStr::new(""), OsString::as_os_str);
    resolve(name, env, if is_ours { Path::new("") } else { cwd }, cwd)
}

/// Like [`prepare`], for a program that was found before.
pub(super) fn prepare_found(
    path: &Path,
    command: &[OsString],
    env: &Environment,
    cwd: &Path,
    ours: &Path,
) -> Result<Program, ProgramError> {
    let argv = command.iter().map(|word| c_string(word.as_bytes())).collect::<Result<_, _>>()?;
    let directory = c_string(cwd.as_os_str().as_bytes())?;
    Ok(Program::new(
        c_string(path.as_os_str().as_bytes())?,
        argv,
        env.entries().ok_or(ProgramError::Nul)?,
        if cwd == ours { Directory::Ours(directory) } else { Directory::Other(directory) },
    ))
}

fn check_directory(path: &Path) -> Result<(), ProgramError> {
    let reason = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "is not a directory",
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "cannot be entered: permission denied"
        }
        Err(_) if path.components().any(|it| it.as_os_str().as_bytes().starts_with(b"~")) => {
            "does not exist; ~ is not expanded here, so write the full path"
        }
        Err(_) => "does not exist",
    };
    Err(ProgramError::WorkingDirectory { path: path.to_path_buf(), reason })
}

/// The program's path, relative to `base`. `cwd` is the same directory, for people.
fn resolve(name: &OsStr, env: &Environment, base: &Path, cwd: &Path) -> Result<PathBuf, ProgramError> {
    let program = || crate::text::readable(&name.to_string_lossy());
    let not_executable = |path: &Path, reason| ProgramError::NotExecutable { path: cwd.join(path), reason };
    if name.as_bytes().contains(&b'/') {
        let path = base.join(name);
        return match check_executable(&path) {
            Ok(()) => Ok(path),
            Err(None) => Err(ProgramError::NotFound { program: program(), hint: no_such_file_hint(name) }),
            Err(Some(reason)) => Err(not_executable(&path, reason)),
        };
    }
    let search = env.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut refused = None;
    for directory in search.as_bytes().split(|&byte| byte == b':') {
        // An empty entry is the working directory.
        let path = base.join(OsString::from_vec(directory.to_vec())).join(name);
        match check_executable(&path) {
            Ok(()) => return Ok(path),
            Err(Some(reason)) => refused = refused.or(Some(not_executable(&path, reason))),
            Err(None) => {}
        }
    }
    Err(refused
        .unwrap_or_else(|| ProgramError::NotFound { program: program(), hint: not_found_hint(name, cwd) }))
}

/// `Err(None)` if there is no such file.
fn check_executable(path: &Path) -> Result<(), Option<String>> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Some("permission denied".to_string()),
        _ => None,
    })?;
    if metadata.is_dir() {
        return Err(Some("it is a directory".into()));
    }
    // Opening a FIFO would wait for a writer.
    if !metadata.is_file() {
        return Err(Some("it is not a regular file".into()));
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|_| Some(why_not(path, &metadata).to_string()))?;
    let words = interpreter_words(path).unwrap_or_default();
    if ends_as_in_dos(&words) {
        return Err(Some("it has DOS line endings; convert them with: sed -i 's/\\r$//'".into()));
    }
    // execve(2) would fail with ENOENT, as if the script itself were missing.
    match words.first().filter(|path| path.is_absolute()) {
        Some(interpreter) if !interpreter.exists() => {
            let interpreter = interpreter.display();
            Err(Some(format!("its interpreter {interpreter} does not exist; install it, or change line 1")))
        }
        _ => Ok(()),
    }
}

/// Whether the carriage return belongs to the name of the interpreter, or of the program that env(1) looks for. Some
/// interpreters accept one after their options.
fn ends_as_in_dos(words: &[PathBuf]) -> bool {
    let is_name = words.len() == 1 || words.first().is_some_and(|first| first.ends_with("env"));
    let last = words.last().filter(|_| is_name);
    last.is_some_and(|last| last.as_os_str().as_bytes().ends_with(b"\r") && !last.exists())
}

/// Returns the reason why execution is denied.
fn why_not(path: &Path, metadata: &std::fs::Metadata) -> &'static str {
    let is_noexec = |fs: rustix::fs::StatVfs| fs.f_flag.contains(StatVfsMountFlags::NOEXEC);
    if metadata.mode() & 0o111 == 0 {
        "it is not marked as executable; run chmod +x on it"
    } else if rustix::fs::statvfs(path).is_ok_and(is_noexec) {
        "its file system is mounted noexec; move the program, or remount with exec"
    } else {
        "this user is not permitted to execute it; check its owner and mode"
    }
}

/// The words after `#!`, if the file begins with it.
fn interpreter_words(path: &Path) -> Option<Vec<PathBuf>> {
    let mut begin = Vec::new();
    std::fs::File::open(path).ok()?.take(INTERPRETER_LINE).read_to_end(&mut begin).ok()?;
    let line = begin.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let words = line.split(|byte| b" \t\0".contains(byte)).filter(|word| !word.is_empty());
    Some(words.map(|word| PathBuf::from(OsStr::from_bytes(word))).collect())
}

/// The words after `#!` of the script that this name leads to.
pub(super) fn interpreter_of(name: &OsStr, env: &Environment, cwd: &Path) -> Option<Vec<PathBuf>> {
    interpreter_words(&resolve(name, env, cwd, cwd).ok()?)
}

fn c_string(bytes: &[u8]) -> Result<CString, ProgramError> {
    CString::new(bytes).map_err(|_| ProgramError::Nul)
}
