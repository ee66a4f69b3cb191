//! JUnit XML for CI servers: one suite with a case for each service and one for the command.

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::json::{ComponentSummary, ReportDocument};
use super::leaked_process::LeakedProcess;
use super::{container_text, leak_text, leftover_text, limits_hit, usage};
use crate::leftovers::Leftover;

/// How many processes a case lists.
const LISTED: usize = 100;

pub(super) fn document(report: &ReportDocument) -> Result<String> {
    let mut suite = TestSuite::new("cgrun");
    for service in &report.services {
        let own: Vec<_> =
            report.new_leaks().filter(|it| it.service.as_deref() == Some(&service.name)).collect();
        let problem =
            service.problem.as_ref().map(|problem| (NonSuccessKind::Failure, "service", problem.clone()));
        let name = format!("service {}", service.name);
        let leaks = Leaks { processes: &own, undescribed: 0, containers: &[] };
        suite.add_test_case(case(&name, &service.component, problem, leaks, report.outcome.leaks_fail()));
    }
    let own: Vec<_> = report.new_leaks().filter(|it| it.service.is_none()).collect();
    let (problem, undescribed) = (session_problem(report), report.undescribed_process_count);
    let (leaks_fail, containers) = (report.outcome.leaks_fail(), container_text::new(&report.leftovers));
    let leaks = Leaks { processes: &own, undescribed, containers: &containers };
    suite.add_test_case(case("command", &report.command, problem, leaks, leaks_fail));
    for figures in report.usage.iter().flat_map(|usage| usage.components.iter().chain([&usage.session])) {
        suite.add_properties(usage::properties(figures));
    }
    let mut notes = limits_hit::all(report.usage.as_ref());
    notes.extend(report.baseline.as_ref().and_then(|it| it.known()));
    notes.extend(container_text::also_removed(&report.leftovers));
    let leftovers = leftover_text::lists(&report.leftovers, LISTED).into_iter();
    notes.extend(leftovers.flat_map(|(headline, lines)| std::iter::once(headline).chain(lines)));
    if !notes.is_empty() {
        suite.set_system_err(XmlString::new(legal(&notes.join("\n"))));
    }
    let mut junit = Junit::new("cgrun");
    junit.add_test_suite(suite);
    junit.to_string().context("cannot turn the report into XML")
}

/// The worst problem of the session as a whole.
fn session_problem(report: &ReportDocument) -> Option<(NonSuccessKind, &'static str, String)> {
    let problems: Vec<_> = report.survivors.iter().chain(&report.unverified).cloned().collect();
    match report.outcome.cause {
        _ if !problems.is_empty() => Some((NonSuccessKind::Error, "survivor", problems.join("\n"))),
        "command_ended" | "interrupted" => match (report.command.exit_code, &report.command.signal) {
            (Some(0), _) | (None, None) => None,
            (Some(code), _) => Some((NonSuccessKind::Failure, "exit", format!("exit status {code}"))),
            (None, Some(signal)) => Some((NonSuccessKind::Error, "exit", format!("killed by {signal}"))),
        },
        _ => {
            let reason = std::iter::once(&report.outcome.reason).chain(&report.why);
            Some((NonSuccessKind::Error, "session", reason.cloned().collect::<Vec<_>>().join("\n")))
        }
    }
}

/// What leaked of one component.
#[derive(Clone, Copy)]
struct Leaks<'a> {
    processes: &'a [&'a LeakedProcess],
    undescribed: usize,
    containers: &'a [&'a Leftover],
}

fn case(
    name: &str,
    component: &ComponentSummary,
    problem: Option<(NonSuccessKind, &str, String)>,
    leaks: Leaks<'_>,
    leaks_fail: bool,
) -> TestCase {
    let Leaks { processes, undescribed, containers } = leaks;
    let mut lines = leak_text::listing(processes, undescribed, LISTED);
    lines.extend(container_text::lines(containers, LISTED));
    let text = lines.join("\n");
    let process_count = processes.iter().map(|it| it.process_count()).sum::<usize>() + undescribed;
    let container_count = containers.len();
    let has_leaks = process_count + container_count > 0;
    let leaked = format!("leaked {}", container_text::leaked_text(process_count, container_count));
    let leak = (has_leaks && leaks_fail).then(|| (NonSuccessKind::Failure, "leak", leaked.clone()));
    let status = match problem.or(leak) {
        Some((kind, category, message)) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_type(category).set_message(legal(message.lines().next().unwrap_or_default()));
            let text = if text.is_empty() { message.clone() } else { format!("{message}\n{text}") };
            status.set_description(legal(&text));
            status
        }
        None => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname("cgrun");
    if let (Some(started), Some(ended)) =
        (component.started_at_seconds, component.gone_at_seconds.or(component.exited_at_seconds))
    {
        case.set_time(std::time::Duration::from_secs_f64((ended - started).max(0.0)));
    }
    if has_leaks {
        case.set_system_err(XmlString::new(legal(&format!("{leaked}\n{text}"))));
    }
    case
}

/// XML 1.0 cannot represent these two characters, and the library does not remove them.
pub(crate) fn legal(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
