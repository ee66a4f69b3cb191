//! The overview as JUnit XML: one suite for each session, with a case for its command and one for each test that leaked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::SHARD;
use super::merged::Sighting;
use super::overview::{Leak, News, Overview};
use super::session_result::SessionResult;
use crate::config::OnLeak;
use crate::leaks::Owner;
use crate::report::legal;

/// A program, how many of it leaked, and whether that is a failure.
type Program<'a> = (&'a Leak<'a>, u64, bool);

pub(crate) fn page(overview: &Overview<'_>, on_leak: OnLeak) -> Result<String> {
    let mut junit = Report::new("cgrun");
    let mut leaks: Vec<BTreeMap<&Owner, Vec<Program<'_>>>> =
        vec![BTreeMap::new(); overview.merged.sessions().len()];
    for leak in &overview.leaks {
        for Sighting { at, trees, known, .. } in &leak.sessions {
            let fails = on_leak == OnLeak::Fail && leak.fails() && !known;
            leaks[*at].entry(&leak.key.owner).or_default().push((leak, *trees, fails));
        }
    }
    for (session, leaks) in overview.merged.sessions().zip(&leaks) {
        junit.add_test_suite(suite(session, leaks, on_leak));
    }
    if !overview.merged.left_out().is_empty() {
        let mut suite = TestSuite::new("cgrun, left out");
        suite.add_test_cases(
            overview.merged.left_out().iter().map(|it| {
                case(&it.report, "left out", failure(NonSuccessKind::Error, "left out", &it.reason))
            }),
        );
        junit.add_test_suite(suite);
    }
    junit.to_string().context("cannot turn the report into XML")
}

fn suite(session: &SessionResult, leaks: &BTreeMap<&Owner, Vec<Program<'_>>>, on_leak: OnLeak) -> TestSuite {
    let name = match session.report.starts_with(SHARD) {
        // The same in each run, so that CI can compare it with the last.
        true => format!("cgrun, {}", session.report),
        false => format!("cgrun {} on {}", session.id, session.host()),
    };
    let mut suite = TestSuite::new(legal(&name));
    let mut command = case("command", &session.command, command_status(session, on_leak));
    command.set_time(Duration::from_secs_f64(session.duration_seconds.get()));
    suite.add_test_case(command);
    for (owner, programs) in leaks {
        let lines: Vec<_> = programs
            .iter()
            .map(|(leak, count, _)| {
                let news = if leak.news == News::New { " (new)" } else { "" };
                format!("leaked {count} x {}{news}", leak.key.program)
            })
            .collect();
        let text = lines.join("\n");
        let status = match programs.iter().any(|(_, _, fails)| *fails) {
            true => failure(NonSuccessKind::Failure, "leak", &text),
            false => TestCaseStatus::success(),
        };
        let mut case = case(&owner.to_string(), "leaks", status);
        case.set_system_err(XmlString::new(legal(&text)));
        suite.add_test_case(case);
    }
    suite
}

fn command_status(session: &SessionResult, on_leak: OnLeak) -> TestCaseStatus {
    let problems: Vec<_> = session.survivors.iter().chain(&session.unverified).cloned().collect();
    if !session.is_verified() {
        let text = if problems.is_empty() { session.reason.clone() } else { problems.join("\n") };
        return failure(NonSuccessKind::Error, "survivor", &text);
    }
    if !session.leaks_known {
        return failure(NonSuccessKind::Error, "session", &session.reason);
    }
    if session.failed() {
        let text = format!("exit {}: {}", session.exit(), session.reason);
        return failure(NonSuccessKind::Failure, "exit", &text);
    }
    if on_leak == OnLeak::Fail && session.undescribed_process_count > 0 {
        let text = format!("leaked {} more processes", session.undescribed_process_count);
        return failure(NonSuccessKind::Failure, "leak", &text);
    }
    TestCaseStatus::success()
}

fn case(name: &str, class: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(legal(name), status);
    case.set_classname(legal(class));
    case
}

fn failure(kind: NonSuccessKind, category: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(category).set_message(legal(text.lines().next().unwrap_or_default()));
    status.set_description(legal(text));
    status
}
