//! What may outlive its command: ended like the rest, but no leak.

use std::ffi::{OsStr, OsString};
use std::str::FromStr;

use crate::leaks::{Leak, Undescribed};
use crate::sys::proc::ProcessInfo;

/// One entry of `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The executable's name.
    Name(String),
    /// The whole command line, with `*` for anything and `?` for any one character.
    CommandLine(Vec<char>),
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("an empty name allows nothing; write a program's name, such as \"ssh-agent\"".into()),
            _ if text.contains(['*', '?', ' ']) => Ok(Self::CommandLine(text.chars().collect())),
            _ if text.contains('/') => Err(format!(
                "{text:?} is a path; write the program's name, or a pattern for its command line, such as \"*{text} *\""
            )),
            _ => Ok(Self::Name(text.into())),
        }
    }
}

impl Pattern {
    pub fn allows(&self, leak: &Leak) -> bool {
        match self {
            Self::Name(name) => {
                let words = leak.executable.as_ref().into_iter().chain(leak.process.command.first());
                leak.glimpse.name == *name || words.map(|it| base(it)).any(|it| it == *name)
            }
            Self::CommandLine(pattern) => allows_command(pattern, &leak.process.command),
        }
    }
}

/// Of one in a crowd whose name alone was read, as the kernel keeps it: 15 bytes at most. Its command line
/// is read only where that is asked for, and there is time.
pub fn allows_unread(patterns: &[Pattern], unread: &Undescribed, has_time: bool) -> bool {
    let needs_more = patterns.iter().any(|it| matches!(it, Pattern::CommandLine(_)));
    let read = (needs_more && has_time).then(|| ProcessInfo::read(unread.pid)).flatten();
    patterns.iter().any(|pattern| match pattern {
        Pattern::Name(name) => allows_named(name, &unread.name),
        Pattern::CommandLine(pattern) => read.as_ref().is_some_and(|it| allows_command(pattern, &it.command)),
    })
}

fn allows_named(name: &str, kept: &str) -> bool {
    name == kept || (kept.len() == 15 && name.starts_with(kept))
}

fn allows_command(pattern: &[char], command: &[OsString]) -> bool {
    let words: Vec<_> = command.iter().map(|it| it.to_string_lossy()).collect();
    matches(pattern, &words.join(" ").chars().collect::<Vec<_>>())
}

/// `/usr/bin/x (deleted)` is an `x`.
fn base(path: &OsStr) -> String {
    let path = path.to_string_lossy();
    let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
    path.rsplit('/').next().unwrap_or_default().to_string()
}

/// Goes back to the last `*` only, so that no pattern takes longer than text times pattern.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    p = *at + 1;
                    t = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(pattern: &str, text: &str) -> bool {
        matches(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
    }

    #[test]
    fn patterns() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abbc"), ("*b*c", "abcbc"), ("?x ?", "ax é"), ("a b", "a b")]
        {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", "ab"), ("*b", "abc"), ("?", ""), ("a*b*c", "acb")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!("".parse::<Pattern>().is_err());
        assert!("/usr/bin/ssh-agent".parse::<Pattern>().unwrap_err().contains("is a path"));
    }

    #[test]
    fn the_kernel_keeps_15_bytes_of_a_name() {
        assert!(allows_named("a-rather-long-name", "a-rather-long-n"));
        assert!(!allows_named("a-rather-long-name", "a-rather-long"));
    }

    proptest! {
        #[test]
        fn agrees_with_a_regular_expression(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let regex = format!("^{}$", pattern.replace('*', ".*").replace('?', "."));
            prop_assert_eq!(glob(&pattern, &text), regex::Regex::new(&regex).unwrap().is_match(&text));
        }
    }
}
