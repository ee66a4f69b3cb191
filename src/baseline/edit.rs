//! Edits the text of a baseline line by line, so that what people wrote between the lines stays.

use std::collections::BTreeSet;
use std::ops::Range;

use super::entry::Entry;
use super::error::BaselineError;
use super::file::{Baseline, Line};
use super::judge::Judgement;

const HEADER: &str = "\
# Leaks that are known: cgrun ends them, and does not count them. One on each line; in names, * stands for anything.
# at_most = 3 bounds how many of them a test can leave running.
version = 1
leaks = [
]
";

/// The text after an edit, and how much was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edited {
    pub text: String,
    /// How many entries it has.
    pub entry_count: usize,
    pub added: usize,
    pub removed: Vec<Entry>,
    /// How many bounds were changed.
    pub rebound: usize,
}

impl Edited {
    /// Whether anything was changed.
    pub(crate) fn is_different(&self) -> bool {
        self.added + self.removed.len() + self.rebound > 0
    }
}

/// Text that replaces what is at this place.
type Change = (Range<usize>, String);

impl Baseline {
    /// The text with everything that leaked.
    pub(crate) fn with_leaks(&self, judgement: &Judgement) -> Result<Edited, BaselineError> {
        let base = match self.list {
            Some(_) => self.clone(),
            None if self.text.trim().is_empty() => Self::parse(&self.path, HEADER.into())?,
            None => Self::parse(&self.path, format!("{}\nleaks = [\n]\n", self.text.trim_end()))?,
        };
        let is_in_brackets = |list: &Range<usize>| {
            base.text.get(list.clone()).is_some_and(|list| list.starts_with('[') && !list.starts_with("[["))
        };
        if !base.list.as_ref().is_some_and(is_in_brackets) {
            return Err(BaselineError::Layout { path: self.path.clone() });
        }
        let new: BTreeSet<Entry> = judgement.unlisted.iter().cloned().map(Entry::from).collect();
        let raised = base.rebounds(judgement, |seen, bound| seen > bound);
        let added = base.additions(&new);
        let edited = Edited { added: new.len(), rebound: raised.len(), ..Edited::default() };
        base.edited([raised, added].concat(), edited)
    }

    /// The text without the entries that were not seen, and with the lowest bounds that hold.
    pub(crate) fn without_unseen(&self, judgement: &Judgement) -> Result<Edited, BaselineError> {
        let lowered = self.rebounds(judgement, |seen, bound| 0 < seen && seen < bound);
        let lines = self.lines.iter().zip(&judgement.seen).filter(|(_, seen)| **seen == Some(0));
        let lines: Vec<_> = lines.map(|(line, _)| line).collect();
        let changes = lines.iter().map(|line| (self.whole_line(line), String::new())).collect();
        let removed = lines.iter().map(|line| line.entry.clone()).collect();
        let edited = Edited { removed, rebound: lowered.len(), ..Edited::default() };
        self.edited([lowered, changes].concat(), edited)
    }

    fn rebounds(&self, judgement: &Judgement, has_to: impl Fn(usize, usize) -> bool) -> Vec<Change> {
        let lines = self.lines.iter().zip(&judgement.seen);
        lines
            .filter_map(|(line, &seen)| {
                let seen = seen?;
                let place =
                    line.at_most.clone().filter(|_| has_to(seen, line.entry.at_most.unwrap_or(seen)))?;
                Some((place, seen.to_string()))
            })
            .collect()
    }

    /// Each new entry goes after the last one that is sorted before it, or else to the beginning of the list.
    fn additions(&self, new: &BTreeSet<Entry>) -> Vec<Change> {
        let Some(list) = &self.list else { return Vec::new() };
        let mut changes: Vec<Change> = Vec::new();
        for entry in new {
            let before =
                self.lines.iter().filter(|line| line.entry <= *entry).max_by_key(|line| line.span.end);
            let (place, comma) = match before {
                Some(line) => self.end_of(line),
                None => (self.end_of_line(list.start + 1), None),
            };
            changes.extend(comma.map(|at| (at..at, ",".into())).filter(|it| !changes.contains(it)));
            let text = format!("\n  {entry},");
            match changes.iter_mut().find(|(it, text)| it.start == place && text.starts_with('\n')) {
                Some((_, before)) => before.push_str(&text),
                None => changes.push((place..place, text)),
            }
        }
        let end = list.end - 1;
        let is_before_bracket = |(place, _): &&mut Change| self.text[place.start..end].trim().is_empty();
        if let Some((place, text)) =
            changes.iter_mut().filter(|(_, text)| text != ",").find(is_before_bracket)
        {
            if !self.text[place.start..end].contains('\n') {
                text.push('\n');
            }
        }
        changes
    }

    /// The place for what comes after this entry, and where a comma is missing.
    fn end_of(&self, line: &Line) -> (usize, Option<usize>) {
        match self.comma_after(line) {
            Some(comma) => (self.end_of_line(comma + 1), None),
            None => (self.end_of_line(line.span.end), Some(line.span.end)),
        }
    }

    /// Where its comma is, which can be on another line, below a comment.
    fn comma_after(&self, line: &Line) -> Option<usize> {
        let mut at = line.span.end;
        loop {
            let rest = &self.text[at..];
            match rest.chars().next()? {
                ',' => return Some(at),
                '#' => at += rest.find('\n')?,
                c if c.is_whitespace() => at += c.len_utf8(),
                _ => return None,
            }
        }
    }

    /// The end of the line, if only a comment is left in it.
    fn end_of_line(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        let line = rest.split('\n').next().unwrap_or_default();
        let is_over = matches!(line.trim_start().chars().next(), None | Some('#'));
        if is_over { at + line.trim_end_matches('\r').len() } else { at }
    }

    /// An entry with its comma, and with its line if it has that for itself.
    fn whole_line(&self, line: &Line) -> Range<usize> {
        let (end, _) = self.end_of(line);
        let start = self.text[..line.span.start].rfind('\n').map_or(0, |at| at + 1);
        let is_alone = self.text[start..line.span.start].trim().is_empty();
        match self.text[end..].find('\n').filter(|&at| self.text[end..end + at].trim().is_empty()) {
            Some(at) if is_alone => start..end + at + 1,
            _ => line.span.start..self.comma_after(line).map_or(line.span.end, |comma| comma + 1),
        }
    }

    /// Applies the changes, and checks that the result has the entries that it should have.
    fn edited(&self, mut changes: Vec<Change>, edited: Edited) -> Result<Edited, BaselineError> {
        changes.sort_by_key(|(place, text)| (place.start, text != ","));
        let mut text = self.text.clone();
        for (place, new) in changes.iter().rev() {
            text.replace_range(place.clone(), new);
        }
        let count = self.lines.len() + edited.added - edited.removed.len();
        match Self::parse(&self.path, text) {
            Ok(result) if result.lines.len() == count => {
                Ok(Edited { text: result.text, entry_count: count, ..edited })
            }
            _ => Err(BaselineError::Layout { path: self.path.clone() }),
        }
    }
}
