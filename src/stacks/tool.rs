//! A tool that reads the stack of one process, and what its output says.

use std::ffi::OsString;
use std::path::PathBuf;

use super::stack::Section;

/// What the tools may do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intrusion {
    /// Only look.
    None,
    /// Also stop the process for a moment, or send it a signal that it handles.
    Brief,
}

#[derive(Debug)]
pub(super) struct Tool {
    /// For people.
    pub name: String,
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    /// What its output says; empty if it says nothing.
    pub read: fn(&str) -> Vec<Section>,
}

impl Tool {
    pub(super) fn new<const N: usize>(
        path: PathBuf,
        arguments: [&str; N],
        read: fn(&str) -> Vec<Section>,
    ) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, path, arguments: arguments.map(OsString::from).into(), read }
    }
}

/// How to get the stack of a process.
#[derive(Debug)]
pub(super) enum Way {
    /// It is known already: who says so, and what.
    Known(&'static str, Vec<Section>),
    /// By the first of these that can tell.
    Tools(Vec<Tool>),
    /// Not at all, for this reason.
    No(String),
    /// Its stack would say nothing.
    Useless,
}

impl Way {
    /// `install` tells what to do if there are no tools.
    pub(super) fn by(tools: Vec<Tool>, install: &str) -> Self {
        if tools.is_empty() { Self::No(install.into()) } else { Self::Tools(tools) }
    }
}
