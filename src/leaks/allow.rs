//! The processes that are allowed to outlive the command: they are stopped like the rest, but do not count as
//! leaks.

use std::ffi::{OsStr, OsString};
use std::str::FromStr;

use regex::Regex;

use super::leak::{Leak, Undescribed};
use crate::sys::procfs::process_info::ProcessInfo;

/// The kernel stores at most this many bytes of a process's name (`TASK_COMM_LEN`, without the final zero).
const KERNEL_NAME: usize = 15;

/// The variable that tells the processes of a session which patterns it allows, for `cgrun ps`.
pub(crate) const ALLOWED: &str = "CGRUN_ALLOWED";

/// The value of [`ALLOWED`].
pub(crate) fn to_variable(patterns: &[Pattern]) -> String {
    serde_json::Value::from_iter(patterns.iter().map(Pattern::text)).to_string()
}

/// What a variable of unknown origin says: a pattern that is not valid allows nothing.
pub(crate) fn from_variable(value: &str) -> Vec<Pattern> {
    let texts: Vec<String> = serde_json::from_str(value).unwrap_or_default();
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// One entry of `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// The executable's name.
    Name(String),
    /// The whole command line, in which `*` stands for anything and `?` for any one character.
    CommandLine(Glob),
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => {
                Err("an empty pattern matches nothing; write a program's name, such as \"ssh-agent\"".into())
            }
            _ if text.contains(['*', '?', ' ']) => Glob::new(text).map(Self::CommandLine),
            _ if text.contains('/') => Err(format!(
                "{text:?} is a path; write the program's name, or a pattern for its command line, such as \"*{text} *\""
            )),
            _ => Ok(Self::Name(text.into())),
        }
    }
}

impl Pattern {
    pub(crate) fn text(&self) -> &str {
        let (Self::Name(text) | Self::CommandLine(Glob { text, .. })) = self;
        text
    }

    pub(crate) fn allows(&self, leak: &Leak) -> bool {
        self.matches(&leak.stat.name, leak.executable.as_deref(), &leak.process.command)
    }

    /// `name` is that which the kernel keeps.
    pub(crate) fn matches(&self, name: &str, executable: Option<&OsStr>, command: &[OsString]) -> bool {
        match self {
            Self::Name(wanted) => {
                let paths = executable.into_iter().chain(command.first().map(OsString::as_os_str));
                name == wanted || paths.map(file_name).any(|it| it == *wanted)
            }
            Self::CommandLine(glob) => glob.matches_command(command),
        }
    }
}

impl Pattern {
    /// Whether it allows what has these names, and stands for these lines.
    pub(crate) fn allows_named(&self, names: &[&str], lines: &[String]) -> bool {
        match self {
            Self::Name(name) => names.contains(&name.as_str()),
            Self::CommandLine(glob) => lines.iter().any(|line| glob.regex.is_match(line)),
        }
    }
}

/// Whether one of the patterns allows a process of which only the name was read. The command line is read
/// only if a pattern needs it and time is left.
pub(crate) fn allows_undescribed(patterns: &[Pattern], process: &Undescribed, has_time: bool) -> bool {
    let needs_more = patterns.iter().any(|it| matches!(it, Pattern::CommandLine(_)));
    let read = (needs_more && has_time).then(|| ProcessInfo::read(process.pid)).flatten();
    patterns.iter().any(|pattern| match pattern {
        Pattern::Name(name) => is_kernel_name_of(&process.name, name),
        Pattern::CommandLine(glob) => read.as_ref().is_some_and(|it| glob.matches_command(&it.command)),
    })
}

fn is_kernel_name_of(kept: &str, name: &str) -> bool {
    name == kept || (kept.len() == KERNEL_NAME && name.starts_with(kept))
}

/// `x` for `/usr/bin/x (deleted)`.
fn file_name(path: &OsStr) -> String {
    let path = path.to_string_lossy();
    let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
    path.rsplit('/').next().unwrap_or_default().to_string()
}

/// A pattern with wildcards, as a regular expression. Matching takes time linear in the text.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    text: String,
    regex: Regex,
}

impl Glob {
    fn new(text: &str) -> Result<Self, String> {
        let body: String = text
            .chars()
            .map(|c| match c {
                '*' => ".*".to_string(),
                '?' => ".".to_string(),
                c => regex::escape(c.encode_utf8(&mut [0; 4])),
            })
            .collect();
        let regex = Regex::new(&format!(r"\A(?s:{body})\z"))
            .map_err(|_| "the pattern is too long; write a shorter one, with `*` for the rest".to_string())?;
        Ok(Self { text: text.to_string(), regex })
    }

    fn matches_command(&self, command: &[OsString]) -> bool {
        let words: Vec<_> = command.iter().map(|it| it.to_string_lossy()).collect();
        self.regex.is_match(&words.join(" "))
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).unwrap().regex.is_match(text)
    }

    #[test]
    fn a_star_matches_anything_and_a_question_mark_one_character() {
        for (pattern, text) in [
            ("*", ""),
            ("a*c", "abbc"),
            ("*b*c", "abcbc"),
            ("?x ?", "ax é"),
            ("a b", "a b"),
            ("*c", "a\nb\nc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a", "ab"), ("*b", "abc"), ("?", ""), ("a*b*c", "acb"), ("a", "a\n")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn regular_expression_characters_are_literal() {
        for text in ["a.b", "a+", "(a|b)", "[a]", "^a$", r"a\d", "a{2}", "a-b", "#a &&b"] {
            assert!(matches(text, text), "{text}");
        }
        assert!(!matches("a.b *", "axb c"));
        assert!(!matches("[ab] *", "a c"));
    }

    #[test]
    fn invalid_patterns_are_refused() {
        assert!("".parse::<Pattern>().is_err());
        assert!("/usr/bin/ssh-agent".parse::<Pattern>().unwrap_err().contains("is a path"));
        assert!("?".repeat(1 << 16).parse::<Pattern>().unwrap_err().contains("too long"));
    }

    #[test]
    fn patterns_are_passed_on_in_a_variable() {
        let patterns = ["ssh-agent", "*--type=\"a\", b*\n?"].map(|it| it.parse::<Pattern>().unwrap());
        assert_eq!(from_variable(&to_variable(&patterns)), patterns);
        assert_eq!(from_variable("[\"\", \"/bin/x\"]"), []);
        assert_eq!(from_variable("ssh-agent"), []);
    }

    #[test]
    fn the_kernel_keeps_15_bytes_of_a_name() {
        assert!(is_kernel_name_of("a-rather-long-n", "a-rather-long-name"));
        assert!(!is_kernel_name_of("a-rather-long", "a-rather-long-name"));
    }

    /// Matches by the definition of a wildcard, however long it takes.
    fn matches_by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            (['*', rest @ ..], text) => (0..=text.len()).any(|at| matches_by_definition(rest, &text[at..])),
            (['?', rest @ ..], [_, text @ ..]) => matches_by_definition(rest, text),
            ([c, rest @ ..], [d, text @ ..]) => c == d && matches_by_definition(rest, text),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_as_it_is_defined(pattern in "[ab*?.+é\n]{0,8}", text in "[ab.+é\n]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let wanted = matches_by_definition(&chars(&pattern), &chars(&text));
            prop_assert_eq!(matches(&pattern, &text), wanted);
        }
    }
}
