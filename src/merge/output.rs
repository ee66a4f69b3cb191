//! Where the renderings go: files, each of which is written completely or not at all, or stdout.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::overview::Overview;
use super::{document, html, junit, markdown, text};
use crate::config::OnLeak;
use crate::report::ReportFile;
use crate::text::plain;

/// A rendering of merged reports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Html,
    Json,
    Junit,
    Markdown,
    Summary,
}

/// What to write where.
#[derive(Debug)]
pub(crate) struct Outputs(Vec<(Format, PathBuf)>);

impl Outputs {
    pub(crate) fn new(outputs: Vec<(Format, PathBuf)>) -> Result<Self> {
        if outputs.iter().filter(|(_, path)| is_stdout(path)).count() > 1 {
            bail!("only one of the outputs can go to stdout; give each of the others a file");
        }
        for (at, (_, path)) in outputs.iter().enumerate() {
            if outputs[..at]
                .iter()
                .any(|(_, other)| std::path::absolute(other).ok() == std::path::absolute(path).ok())
            {
                bail!("two outputs would be written to {}; give each its own file", path.display());
            }
        }
        Ok(Self(outputs))
    }

    /// Whether only the text is printed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(_, path)| path.as_path()).filter(|path| !is_stdout(path))
    }

    /// Fails if one of the files cannot be written.
    pub(crate) fn prepare(&self) -> Result<Drafts<'_>> {
        let files = self.0.iter().filter(|(_, path)| !is_stdout(path));
        let drafts = files.map(|(format, path)| Ok((Draft::prepare(path)?, *format)));
        Ok(Drafts(drafts.collect::<Result<_>>()?))
    }

    /// Writes the files, and returns what goes to stdout: the text if nothing else is asked for.
    pub(crate) fn write(&self, overview: &Overview<'_>, on_leak: OnLeak) -> Result<String> {
        self.prepare()?.write(overview, on_leak)?;
        match self.0.iter().find(|(_, path)| is_stdout(path)) {
            Some((format, _)) => render(*format, overview, on_leak),
            None if self.0.is_empty() => Ok(text::text(overview)),
            None => Ok(String::new()),
        }
    }
}

/// The files that are to be written.
#[derive(Debug)]
pub(crate) struct Drafts<'a>(Vec<(Draft<'a>, Format)>);

impl Drafts<'_> {
    pub(crate) fn write(&self, overview: &Overview<'_>, on_leak: OnLeak) -> Result<()> {
        // Only one text is in memory at a time.
        self.0.iter().try_for_each(|(draft, format)| draft.write(&render(*format, overview, on_leak)?))
    }
}

/// A file whose old content stays until the new one is complete, since it can be the night to compare with.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    file: ReportFile,
    /// As the user has named it.
    path: &'a Path,
}

impl<'a> Draft<'a> {
    /// Fails if the file cannot be written.
    pub(crate) fn prepare(path: &'a Path) -> Result<Self> {
        let file = Self::open(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Self { file, path })
    }

    fn open(path: &Path) -> io::Result<ReportFile> {
        let mut file = match ReportFile::of_pipe(path)? {
            Some(pipe) => pipe,
            None => ReportFile::resolve(path, std::process::id(), &mut Vec::new())?,
        };
        file.create_placeholder()?;
        Ok(file)
    }

    pub(crate) fn write(&self, text: &str) -> Result<()> {
        self.file.write(text).map_err(|error| cannot_write(self.path, &error))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.file.remove_placeholder();
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> anyhow::Error {
    let reason = plain(error);
    anyhow!("cannot write {}: {reason}; name a file in a directory that you can write to", path.display())
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn render(format: Format, overview: &Overview<'_>, on_leak: OnLeak) -> Result<String> {
    Ok(match format {
        Format::Html => html::page(overview),
        Format::Json => document::json(overview)?,
        Format::Junit => junit::page(overview, on_leak)?,
        Format::Markdown => markdown::page(overview),
        Format::Summary => text::line(overview),
    })
}
