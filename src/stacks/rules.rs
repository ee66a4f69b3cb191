//! Which tool the user wants for which program (`[diagnose]`).

use std::path::{Path, PathBuf};

use super::collect::Target;
use super::stack::Section;
use super::tool::{Tool, Way};
use crate::leaks::allow::Pattern;
use crate::sys::search_path::on_path;

/// Stands for the process in the arguments of a tool.
pub(crate) const PID: &str = "{pid}";

/// Those with the longest patterns first, because these say the most about a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    rules: Vec<(Pattern, Vec<String>)>,
    /// A tool's path is relative to this.
    directory: PathBuf,
}

impl Rules {
    /// A pattern without words wants no stack.
    pub(crate) fn new(mut rules: Vec<(Pattern, Vec<String>)>, directory: &Path) -> Self {
        rules.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.text().chars().count()));
        Self { rules, directory: directory.into() }
    }

    /// `None` if there is no rule for this program.
    pub(super) fn way(&self, target: &Target) -> Option<Way> {
        let executable = target.executable.as_deref();
        let is_for = |(pattern, _): &&(Pattern, Vec<String>)| {
            pattern.matches(target.kernel_name(), executable, &target.command)
        };
        let (_, words) = self.rules.iter().find(is_for)?;
        let Some((name, arguments)) = words.split_first() else { return Some(Way::Useless) };
        let found = if name.contains('/') {
            Some(self.directory.join(name)).filter(|it| it.is_file())
        } else {
            on_path(name)
        };
        let Some(path) = found else { return Some(Way::No(format!("{name} of [diagnose] is not there"))) };
        let pid = target.pid.to_string();
        let mut tool = Tool::new(path, [], lines);
        tool.arguments = arguments.iter().map(|word| word.replace(PID, &pid).into()).collect();
        Some(Way::Tools(vec![tool]))
    }
}

fn lines(output: &str) -> Vec<Section> {
    let lines: Vec<_> =
        output.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(String::from).collect();
    if lines.is_empty() { Vec::new() } else { vec![Section { title: String::new(), lines }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pattern_comes_first() {
        let rule = |text: &str| (text.parse().unwrap(), Vec::new());
        let rules = Rules::new(vec![rule("a"), rule("a *"), rule("*a b*"), rule("c *")], Path::new("/x"));
        let texts: Vec<_> = rules.rules.iter().map(|(pattern, _)| pattern.text()).collect();
        assert_eq!(texts, ["*a b*", "a *", "c *", "a"]);
    }

    #[test]
    fn empty_lines_are_no_stack() {
        assert!(lines("\n \n").is_empty());
        assert_eq!(lines("a \n\n  b\n")[0].lines, ["a", "  b"]);
    }
}
