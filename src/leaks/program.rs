//! What a leaked process runs, as a key by which two runs and two machines recognize it: its command without what
//! differs between them.
//!
//! | left out | because |
//! |---|---|
//! | directories, also with spaces | a checkout, a virtual environment and a temporary directory are elsewhere on each machine |
//! | the version of an interpreter | `python3` and `python3.11` run the same script |
//! | numbers from 1024 | they can be ports, pids or line numbers; smaller ones tell what a program does, as in `-j 4` |
//! | any number after a word such as `port` or `pid`, or after `name:` | it is a port, a pid, a descriptor or a line |
//! | the duration of `sleep` is kept | it is never a port, and it tells one `sleep` from another |
//! | names that are made up | UUIDs, hashes, temporary names and the workers of pytest-xdist are new in each run |
//! | the values of passwords and tokens | the key is written to files that are committed |

use std::ffi::OsString;
use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::spaced_paths::joined;
use crate::text::{readable, shorten};

/// In place of what is left out.
const ANY: &str = "*";
/// In characters. What distinguishes programs comes first.
pub(super) const LONGEST: usize = 200;
/// Ports below need privileges.
const FIRST_PORT: u64 = 1024;
/// A key that was cut in the middle of a word can need another pass, so that it is its own key.
const PASSES: usize = 4;

/// Words between which a shell, a script or an option distinguishes.
const DELIMITERS: [char; 16] =
    ['\'', '"', '`', ';', '&', '|', '(', ')', '<', '>', '{', '}', '=', ',', '[', ']'];

/// After one of these a number is not what a person chose.
const NUMBERED: [&str; 11] =
    ["p", "port", "ports", "listen", "bind", "pid", "ppid", "fd", "fds", "handle", "socket"];
/// What comes after one of these is nobody's business.
const SECRET: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "token",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "credential",
    "credentials",
    "authorization",
];

/// UUIDs, hashes, temporary names, workers and numbers.
static MADE_UP: LazyLock<Regex> = LazyLock::new(|| {
    let hex = "[0-9A-Fa-f]";
    let uuid = format!("{hex}{{8}}(?:-{hex}{{4}}){{3}}-{hex}{{12}}");
    regex(&format!(
        "(?<uuid>{uuid})|(?<tmp>^\\.?tmp[._-]?)[A-Za-z0-9_]{{6,}}|(?<hex>{hex}{{8,}})|(?<gw>gw)[0-9]+|(?<number>[0-9]+)"
    ))
});
static INTERPRETER: LazyLock<Regex> =
    LazyLock::new(|| regex("^(python|pypy|ruby|perl|php|lua|node)-?[0-9]+(?:\\.[0-9]+)*$"));
/// What mkdtemp(3) and the like append to the names of temporary directories.
static RANDOM: LazyLock<Regex> = LazyLock::new(|| regex("^(.*[._-])([A-Za-z0-9]{6,10})$"));
/// `tmp_path` of pytest is `test_it0`, and its next one `test_it1`.
static NUMBERED_BY_PYTEST: LazyLock<Regex> = LazyLock::new(|| regex("^(.*?)([0-9]+)$"));

#[expect(clippy::unwrap_used, reason = "the patterns are constants, which a test compiles")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// `python -m http.server *`. `here` is the session's directory.
pub(crate) fn program(command: &[OsString], here: &Path) -> String {
    let here = here.to_string_lossy();
    let words: Vec<_> =
        command.iter().map(|word| joined(&word.to_string_lossy(), &here).into_owned()).collect();
    let mut key = words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    key = readable(&key);
    for _ in 0..PASSES {
        let next = shorten(&pass(&key, &here), LONGEST - 1);
        if next == key {
            break;
        }
        key = next;
    }
    key
}

fn pass(text: &str, here: &str) -> String {
    let is_delimiter = |c: char| c == ' ' || DELIMITERS.contains(&c);
    let (mut stable, mut before) = (String::new(), "");
    for piece in text.split_inclusive(is_delimiter) {
        let word = piece.trim_end_matches(is_delimiter);
        if !word.is_empty() {
            stable.push_str(&stable_word(word, before, here));
            before = word;
        }
        stable.push_str(&piece[word.len()..]);
    }
    stable
}

/// One word, given the one before it.
fn stable_word(word: &str, before: &str, here: &str) -> String {
    let names = parts(before);
    let is_in = |list: &[&str]| names.iter().any(|name| list.contains(&name.as_str()));
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_option_or_name = before.starts_with('-') || !before.contains('/');
    if before == "sleep" && is_number {
        return word.into();
    }
    let name = names.concat();
    // As in `--api-key`, `PGPASSWORD` and `Authorization: Bearer`.
    let is_secret =
        SECRET.iter().any(|secret| name.ends_with(secret)) || ["bearer", "basic"].contains(&&*name);
    if is_option_or_name && (is_secret || is_number && is_in(&NUMBERED)) {
        return ANY.into();
    }
    if word == here {
        return ".".into();
    }
    match word.split_once("://") {
        Some((scheme, rest)) if !rest.starts_with('/') => format!("{scheme}://{}", address(rest)),
        Some((scheme, path)) => format!("{scheme}://{}", file_name(path)),
        None => host_and_port(word, file_name),
    }
}

/// `user:*@localhost:*/test_db_*`, the part of a URL after its scheme.
fn address(rest: &str) -> String {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let user = user.map(|user| match user.split_once(':') {
        Some((name, _)) => format!("{}:{ANY}@", without_made_up(name)),
        None => format!("{}@", without_made_up(user)),
    });
    let host = host_and_port(host, without_made_up);
    format!("{}{host}{}", user.unwrap_or_default(), without_made_up(path))
}

/// `127.0.0.1:*`, `test_a.py:*`, and each part of a list that is separated by colons.
fn host_and_port(word: &str, each: fn(&str) -> String) -> String {
    let mut before = "";
    let parts = word.split(':').map(|part| {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let stable = if is_number && !before.is_empty() { ANY.into() } else { each(part) };
        before = part;
        stable
    });
    parts.collect::<Vec<_>>().join(":")
}

/// The last name of a path, without what is made up.
fn file_name(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    let Some((directory, name)) = trimmed.rsplit_once('/') else {
        let is_root = trimmed.is_empty() && !path.is_empty();
        return if is_root { "/".into() } else { without_made_up(trimmed) };
    };
    let flag = if directory.starts_with('-') { directory.split('/').next().unwrap_or_default() } else { "" };
    let is_temporary = ["/tmp", "/dev/shm", "/run/"].iter().any(|it| directory.contains(it));
    let appended = if directory.contains("/pytest-of-") { &NUMBERED_BY_PYTEST } else { &RANDOM };
    let appended = appended.captures(name).filter(|_| is_temporary && !INTERPRETER.is_match(name));
    let name = match appended.filter(|it| is_made_up(&it[2])) {
        Some(appended) => format!("{}{ANY}", &appended[1]),
        None => name.into(),
    };
    format!("{flag}{}", without_made_up(&name))
}

/// A number, or letters and digits in an order that no word has.
fn is_made_up(text: &str) -> bool {
    let follows = |first: fn(&u8) -> bool, then: fn(&u8) -> bool| {
        text.as_bytes().windows(2).any(|pair| first(&pair[0]) && then(&pair[1]))
    };
    text.bytes().all(|byte| byte.is_ascii_digit())
        || follows(u8::is_ascii_digit, u8::is_ascii_alphabetic)
        || follows(u8::is_ascii_lowercase, u8::is_ascii_uppercase)
}

fn without_made_up(name: &str) -> String {
    let name = INTERPRETER.replace(name, "$1");
    let replaced = MADE_UP.replace_all(&name, |found: &Captures<'_>| {
        let whole = &found[0];
        let prefix = ["tmp", "gw"].iter().find_map(|it| found.name(it));
        let is_kept = match (prefix, found.name("hex"), found.name("number")) {
            (Some(prefix), ..) => return format!("{}{ANY}", prefix.as_str()),
            (_, Some(_), _) => !whole.bytes().any(|byte| byte.is_ascii_digit()),
            (_, _, Some(_)) => whole.parse::<u64>().is_ok_and(|number| number < FIRST_PORT),
            _ => false,
        };
        if is_kept { whole.into() } else { ANY.into() }
    });
    replaced.into_owned()
}

/// `--remote-debuggingPort` consists of remote, debugging and port.
fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for c in word.chars() {
        if !c.is_ascii_alphanumeric() || (was_lower && c.is_ascii_uppercase()) {
            parts.push(String::new());
        }
        if c.is_ascii_alphanumeric() {
            parts.last_mut().into_iter().for_each(|part| part.push(c.to_ascii_lowercase()));
        }
        was_lower = c.is_ascii_lowercase();
    }
    parts
}
