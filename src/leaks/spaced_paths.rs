//! Directories with spaces in their names. Programs are recognized by words, so such a path has to be one word first.

use std::borrow::Cow;

/// What the name of a directory can hardly contain, but a script or a command line can.
const OF_SCRIPTS: [char; 13] = ['\'', ':', '"', '`', ';', '&', '|', '(', ')', '<', '>', '$', '='];

/// The argument with `_` for each space in a directory. `here` is the session's directory.
pub(super) fn joined<'a>(argument: &'a str, here: &str) -> Cow<'a, str> {
    let argument = match has_space(here) && argument.contains(here) {
        true => Cow::Owned(without(argument, here)),
        false => Cow::Borrowed(argument),
    };
    match joined_directories(&argument) {
        Some(joined) => Cow::Owned(joined),
        None => argument,
    }
}

/// The session's directory is known, so that it is found in a script, too.
fn without(argument: &str, here: &str) -> String {
    let mut parts = argument.split(here);
    let mut stable = parts.next().unwrap_or_default().to_string();
    for rest in parts {
        let is_it =
            rest.chars().next().is_none_or(|c| c == '/' || c.is_whitespace() || OF_SCRIPTS.contains(&c));
        stable += if is_it { "." } else { here };
        stable += rest;
    }
    stable
}

/// `/home/a/my project/x y` and `--at=/home/a/my project/x y`, but no command line such as `/bin/sh -c /x/y`.
fn joined_directories(argument: &str) -> Option<String> {
    let (option, path) = match argument.split_once('=') {
        Some((option, path)) if option.starts_with('-') && !has_space(option) => (Some(option), path),
        _ => (None, argument),
    };
    let (directories, name) = path.rsplit_once('/').filter(|(directories, _)| has_space(directories))?;
    let is_path = directories.starts_with(['/', '.', '~']) && directories.split('/').all(is_directory);
    let joined = directories.replace(char::is_whitespace, "_");
    let option = option.map(|it| format!("{it}=")).unwrap_or_default();
    is_path.then(|| format!("{option}{joined}/{name}"))
}

fn is_directory(name: &str) -> bool {
    let mut words = name.split(char::is_whitespace);
    // A word ends or begins with a slash in a list of paths, and with a dash it is an option.
    let is_in_list = name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace);
    !is_in_list && !name.contains(OF_SCRIPTS) && !words.any(|word| word.starts_with('-') && word.len() > 1)
}

fn has_space(text: &str) -> bool {
    text.contains(char::is_whitespace)
}
