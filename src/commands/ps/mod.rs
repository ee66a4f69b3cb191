//! `cgrun ps`: lists the processes of a session, with the test that started each, and ends what a test has left.

mod document;
mod ending;
mod known;
mod listing;
mod reporting;
mod selection;
mod table;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::output::print;
use crate::registry::{Members, Session, find_session, members};
use crate::report::Reporter;
use crate::runtime::exit_code::{Exit, NOT_CLEAN, NOT_PROVEN};
use document::{Document, ProcessRow};
use ending::Outcome;
use listing::{Listed, Surroundings, list};
use reporting::ToReport;
use selection::Caller;
pub(crate) use selection::Selection;
pub(crate) use token::Token;

const KEEPS_APPEARING: &str =
    "processes keep appearing, and some of them are still running; cgrun ends them with the session";
/// Processes that fork all the time are ended in this many rounds, or reported.
const ROUNDS: usize = 20;

#[derive(Debug)]
pub(crate) struct Request {
    pub id: Option<String>,
    pub json: bool,
    pub token: bool,
    /// Says only which leaks are known.
    pub known: bool,
    pub selection: Selection,
    pub settle: Duration,
    /// Ends what is selected, with this grace.
    pub end: Option<Duration>,
}

impl Request {
    /// The test whose name can be misspelt. Hooks ask after each test, end what they find, and expect nothing.
    fn nothing_during(&self, found: &Found) -> Option<&str> {
        let is_for_people = !self.json && self.end.is_none() && found.undescribed == 0;
        self.selection.during.as_deref().filter(|_| is_for_people && found.listed.is_empty())
    }
}

/// What was found of a session.
struct Found {
    listed: Vec<Listed>,
    /// What came of ending each of them, if that was asked for.
    outcomes: Vec<Outcome>,
    undescribed: usize,
    /// Why the session's report will lack some of them.
    unreported: Option<String>,
    /// Whether new processes appeared faster than they could be ended.
    keeps_appearing: bool,
}

pub(crate) fn ps(request: &Request, records: impl FnOnce() -> PathBuf, reporter: &Reporter) -> Result<Exit> {
    if request.known {
        return known::print_known();
    }
    let token = Token::now()?;
    if request.token {
        return print(&format!("{token}\n"));
    }
    request.selection.new_since.map(Token::check).transpose()?;
    let session = find_session(request.id.as_deref(), "ps", records)?;
    let found = find(request, &session)?;
    if found.undescribed > 0 {
        reporter.error(&format!("{} more of session {} cannot be described", found.undescribed, session.id));
    }
    if let Some(test) = request.nothing_during(&found) {
        let id = &session.id;
        reporter.say(&format!(
            "session {id} runs nothing that was started during a test called {test}; for all that it runs: cgrun ps {id}"
        ));
    }
    let keeps_appearing = found.keeps_appearing.then_some(KEEPS_APPEARING);
    let failed = found.outcomes.iter().filter_map(|outcome| outcome.as_ref().err().map(String::as_str));
    let failures: Vec<_> = failed.chain(keeps_appearing).chain(found.unreported.as_deref()).collect();
    failures.iter().for_each(|failure| reporter.error(failure));
    let counted = found.listed.iter().any(|it| !it.is_allowed);
    let code = match () {
        () if found.undescribed > 0 || !failures.is_empty() => NOT_PROVEN,
        () if counted && !request.selection.is_everything() => NOT_CLEAN,
        () => 0,
    };
    match print(&text(request, &session, token, &found)?)? {
        Exit::Code(0) => Ok(Exit::Code(code)),
        broken => Ok(broken),
    }
}

fn find(request: &Request, session: &Session) -> Result<Found> {
    let first = members(session)?;
    let surroundings = Surroundings::of(session, &first);
    let caller = Caller::find(&surroundings.inherited);
    let look = |members: Members| {
        let listing = list(members, &surroundings, request.selection.new_since);
        if request.selection.new_since.is_some() && !caller.is_in(&listing) {
            bail!(
                "--new-since selects what its caller has started, but session {} has not started cgrun ps; use --during, or \
                 call it in the session",
                session.id
            );
        }
        let undescribed = listing.undescribed;
        anyhow::Ok((request.selection.select(listing, &caller), undescribed))
    };
    let (mut listed, mut undescribed) = look(first)?;
    if !request.settle.is_zero() && !listed.is_empty() {
        let keys: Vec<_> = listed.iter().map(|it| it.process.key()).collect();
        ending::settle(&keys, request.settle);
        (listed, undescribed) = look(members(session)?)?;
    }
    let mut found =
        Found { listed, outcomes: Vec::new(), undescribed, unreported: None, keeps_appearing: false };
    let Some(grace) = request.end else { return Ok(found) };
    let mut new = std::mem::take(&mut found.listed);
    for round in 0.. {
        let is_known = |it: &Listed| found.listed.iter().any(|old| old.process.key() == it.process.key());
        new.retain(|it| !it.is_allowed && !is_known(it));
        found.keeps_appearing = round == ROUNDS && !new.is_empty();
        if round == ROUNDS || new.is_empty() {
            break;
        }
        let keys: Vec<_> = new.iter().map(|it| it.process.key()).collect();
        let to_report = ToReport::of(&new);
        let outcomes = ending::end(&keys, grace);
        found.unreported = surroundings.reported_to.report(to_report, &outcomes).or(found.unreported);
        found.outcomes.extend(outcomes);
        found.listed.append(&mut new);
        // What one of them has started meanwhile.
        (new, found.undescribed) = look(members(session)?)?;
    }
    Ok(found)
}

fn text(request: &Request, session: &Session, token: Token, found: &Found) -> Result<String> {
    if request.json {
        let mut document = Document::new(session.id.to_string(), token.to_string(), found.undescribed);
        let row = |(at, it): (usize, &Listed)| ProcessRow::new(it, found.outcomes.get(at));
        document.summary = (!found.outcomes.is_empty()).then(|| table::ended(&found.listed, &found.outcomes));
        document.shard = session.shard();
        document.processes = found.listed.iter().enumerate().map(row).collect();
        return Ok(serde_json::to_string_pretty(&document)? + "\n");
    }
    Ok(match &found.listed[..] {
        [] if !request.selection.is_everything() => String::new(),
        listed if request.end.is_some() => table::ended(listed, &found.outcomes),
        listed => table::table(listed, table::width()),
    })
}
