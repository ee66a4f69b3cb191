//! Hides the names of home directories, so that the output can be posted in public.

/// The directory that has the home directories of users.
const HOMES: &[&str] = &["home"];

/// Replaces our home, and every other directory in `/home`, with `~`.
pub(super) struct HomeNames {
    /// The names of the directories on the path to our home; none if it tells nothing.
    own: Vec<String>,
}

impl HomeNames {
    pub(super) fn of_this_user() -> Self {
        Self::new(&std::env::var("HOME").unwrap_or_default())
    }

    pub(super) fn new(home: &str) -> Self {
        let own: Vec<_> =
            home.split('/').filter(|name| !matches!(*name, "" | ".")).map(String::from).collect();
        // `/root` is every root's home, and `/` is part of every path.
        let is_telling = home.starts_with('/') && own.len() > 1;
        Self { own: if is_telling { own } else { Vec::new() } }
    }

    /// The text without the names.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut hidden = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('/') {
            let before = rest[..at].chars().next_back();
            hidden += &rest[..at];
            rest = &rest[at..];
            let begins = !before.is_some_and(is_of_name);
            if let Some(length) = self.home_at_start(rest).filter(|_| begins) {
                hidden.push('~');
                rest = &rest[length..];
            }
            // The rest of this path is inside another directory.
            let end = rest.find(|it| it != '/' && !is_of_name(it)).unwrap_or(rest.len());
            hidden += &rest[..end];
            rest = &rest[end..];
        }
        hidden + rest
    }

    /// The length of the path to a home with which the text begins.
    fn home_at_start(&self, text: &str) -> Option<usize> {
        let own = (!self.own.is_empty()).then(|| after_directories(text, &self.own)).flatten();
        own.or_else(|| {
            let inside = after_directories(text, HOMES)?;
            let name = text[inside..].trim_start_matches('/');
            let length = name_length(name);
            (length > 0).then_some(text.len() - name.len() + length)
        })
    }
}

/// The length of the path with which the text begins, if it leads through these directories.
fn after_directories<S: AsRef<str>>(text: &str, names: &[S]) -> Option<usize> {
    let mut rest = text;
    for name in names {
        let inside = rest.trim_start_matches('/');
        let is_below = inside.len() < rest.len();
        let length = if inside.starts_with(name.as_ref()) { name.as_ref().len() } else { 0 };
        if !is_below || length == 0 || goes_on(&inside[length..]) {
            return None;
        }
        rest = &inside[length..];
    }
    Some(text.len() - rest.len())
}

/// Whether a name goes on with this text.
fn goes_on(text: &str) -> bool {
    name_length(text) > 0
}

/// The length of the name with which the text begins. A dot at the end ends a sentence.
fn name_length(text: &str) -> usize {
    let end = text.find(|it| !is_of_name(it)).unwrap_or(text.len());
    text[..end].trim_end_matches('.').len()
}

/// Whether a name can contain it, and a text that contains a path would not use it as punctuation.
fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || "-_.+@$~%\\".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_hidden(home: &str, cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(HomeNames::new(home).hide(text), *expected, "HOME={home}");
        }
    }

    #[test]
    fn no_home_keeps_its_name() {
        let cases = [
            ("a /home/ann/x b /home/bob\nc", "a ~/x b ~\nc"),
            ("/home/ann", "~"),
            ("x=/home/ann:/home/bob/bin", "x=~:~/bin"),
            ("file:///home/ann/x", "file:~/x"),
            ("/home//ann.b-c_d@corp$/x", "~/x"),
        ];
        assert_hidden("", &cases);
        assert_hidden("/home/ann", &cases);
    }

    #[test]
    fn our_home_is_hidden_anywhere() {
        let cases = [("in /data/ann/x and /data/anna", "in ~/x and /data/anna"), ("/data//ann/", "~/")];
        for home in ["/data/ann", "/data/ann/", "/data/ann//", "//data/./ann/"] {
            assert_hidden(home, &cases);
        }
        assert_hidden("/root/", &[("/root/x /root", "/root/x /root")]);
        assert_hidden("/", &[("/x/y", "/x/y")]);
        assert_hidden("data/ann", &[("/data/ann", "/data/ann")]);
    }

    #[test]
    fn punctuation_after_a_name_stays() {
        let cases = [
            ("(/home/bob), /home/bob; '/home/bob'", "(~), ~; '~'"),
            ("see /home/bob. And /home/bob...", "see ~. And ~..."),
            ("see /data/ann. Or /data/ann, (/data/ann)", "see ~. Or ~, (~)"),
            ("/data/ann.old /data/ann-2", "/data/ann.old /data/ann-2"),
        ];
        assert_hidden("/data/ann", &cases);
    }

    #[test]
    fn other_paths_stay() {
        let cases = [
            ("/srv/home/ann/x", "/srv/home/ann/x"),
            ("/mnt/data/ann", "/mnt/data/ann"),
            ("a/home/ann", "a/home/ann"),
            ("https://example.org/home/ann", "https://example.org/home/ann"),
            ("/home /home/ /homes/ann /home/.", "/home /home/ /homes/ann /home/."),
        ];
        assert_hidden("/data/ann", &cases);
    }
}
