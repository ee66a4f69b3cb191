//! Which baseline a session uses, and whether it changes it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::decide::without_tilde;
use crate::baseline::{Baseline, BaselineError, FILE_NAME};
use crate::cli::RunOptions;
use crate::config::{Config, TrustedUsers};
use crate::runtime::ci::Ci;

/// The baseline of a session.
#[derive(Debug)]
pub(crate) struct BaselinePlan {
    pub baseline: Baseline,
    pub purpose: Purpose,
}

impl BaselinePlan {
    /// Which file is used, for people.
    pub(crate) fn text(&self) -> String {
        format!("using the baseline {}", self.baseline.path.display())
    }

    /// The file, if the session changes it.
    pub(crate) fn written(&self) -> Option<&Path> {
        (self.purpose != Purpose::Judge).then_some(&self.baseline.path)
    }
}

/// What a baseline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To tell known leaks from new ones.
    Judge,
    /// The same, after the new ones have been added.
    Write,
    /// The same, and then to remove what no longer leaks.
    Update,
}

/// Reads the baseline: the file that the options or the config name, or else the one next to the config, or in the working
/// directory if there is no config.
pub(crate) fn baseline(
    options: &RunOptions,
    config: Option<&Config>,
    cwd: &Path,
    trusted: &TrustedUsers,
) -> Result<Option<BaselinePlan>> {
    let purpose = match (options.write_baseline, options.update_baseline) {
        (true, _) => Purpose::Write,
        (_, true) => Purpose::Update,
        _ => Purpose::Judge,
    };
    let changes_it = purpose != Purpose::Judge;
    if let Some(ci) = changes_it.then(Ci::detect).flatten() {
        bail!(
            "{} is refused in CI ({}), where nobody reviews how it changes the baseline; use it where you commit the file, and if that is this job, set CI=false",
            if purpose == Purpose::Write { "--write-baseline" } else { "--update-baseline" },
            ci.why(),
        );
    }
    let directory = config.map_or(cwd, Config::directory);
    let named = named(options, config, cwd)?;
    let is_named = named.is_some();
    let path = named.unwrap_or_else(|| directory.join(FILE_NAME));
    let found = match is_named {
        true => Baseline::read(&path)?,
        false if options.config.no_config && !changes_it => None,
        false => Baseline::find(directory, trusted)?,
    };
    let baseline = match found {
        Some(found) => found,
        None if purpose == Purpose::Write => Baseline::empty(path),
        None if is_named || purpose == Purpose::Update => {
            return Err(BaselineError::Unreadable { path, reason: "there is no such file".into() }.into());
        }
        None => return Ok(None),
    };
    Ok(Some(BaselinePlan { baseline, purpose }))
}

fn named(options: &RunOptions, config: Option<&Config>, cwd: &Path) -> Result<Option<PathBuf>> {
    let configured = config.and_then(|config| Some((config, config.keys.session.baseline.as_ref()?)));
    let (base, path) = match (&options.baseline, configured) {
        (Some(path), _) => (cwd, path.as_path()),
        (None, Some((config, path))) => (config.directory(), Path::new(&path.0)),
        (None, None) => return Ok(None),
    };
    without_tilde(path)?;
    Ok(Some(base.join(path)))
}
