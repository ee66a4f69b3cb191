//! The CI system that runs cgrun, recognized by the variable that it documents.

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
    /// `None` if no CI system runs us.
    pub(crate) fn detect() -> Option<Self> {
        let is_set =
            |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false");
        let known = SIGNS.into_iter().find(|(name, _)| is_set(name)).map(|(_, ci)| ci);
        known.or_else(|| is_set("CI").then_some(Self::Other))
    }
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
