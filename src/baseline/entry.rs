//! One known leak: whose it is, and what it runs.

use std::fmt;

use super::pattern::NamePattern;
use crate::containers::CONTAINER;
use crate::leaks::Owner;

/// A line of the baseline. Lines are sorted by whose they are, then by the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub owner: KnownOwner,
    /// The key of the program, as [`crate::leaks::program`] forms it.
    pub program: String,
    /// How many of these one test can leave running; `None` for any number.
    pub at_most: Option<usize>,
}

/// The owners that an entry stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KnownOwner {
    Test(NamePattern),
    Worker(NamePattern),
    Service(NamePattern),
    /// The command, during an unknown test or none.
    Unknown,
}

/// A leak that no entry lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnlistedLeak {
    pub owner: Owner,
    pub program: String,
}

impl Entry {
    pub(super) fn is_of_container(&self) -> bool {
        self.program.starts_with(CONTAINER)
    }

    pub(super) fn matches(&self, owner: &Owner, program: &str) -> bool {
        self.program == program
            && match (&self.owner, owner) {
                (KnownOwner::Test(pattern), Owner::Test(name))
                | (KnownOwner::Worker(pattern), Owner::Worker(name))
                | (KnownOwner::Service(pattern), Owner::Service(name)) => pattern.matches(name),
                (KnownOwner::Unknown, Owner::Unknown) => true,
                _ => false,
            }
    }

    /// The key and the pattern of its owner, if it has one.
    pub(crate) fn owner_key(&self) -> Option<(&'static str, &str)> {
        match &self.owner {
            KnownOwner::Test(pattern) => Some(("test", pattern.text())),
            KnownOwner::Worker(pattern) => Some(("worker", pattern.text())),
            KnownOwner::Service(pattern) => Some(("service", pattern.text())),
            KnownOwner::Unknown => None,
        }
    }
}

impl From<UnlistedLeak> for Entry {
    fn from(leak: UnlistedLeak) -> Self {
        let owner = match leak.owner.in_any_run() {
            Owner::Test(name) => KnownOwner::Test(NamePattern::of(&name)),
            Owner::Worker(name) => KnownOwner::Worker(NamePattern::new(name)),
            Owner::Service(name) => KnownOwner::Service(NamePattern::of(&name)),
            Owner::Unknown => KnownOwner::Unknown,
        };
        Self { owner, program: leak.program, at_most: None }
    }
}

/// `{ test = "tests/test_a.py::test_b", program = "sleep 900" }`
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ ")?;
        if let Some((key, pattern)) = self.owner_key() {
            write!(f, "{key} = {}, ", quoted(pattern))?;
        }
        write!(f, "program = {}", quoted(&self.program))?;
        if let Some(at_most) = self.at_most {
            write!(f, ", at_most = {at_most}")?;
        }
        f.write_str(" }")
    }
}

/// A string of TOML, in one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\U{:08x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
