//! One page for people: what happened when, and what leaked. Needs no network and no script.

use std::fmt::{self, Write};

use super::json::{ComponentSummary, LeakedProcess, ReportDocument, ServiceSummary};
use super::{usage, words};
use crate::text::{self, Bytes};

const STYLE: &str = include_str!("page.css");
/// More leaked trees than this are counted, not shown.
const SHOWN: usize = 200;

/// Text in HTML, also within quotes. What no page may contain is left out.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => write!(f, "{}", Text(&c.escape_default().to_string()))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

pub fn page(report: &ReportDocument) -> String {
    let command = report.session.command.join(" ");
    let mut page = String::with_capacity(32 * 1024);
    // Writing to a String does not fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>cgrun: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {header}{facts}{problems}{timeline}{leaks}{allowed}{services}\
         <p class=\"dim\">session {id}, written by cgrun {version}'s {by}</p>\n</main>\n</body>\n</html>\n",
        title = Text(&text::shorten(&command, 100)),
        header = header(report, &command),
        facts = facts(report),
        problems = problems(report),
        timeline = timeline(report),
        leaks = leaks("What leaked", &report.leaks, report.undescribed_process_count),
        allowed = leaks("What was allowed to stay until the end", &report.allowed_leaks, 0),
        services = services(report) + &used(report),
        id = Text(&report.session.id),
        version = report.cgrun_version,
        by = report.session.written_by,
    );
    page
}

fn header(report: &ReportDocument, command: &str) -> String {
    let (class, state) = match (report.outcome.verified_empty, report.leaked_process_count) {
        (true, 0) if report.outcome.clean => ("pill", "clean".to_string()),
        (true, 0) => ("pill bad", "ended by force".to_string()),
        (true, leaked) => ("pill bad", format!("leaked {}, ended", text::processes(leaked))),
        (false, _) => ("pill bad", "not clean".to_string()),
    };
    format!(
        "<header><h1 class=\"mono\">{}</h1><span class=\"{class}\">{state}</span></header>\n\
         <p class=\"dim\">{}</p>\n",
        Text(&text::shorten(command, 300)),
        Text(&report.outcome.reason),
    )
}

fn facts(report: &ReportDocument) -> String {
    let outcome = match (report.outcome.exit_code, &report.outcome.signal) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => signal.clone(),
        (None, None) => "killed".into(),
    };
    let mut facts = vec![
        ("exit code", outcome),
        ("took", text::elapsed(report.session.duration_seconds)),
        ("processor time", text::elapsed(report.resources.cpu_seconds)),
        ("largest process", Bytes(report.resources.largest_process_memory_bytes).to_string()),
        ("contained by", report.containment.kind.to_string()),
        ("cause of the end", format!("{} (layer {})", report.outcome.layer_title, report.outcome.layer)),
    ];
    if !report.ports.watched.is_empty() {
        let ports: Vec<_> = report.ports.watched.iter().map(u16::to_string).collect();
        facts.push(("ports watched", ports.join(", ")));
    }
    let facts: String = facts
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>", Text(value)))
        .collect();
    format!(
        "<section><dl class=\"facts\">{facts}</dl><p class=\"dim\">{}</p></section>\n",
        Text(report.containment.guarantee)
    )
}

fn problems(report: &ReportDocument) -> String {
    let survivors = report.survivors.iter().map(|it| ("survived", it));
    let unknown = report.unverified.iter().map(|it| ("not verified", it));
    let strangers = report.ports.held_by_others.iter().map(|it| ("left alone", it));
    let met = usage::met(report.usage.as_ref());
    let lines: String = survivors
        .chain(unknown)
        .chain(strangers)
        .chain(met.iter().map(|it| ("limit", it)))
        .map(|(what, text)| format!("<p><span class=\"tag\">{what}</span>{}</p>", Text(text)))
        .collect();
    if lines.is_empty() { lines } else { format!("<section><h2>What is not clean</h2>{lines}</section>\n") }
}

fn timeline(report: &ReportDocument) -> String {
    let total = report.session.duration_seconds.max(0.001);
    let mut rows = String::new();
    for service in &report.services {
        let part = &service.component;
        let until = part.stop_requested_at_seconds.or(part.gone_at_seconds).unwrap_or(total);
        let bars = [
            ("start", "starting", part.started_at_seconds, part.ready_at_seconds.or(Some(until))),
            ("serve", "ready", part.ready_at_seconds, Some(until)),
            ("stop", "stopping", part.stop_requested_at_seconds, part.gone_at_seconds.or(Some(total))),
        ];
        rows += &row(&service.name, &bars, total);
    }
    let command = &report.command;
    let ended = command.exited_at_seconds.or(command.gone_at_seconds);
    let bars = [
        ("run", "running", command.started_at_seconds, ended.or(Some(total))),
        ("stop", "leftovers", ended, command.gone_at_seconds.filter(|gone| Some(*gone) > ended)),
    ];
    rows += &row("command", &bars, total);
    rows += &started(report, total);
    for phase in
        report.teardown.phases.iter().filter(|phase| phase.ended_at_seconds > phase.started_at_seconds)
    {
        rows += &row(
            &format!("clean-up: {}", doing(phase.name)),
            &[("stop", phase.name, Some(phase.started_at_seconds), Some(phase.ended_at_seconds))],
            total,
        );
    }
    let legend: String = [("start", "starting"), ("serve", "ready"), ("run", "command"), ("stop", "ending")]
        .map(|(class, text)| format!("<span><i class=\"{class}\"></i>{text}</span>"))
        .concat();
    format!(
        "<section><h2>What happened when</h2>{rows}<div class=\"axis\"><span>0</span><span>{}</span>\
         <span>{}</span></div><div class=\"legend\">{legend}</div></section>\n",
        text::elapsed(total / 2.0),
        text::elapsed(total)
    )
}

/// When what leaked was started, as far as its age tells.
fn started(report: &ReportDocument, total: f64) -> String {
    let Some(seen) = report
        .command
        .stop_requested_at_seconds
        .or(report.command.gone_at_seconds)
        .filter(|_| !report.leaks.is_empty())
    else {
        return String::new();
    };
    let ticks: String = report
        .leaks
        .iter()
        .filter(|leak| leak.service.is_none() && leak.age_seconds <= seen)
        .take(SHOWN)
        .map(|leak| {
            let (at, title) =
                ((seen - leak.age_seconds) / total * 100.0, text::shorten(&words::line(leak), 160));
            format!("<div class=\"bar leak\" style=\"left:{at:.2}%\" title=\"{}\"></div>", Text(&title))
        })
        .collect();
    format!("<div class=\"row\"><span>leaks started</span><div class=\"track\">{ticks}</div></div>")
}

fn doing(phase: &str) -> &str {
    match phase {
        "ask" => "asking",
        "kill" => "killing",
        "remove" => "removing",
        other => other,
    }
}

type Bar<'a> = (&'a str, &'a str, Option<f64>, Option<f64>);

fn row(name: &str, bars: &[Bar<'_>], total: f64) -> String {
    let mut track = String::new();
    for (class, what, from, to) in bars {
        let (Some(from), Some(to)) = (from, to) else { continue };
        let (left, width) = (from / total * 100.0, ((to - from) / total * 100.0).max(0.0));
        track += &format!(
            "<div class=\"bar {class}\" style=\"left:{left:.2}%;width:{width:.2}%\" title=\"{}: {} to {}\"></div>",
            Text(what),
            text::elapsed(*from),
            text::elapsed(*to)
        );
    }
    format!("<div class=\"row\"><span>{0}</span><div class=\"track\">{track}</div></div>", Text(name))
}

fn leaks(title: &str, leaks: &[LeakedProcess], undescribed: usize) -> String {
    if leaks.is_empty() && undescribed == 0 {
        return String::new();
    }
    let mut text = format!("<section><h2>{title}</h2><ul class=\"tree\">");
    let shown = leaks.len().min(SHOWN);
    leaks[..shown].iter().for_each(|leak| process(leak, &mut text));
    let more = leaks[shown..].iter().map(LeakedProcess::process_count).sum::<usize>() + undescribed;
    text += "</ul>";
    if more > 0 {
        text += &format!("<p class=\"dim\">and {more} more</p>");
    }
    text + "</section>\n"
}

fn process(leak: &LeakedProcess, text: &mut String) {
    let _ = write!(
        text,
        "<li><details><summary><code>{}</code> <span class=\"dim\">pid {}, {} old</span>",
        Text(&text::shorten(&leak.command_text(), 160)),
        leak.pid,
        text::elapsed(leak.age_seconds)
    );
    match words::test(leak) {
        Some(test) => drop(write!(text, "<br>started during <span class=\"test\">{}</span>", Text(test))),
        None => *text += "<br><span class=\"dim\">during which test it was started is not known</span>",
    }
    *text += "<br>";
    let _ = write!(text, "<span class=\"tag\">{}</span>", words::how(leak));
    for address in &leak.listening_on {
        let _ = write!(text, "<span class=\"tag\">listening on {address}</span>");
    }
    if leak.ignores_sigterm {
        *text += "<span class=\"tag\">ignores SIGTERM</span>";
    } else if leak.needed_sigkill {
        *text += "<span class=\"tag\">did not end on SIGTERM</span>";
    }
    *text += "</summary><table>";
    let during = leak.started_during.as_ref();
    let place = during.and_then(|it| {
        let file = it.file.as_ref()?;
        Some(it.line.map_or(file.clone(), |line| format!("{file}:{line}")))
    });
    let rows = [
        ("command line", Some(text::shorten(&leak.command_text(), 4096))),
        ("executable", leak.executable.clone()),
        ("directory", leak.working_directory.clone()),
        ("user", Some(leak.user.clone())),
        ("parent", leak.parent_pid.map(|pid| format!("pid {pid}"))),
        ("state", Some(format!("{}, {} threads", leak.state, leak.threads))),
        (
            "used",
            Some(format!(
                "{} of processor time, {} of memory",
                text::elapsed(leak.cpu_seconds),
                Bytes(leak.memory_bytes)
            )),
        ),
        (
            "holds open",
            (!leak.open_streams.is_empty())
                .then(|| format!("the command's {}", leak.open_streams.join(", "))),
        ),
        ("cgroup", leak.cgroup.clone()),
        ("test", place),
        ("known by its", during.map(|it| it.evidence.to_string())),
        ("worker", during.and_then(|it| it.worker.clone())),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            let _ = write!(text, "<tr><td>{name}</td><td><code>{}</code></td></tr>", Text(&value));
        }
    }
    *text += "</table></details>";
    if !leak.children.is_empty() {
        *text += "<ul>";
        leak.children.iter().for_each(|child| process(child, text));
        *text += "</ul>";
    }
    *text += "</li>";
}

fn services(report: &ReportDocument) -> String {
    if report.services.is_empty() {
        return String::new();
    }
    let rows: String = report.services.iter().map(service).collect();
    format!("<section><h2>Services</h2><table>{rows}</table></section>\n")
}

/// What the cgroups have measured.
fn used(report: &ReportDocument) -> String {
    let Some(used) = &report.usage else { return String::new() };
    let cells = |kind: &str, row: &[String]| {
        let cells: String = row.iter().map(|it| format!("<{kind}>{}</{kind}>", Text(it))).collect();
        format!("<tr>{cells}</tr>")
    };
    let head = usage::COLUMNS.map(|name| name.to_string());
    let rows: String =
        used.parts.iter().chain([&used.session]).map(|it| cells("td", &usage::row(it))).collect();
    format!(
        "<section><h2>What it used</h2><div class=\"scroll\"><table class=\"figures\">{}{rows}</table></div>\
         <p class=\"dim\">The last three columns: how long some of its processes waited for that.</p></section>\n",
        cells("th", &head)
    )
}

fn service(service: &ServiceSummary) -> String {
    let ComponentSummary { started_at_seconds: started, ready_at_seconds: ready, .. } = service.component;
    let ready = match (started, ready, &service.problem) {
        (_, _, Some(problem)) => problem.clone(),
        (Some(started), Some(ready), _) => format!("ready after {}", text::elapsed(ready - started)),
        (Some(_), None, _) => "not ready".into(),
        _ => "not started".into(),
    };
    let port = service.port.map_or(String::new(), |port| format!(", port {port}"));
    let log = service
        .log_file
        .as_ref()
        .map_or(String::new(), |log| format!("<br><code class=\"dim\">{}</code>", Text(log)));
    format!(
        "<tr><td>{}</td><td>{}{port}<br><code>{}</code>{log}</td></tr>",
        Text(&service.name),
        Text(&ready),
        Text(&text::shorten(&service.command.join(" "), 300))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let hostile = "<script>&'\"\u{1b}[2J\u{0}";
        assert_eq!(Text(hostile).to_string(), "&lt;script&gt;&amp;&#39;&quot;\\u{1b}[2J\\u{0}");
    }
}
