//! The CI system that runs cgrun, recognized by the variable that it documents.

use std::ffi::{OsStr, OsString};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ci {
    GitHub,
    GitLab,
    Azure,
    Buildkite,
    Circle,
    Jenkins,
    TeamCity,
    Travis,
    /// It sets only `CI`.
    Other,
}

/// Each sets its variable to `true` (Azure to `True`), or to a version or an address.
const SIGNS: [(&str, Ci); 8] = [
    ("GITHUB_ACTIONS", Ci::GitHub),
    ("GITLAB_CI", Ci::GitLab),
    ("TF_BUILD", Ci::Azure),
    ("BUILDKITE", Ci::Buildkite),
    ("CIRCLECI", Ci::Circle),
    ("JENKINS_URL", Ci::Jenkins),
    ("TEAMCITY_VERSION", Ci::TeamCity),
    ("TRAVIS", Ci::Travis),
];

impl Ci {
    /// The one answer to whether we are in CI; `None` if we are not, or if the variable `CI` denies it.
    pub(crate) fn detect() -> Option<Self> {
        Self::detect_in(|name| std::env::var_os(name))
    }

    fn detect_in(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let generic = variable("CI");
        if generic.as_deref().is_some_and(is_off) {
            return None;
        }
        let is_on = |name: &str| variable(name).is_some_and(|value| !is_off(&value));
        let known = SIGNS.into_iter().find(|(name, _)| is_on(name)).map(|(_, ci)| ci);
        known.or_else(|| generic.map(|_| Self::Other))
    }

    /// Whether GitHub's runner runs us, and will kill us after it has cancelled the job. `CI=false` cannot change that.
    pub(crate) fn is_killed_by_github() -> bool {
        let name = SIGNS.into_iter().find(|(_, ci)| *ci == Self::GitHub).map(|(name, _)| name);
        name.and_then(std::env::var_os).is_some_and(|value| !is_off(&value))
    }

    /// Completes the sentence "used, because ...".
    pub(crate) fn why(self) -> String {
        match self {
            Self::Other => "the variable CI is set".into(),
            known => format!("{known} runs cgrun"),
        }
    }
}

/// Whether the value of a variable denies what its name says.
fn is_off(value: &OsStr) -> bool {
    let value = value.to_string_lossy().to_lowercase();
    ["", "0", "false"].contains(&value.as_str())
}

impl fmt::Display for Ci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitHub => "GitHub Actions",
            Self::GitLab => "GitLab CI",
            Self::Azure => "Azure Pipelines",
            Self::Buildkite => "Buildkite",
            Self::Circle => "CircleCI",
            Self::Jenkins => "Jenkins",
            Self::TeamCity => "TeamCity",
            Self::Travis => "Travis CI",
            Self::Other => "yes (an unknown system)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(variables: &[(&str, &str)]) -> Option<Ci> {
        Ci::detect_in(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn each_system_is_recognized_by_its_variable() {
        for (name, ci) in SIGNS {
            for value in ["true", "True", "1", "https://ci.example/"] {
                assert_eq!(detected(&[(name, value)]), Some(ci), "{name}={value}");
                assert_eq!(detected(&[(name, value), ("CI", "true")]), Some(ci), "{name}={value}");
            }
            for value in ["", "0", "false", "FALSE"] {
                assert_eq!(detected(&[(name, value)]), None, "{name}={value}");
                assert_eq!(detected(&[(name, value), ("CI", "1")]), Some(Ci::Other), "{name}={value}");
            }
        }
    }

    #[test]
    fn the_variable_ci_has_the_last_word() {
        for value in ["true", "1", "yes", "woodpecker"] {
            assert_eq!(detected(&[("CI", value)]), Some(Ci::Other), "CI={value}");
        }
        for value in ["", "0", "false", "False", "FALSE"] {
            assert_eq!(detected(&[("CI", value)]), None, "CI={value}");
            assert_eq!(detected(&[("CI", value), ("GITHUB_ACTIONS", "true")]), None, "CI={value}");
        }
        assert_eq!(detected(&[]), None);
    }
}
