//! Resource usage and limits that were hit, as text.

use std::fmt::Display;
use std::time::Duration;

use crate::limits::{At, Figures, Struck, Usage};
use crate::text::Bytes;

/// Limits that made something fail.
pub fn failures(usage: &Usage) -> Vec<String> {
    usage.struck.iter().filter(|struck| !matches!(struck, Struck::Cpus { .. })).map(line).collect()
}

/// Limits that only made something slower.
pub fn slowdowns(usage: &Usage) -> Vec<String> {
    usage.struck.iter().filter(|struck| matches!(struck, Struck::Cpus { .. })).map(line).collect()
}

/// One line for each limit that was hit.
pub fn limits_hit(usage: Option<&Usage>) -> Vec<String> {
    usage.iter().flat_map(|usage| usage.struck.iter().map(line)).collect()
}

fn line(struck: &Struck) -> String {
    match struck {
        Struck::Memory { at, of, bytes, killed, victim } => {
            let whose = of.as_deref().map(the).unwrap_or_default();
            let reached = match (at, bytes) {
                (At::Own, Some(bytes)) => format!("{whose} reached its limit of {}", Bytes(*bytes)),
                (At::Own, None) => format!("{whose} could get no more memory"),
                (At::Below, _) => format!("a cgroup inside {whose} reached a limit of its own"),
                (At::Above, _) => "a cgroup above the session, or the host, had no more memory".to_string(),
            };
            let killed = killed.iter().map(|it| match it.processes {
                None => format!("all of {}", the(&it.part)),
                Some(1) => format!("1 process of {}", the(&it.part)),
                Some(count) => format!("{count} processes of {}", the(&it.part)),
            });
            let killed = killed.collect::<Vec<_>>().join(", ");
            let first = victim.as_ref().map_or(String::new(), |victim| {
                let name = victim.name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
                format!("; the first was pid {}{name}", victim.pid)
            });
            format!("out of memory: {reached}, and the kernel killed {killed}{first}")
        }
        Struck::Pids { of, count, refused, most } => {
            let most = most
                .as_ref()
                .map_or(String::new(), |most| format!("; most processes belonged to {}", the(most)));
            let forks = if *refused == 1 { "1 fork" } else { &format!("{refused} forks") };
            let reached = match of.as_deref().zip(*count) {
                Some((of, count)) => format!("{} reached its limit of {count}", the(of)),
                None => "a limit above the session was reached".to_string(),
            };
            format!("too many processes: {reached}, and {forks} failed{most}")
        }
        Struck::Cpus { of, cpus, throttled_usec, periods, of_periods } => format!(
            "throttled: {} exceeded its {cpus} CPUs in {periods} of {of_periods} periods of 100 ms, and \
             waited {}",
            the(of),
            seconds(*throttled_usec)
        ),
    }
}

pub const COLUMNS: [&str; 10] =
    ["used by", "user", "system", "memory", "procs", "read", "written", "cpu", "memory", "io"];
/// Explains the last three columns.
pub const STALLED_COLUMNS: &str =
    "The last three columns show how long at least one process waited for a CPU, for memory, or for I/O.";

/// A table with one row for each component and one for the session.
pub fn table(usage: &Usage) -> Vec<String> {
    let head = COLUMNS;
    let mut rows = vec![head.map(str::to_string)];
    rows.extend(usage.parts.iter().chain([&usage.session]).map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            });
            cells.collect::<String>()
        })
        .collect();
    lines[0] += "  (last three: time stalled)";
    lines
}

pub fn row(figures: &Figures) -> [String; COLUMNS.len()] {
    let time = |usec: Option<u64>| or_dash(usec.map(seconds));
    let size = |bytes: Option<u64>| or_dash(bytes.map(Bytes));
    [
        figures.name.clone(),
        time(figures.cpu_user_usec),
        time(figures.cpu_system_usec),
        size(figures.memory_peak_bytes),
        or_dash(figures.processes_peak),
        size(figures.io_read_bytes),
        size(figures.io_written_bytes),
        time(figures.cpu_stalled_usec),
        time(figures.memory_stalled_usec),
        time(figures.io_stalled_usec),
    ]
}

/// Pairs such as `session.cpu_user_usec` and its value.
pub fn properties(figures: &Figures) -> Vec<(String, String)> {
    let Ok(serde_json::Value::Object(all)) = serde_json::to_value(figures) else { return Vec::new() };
    let numbers = all.into_iter().filter(|(_, value)| value.is_number());
    numbers.map(|(key, value)| (format!("{}.{key}", figures.name), value.to_string())).collect()
}

/// A figure that was not measured is not zero.
fn or_dash(value: Option<impl Display>) -> String {
    value.map_or("-".into(), |value| value.to_string())
}

fn seconds(usec: u64) -> String {
    format!("{:.2} s", Duration::from_micros(usec).as_secs_f64())
}

/// `the session`, `the command`, `service web`.
fn the(name: &str) -> String {
    if matches!(name, "session" | "command") { format!("the {name}") } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Killed, Victim};

    #[test]
    fn each_limit_has_a_line() {
        let memory = Struck::Memory {
            at: At::Own,
            of: Some("service web".into()),
            bytes: Some(48 << 20),
            killed: vec![Killed { part: "service web".into(), processes: None }],
            victim: Some(Victim { pid: 12, name: Some("python3".into()) }),
        };
        assert_eq!(
            line(&memory),
            "out of memory: service web reached its limit of 48 MiB, and the kernel killed all of service web; \
             the first was pid 12 (python3)"
        );
        let pids = Struck::Pids {
            of: Some("session".into()),
            count: Some(50),
            refused: 2,
            most: Some("command".into()),
        };
        assert_eq!(
            line(&pids),
            "too many processes: the session reached its limit of 50, and 2 forks failed; most processes belonged to \
             the command"
        );
        let killed = vec![Killed { part: "command".into(), processes: Some(2) }];
        let below =
            Struck::Memory { at: At::Below, of: Some("command".into()), bytes: None, killed, victim: None };
        assert_eq!(
            line(&below),
            "out of memory: a cgroup inside the command reached a limit of its own, and the kernel killed 2 processes \
             of the command"
        );
        let above = Struck::Pids { of: None, count: None, refused: 1, most: None };
        assert_eq!(
            line(&above),
            "too many processes: a limit above the session was reached, and 1 fork failed"
        );
        let cpus = Struck::Cpus {
            of: "session".into(),
            cpus: 0.5,
            throttled_usec: 1_500_000,
            periods: 30,
            of_periods: 40,
        };
        assert_eq!(
            line(&cpus),
            "throttled: the session exceeded its 0.5 CPUs in 30 of 40 periods of 100 ms, and waited 1.50 s"
        );
    }

    #[test]
    fn a_figure_that_was_not_measured_is_a_dash() {
        let figures = Figures { name: "session".into(), cpu_user_usec: Some(0), ..Figures::default() };
        let lines = table(&Usage { session: figures, ..Usage::default() });
        let cells: Vec<_> = lines[1].split_whitespace().collect();
        assert_eq!(cells, ["session", "0.00", "s", "-", "-", "-", "-", "-", "-", "-", "-"]);
    }

    #[test]
    fn the_schema_describes_every_key_of_a_limit_that_is_hit() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("schema.json")).unwrap();
        let known = &schema["properties"]["usage"]["properties"]["limits_hit"]["items"]["properties"];
        let victim = Some(Victim { pid: 7, name: Some("a".into()) });
        let killed = vec![Killed { part: "command".into(), processes: Some(1) }];
        let (of, most) = (Some("session".to_string()), Some("command".to_string()));
        for limit_hit in [
            Struck::Memory { at: At::Below, of: of.clone(), bytes: Some(1), killed, victim },
            Struck::Pids { of, count: Some(5), refused: 1, most },
            Struck::Cpus { of: "session".into(), cpus: 0.5, throttled_usec: 1, periods: 1, of_periods: 1 },
        ] {
            let value = serde_json::to_value(&limit_hit).unwrap();
            for key in value.as_object().unwrap().keys() {
                assert!(known[key].is_object(), "{key} in {known:#}");
            }
        }
    }
}
