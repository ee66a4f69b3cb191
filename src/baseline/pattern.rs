//! Names in which `*` stands for anything. `\*` is a star; a backslash before anything else is itself, because names of
//! tests contain backslashes.

/// A name, or several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamePattern {
    text: String,
}

impl NamePattern {
    pub(super) fn new(text: String) -> Self {
        Self { text }
    }

    /// The pattern that matches only this name.
    pub(super) fn of(name: &str) -> Self {
        Self { text: name.replace('*', r"\*") }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let parts = self.literals();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        if parts.len() == 1 {
            return rest.is_empty();
        }
        for part in &parts[1..parts.len() - 1] {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_str())
    }

    /// What stands before, between and after the wildcards.
    fn literals(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let mut part = String::new();
        let mut chars = self.text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' if chars.peek() == Some(&'*') => part.extend(chars.next()),
                '*' => parts.push(std::mem::take(&mut part)),
                c => part.push(c),
            }
        }
        parts.push(part);
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        NamePattern::new(pattern.into()).matches(name)
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in [
            ("a.py::b[*]", "a.py::b[x-1]"),
            ("a.py::b[*]", "a.py::b[]"),
            ("*", ""),
            ("a*b*c", "abbcbc"),
            (r"a\*", "a*"),
            (r"a\\*", r"a\*"),
            (r"a[\xe9]", r"a[\xe9]"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a.py::b[*]", "a.py::b"), (r"a\*", "ab"), ("ax*xa", "axa"), ("a", "ab"), ("", "a"), ("a*", "b")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn the_pattern_of_a_name_matches_only_that_name(name in r"[a*\\\[]{0,8}", other in r"[a*\\\[]{0,8}") {
            let pattern = NamePattern::of(&name);
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.matches(&other), name == other);
        }
    }
}
