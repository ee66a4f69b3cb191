//! Why the log of a service may be empty although the service has printed something.

use std::path::Path;

use super::program_lookup::interpreter_of;
use crate::plan::{Environment, Probe, ServicePlan};

/// If it is set to anything, Python does not buffer its output.
const UNBUFFERED: &str = "PYTHONUNBUFFERED";

/// What to do about that, if it is likely.
pub(super) fn hint(plan: &ServicePlan, env: &Environment) -> Option<&'static str> {
    let is_unbuffered = env.get(UNBUFFERED).is_some_and(|value| !value.is_empty())
        || plan.command.iter().any(|word| word == "-u");
    if is_python(plan, env) && !is_unbuffered {
        return Some(
            "Python buffers its output unless it goes to a terminal: set env = { PYTHONUNBUFFERED = \"1\" }",
        );
    }
    matches!(plan.probe, Probe::Log(_)).then_some(
        "many programs buffer their output unless it goes to a terminal: make it print at once, or run it through: stdbuf -oL",
    )
}

fn is_python(plan: &ServicePlan, env: &Environment) -> bool {
    let is_one = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("python") || name.starts_with("pypy")
    };
    let Some(name) = plan.command.first() else { return false };
    is_one(Path::new(name))
        || interpreter_of(name, env, &plan.cwd).is_some_and(|words| words.iter().any(|it| is_one(it)))
}
