//! What to do about a command that is not found.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cli::command_names;
use crate::text::readable;

/// Where Python and npm install the programs of a project.
const ENVIRONMENTS: [&str; 3] = [".venv/bin", "venv/bin", "node_modules/.bin"];

/// Commands that only a shell knows: there are no programs of these names in `PATH`.
const SHELL_BUILTINS: [&str; 12] =
    [".", "alias", "cd", "eval", "exec", "export", "set", "source", "time", "ulimit", "umask", "unset"];

/// Completes "command not found", for a name that was looked for in `PATH`.
pub(super) fn not_found_hint(name: &OsStr, cwd: &Path) -> String {
    if let Some(hint) = misread_hint(name) {
        return hint;
    }
    let name = name.to_string_lossy();
    // Short words resemble too many other words.
    let resembles = |own: &&String| own.len() > 4 && strsim::osa_distance(own, &name) == 1;
    let own: Vec<String> = command_names().collect();
    match own.iter().find(|own| **own == *name).or_else(|| own.iter().find(resembles)) {
        Some(own) if **own == *name => {
            " in PATH; to run cgrun's own command of that name, put it right after cgrun, followed by its options".into()
        }
        Some(own) => format!(" in PATH; did you mean: cgrun {own}? Otherwise install it"),
        None if came_through_sudo() => {
            " in PATH, which sudo replaces; keep yours: sudo env PATH=\"$PATH\" cgrun ...".into()
        }
        None => match ENVIRONMENTS.iter().find(|it| cwd.join(it).join(&*name).exists()) {
            Some(found) => format!(
                " in PATH, but in {found}; activate that environment, or run: PATH=\"$PWD/{found}:$PATH\" cgrun ..."
            ),
            None => " in PATH; install it, or activate the environment it is in".into(),
        },
    }
}

/// Whether sudo started us, whose `secure_path` hides what is in the user's PATH (sudoers(5)).
fn came_through_sudo() -> bool {
    rustix::process::geteuid().is_root() && std::env::var_os("SUDO_UID").is_some()
}

/// Completes "command not found", for a path.
pub(super) fn no_such_file_hint(path: &OsStr) -> String {
    misread_hint(path).unwrap_or_else(|| "; there is no such file".into())
}

/// A hint about words that only a shell understands.
fn misread_hint(name: &OsStr) -> Option<String> {
    let text = readable(&name.to_string_lossy());
    if text.trim().contains(char::is_whitespace) {
        let quoted = text.replace('\'', r"'\''");
        return Some(format!(
            "; it contains spaces: write each word as a separate argument, or let a shell split it: sh -c '{quoted}'"
        ));
    }
    if is_assignment(name) {
        return Some(format!(
            "; to set a variable, put it before cgrun, or run: cgrun env {text} COMMAND; for a service, use its key env"
        ));
    }
    if text.starts_with('~') || text.contains('$') {
        return Some(format!(
            "; only a shell expands ~ and $; write it out, or let a shell run it: sh -c '{text} ...'"
        ));
    }
    SHELL_BUILTINS
        .contains(&text.as_str())
        .then(|| format!("; it is a shell command, not a program; let a shell run it: sh -c '{text} ...'"))
}

/// `NAME=value`.
fn is_assignment(word: &OsStr) -> bool {
    let mut parts = word.as_bytes().splitn(2, |&byte| byte == b'=');
    let (Some(variable), Some(_)) = (parts.next(), parts.next()) else { return false };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    variable.first().is_some_and(|first| !first.is_ascii_digit()) && variable.iter().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_before_the_sign_makes_an_assignment() {
        for (word, is_one) in [("A=1", true), ("_a1=", true), ("A", false), ("=1", false), ("1A=1", false)] {
            assert_eq!(is_assignment(OsStr::new(word)), is_one, "{word}");
        }
        assert!(!is_assignment(OsStr::new("./a=b")) && is_assignment(OsStr::new("PATH=/bin")));
    }
}
