//! The leaked processes, as trees that open on a click.

use maud::{Markup, html};

use crate::report::leak_text;
use crate::report::leaked_process::LeakedProcess;
use crate::report::leaking_tests::LeakingTest;
use crate::text::{Bytes, elapsed, shorten};

/// Further trees are counted, not shown.
const SHOWN: usize = 200;

/// Which tests leaked how much, if several did.
pub(super) fn by_test(tests: &[LeakingTest]) -> Markup {
    let (shown, hidden) = tests.split_at(tests.len().min(SHOWN));
    html! {
        @if shown.len() > 1 {
            section {
                h2 { "Leaks by test" }
                table.tests {
                    @for test in shown {
                        tr {
                            td { (test.leaked_process_count + test.leaked_container_count) }
                            td { span.test { (test.text) } br; (programs(test)) }
                        }
                    }
                }
                @if !hidden.is_empty() { p.dim { "and " (hidden.len()) " more" } }
            }
        }
    }
}

fn programs(test: &LeakingTest) -> Markup {
    html! {
        @for (at, program) in test.programs.iter().enumerate() {
            @if at > 0 { ", " }
            code { (shorten(&program.text(), 160)) }
            @if program.known { span.tag { "known" } }
            @if !program.listening_on.is_empty() { span.tag { "listening on " (program.listening_on.join(", ")) } }
        }
        @for (at, container) in test.containers.iter().enumerate() {
            @if at + test.programs.len() > 0 { ", " }
            "container " code { (shorten(&container.image, 160)) }
            @if container.known { span.tag { "known" } }
        }
    }
}

pub(super) fn section(title: &str, leaks: &[&LeakedProcess], undescribed: usize) -> Markup {
    let (shown, hidden) = leaks.split_at(leaks.len().min(SHOWN));
    let more = hidden.iter().map(|it| it.process_count()).sum::<usize>() + undescribed;
    html! {
        @if !shown.is_empty() || more > 0 {
            section {
                h2 { (title) }
                ul.tree { @for leak in shown { (process(leak, None)) } }
                @if more > 0 { p.dim { "and " (more) " more" } }
            }
        }
    }
}

/// Properties that are the same for its parent are not repeated.
fn process(leak: &LeakedProcess, parent: Option<&LeakedProcess>) -> Markup {
    let test = leak_text::test(leak);
    let tags = tags(leak, parent);
    html! {
        li {
            details {
                summary {
                    code { (shorten(&leak.command_text(), 160)) }
                    span.dim { " pid " (leak.pid) ", " (elapsed(leak.age_seconds)) " old" }
                    @if parent.is_none_or(|parent| leak_text::test(parent) != test) {
                        br;
                        @match test {
                            Some(test) => { "started during " span.test { (test) } }
                            None => span.dim { "started during an unknown test" }
                        }
                    }
                    @if !tags.is_empty() {
                        br;
                        @for tag in &tags { span.tag { (tag) } }
                    }
                }
                table {
                    @for (name, value) in details(leak) { tr { td { (name) } td { code { (value) } } } }
                }
            }
            @if !leak.children.is_empty() {
                ul { @for child in &leak.children { (process(child, Some(leak))) } }
            }
        }
    }
}

fn tags(leak: &LeakedProcess, parent: Option<&LeakedProcess>) -> Vec<String> {
    let is_new = parent.is_none_or(|parent| parent.kind != leak.kind);
    let mut tags: Vec<_> = is_new.then(|| leak_text::kind(leak).to_string()).into_iter().collect();
    tags.extend(leak.ended_by.filter(|_| is_new).map(|by| format!("ended by {by}")));
    tags.extend(leak.listening_on.iter().map(|address| format!("listening on {address}")));
    if leak.ignores_sigterm {
        tags.push("ignores SIGTERM".into());
    } else if leak.needed_sigkill {
        tags.push("needed SIGKILL".into());
    }
    tags
}

fn details(leak: &LeakedProcess) -> Vec<(&'static str, String)> {
    let origin = leak.started_during.as_ref();
    let file = origin.and_then(|origin| {
        let file = origin.file.as_ref()?;
        Some(origin.line.map_or(file.clone(), |line| format!("{file}:{line}")))
    });
    let streams = leak.open_streams.join(", ");
    let threads = if leak.threads == 1 { "1 thread".into() } else { format!("{} threads", leak.threads) };
    let rows = [
        ("command line", Some(shorten(&leak.command_text(), 4096))),
        ("executable", leak.executable.clone()),
        ("directory", leak.working_directory.clone()),
        ("user", Some(leak.user.clone())),
        ("parent", leak.parent_pid.map(|pid| format!("pid {pid}"))),
        ("state", Some(format!("{}, {threads}", leak.state))),
        ("CPU time", Some(elapsed(leak.cpu_seconds))),
        ("memory", Some(Bytes(leak.memory_bytes).to_string())),
        ("holds open", (!streams.is_empty()).then(|| format!("{streams} of the command"))),
        ("cgroup", leak.cgroup.clone()),
        ("test file", file),
        ("evidence", origin.map(|origin| leak_text::evidence(origin).to_string())),
        ("worker", origin.and_then(|origin| origin.worker.clone())),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
