//! What executes the code of a process, and thereby which tool can read its stack.

use std::path::{Path, PathBuf};

use super::collect::Target;
use super::rules::Rules;
use super::tool::{Intrusion, Way};
use super::{java, kernel, native, node, python};

/// Their stacks say nothing about the scripts that they run.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "ash"];
/// What they wait for says all about them.
const TOOLS: [&str; 9] = ["cat", "env", "flock", "head", "sleep", "tail", "tee", "timeout", "xargs"];

/// How to get the stack of this process.
pub(super) fn way(target: &Target, rules: &Rules, intrusion: Intrusion) -> Way {
    if target.state == 'D' {
        return kernel::way(target);
    }
    match rules.way(target) {
        // Nobody knows what such a tool does to the process.
        Some(Way::Tools(_)) if intrusion == Intrusion::None => return Way::Useless,
        Some(way) => return way,
        None => {}
    }
    let name = target.program();
    match name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') {
        "python" => python::way(target, intrusion),
        "java" => java::way(target, intrusion),
        "node" | "nodejs" => node::way(target, intrusion),
        name if SHELLS.contains(&name) || TOOLS.contains(&name) => Way::Useless,
        _ if target.is_end => native::way(target, intrusion),
        _ => Way::Useless,
    }
}

impl Target {
    /// Where its program is.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        Some(Path::new(self.executable.as_ref()?).parent()?.to_path_buf())
    }

    /// The name of its program.
    pub(super) fn program(&self) -> String {
        let path = self.executable.as_ref().or(self.command.first());
        let name = path.and_then(|path| Path::new(path).file_name()).unwrap_or_default().to_string_lossy();
        name.strip_suffix(" (deleted)").unwrap_or(&name).to_string()
    }
}
