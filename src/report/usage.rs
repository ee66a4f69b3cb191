//! Formats the usage of the session and its components, as a table for people and as properties for programs.

use std::fmt::Display;
use std::time::Duration;

use crate::limits::{Figures, Usage};
use crate::text::Bytes;

/// The last three columns are the times for which at least one process waited for that resource.
pub(super) const COLUMNS: [&str; 10] =
    ["used by", "user", "system", "memory", "procs", "read", "written", "cpu wait", "memory wait", "io wait"];

/// A table with one row for each component and one for the session.
pub(super) fn table(usage: &Usage) -> Vec<String> {
    let mut rows = vec![COLUMNS.map(str::to_string)];
    rows.extend(usage.components.iter().chain([&usage.session]).map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<_> = (0..COLUMNS.len()).map(width).collect();
    let line = |row: &[String; COLUMNS.len()]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        cells.collect::<String>()
    };
    rows.iter().map(line).collect()
}

pub(super) fn row(figures: &Figures) -> [String; COLUMNS.len()] {
    let time = |usec: Option<u64>| {
        or_dash(usec.map(|usec| format!("{:.2} s", Duration::from_micros(usec).as_secs_f64())))
    };
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
pub(super) fn properties(figures: &Figures) -> Vec<(String, String)> {
    let Ok(serde_json::Value::Object(all)) = serde_json::to_value(figures) else { return Vec::new() };
    let numbers = all.into_iter().filter(|(_, value)| value.is_number());
    numbers.map(|(key, value)| (format!("{}.{key}", figures.name), value.to_string())).collect()
}

/// A figure that was not measured is not zero.
fn or_dash(value: Option<impl Display>) -> String {
    value.map_or("-".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_was_not_measured_is_a_dash() {
        let figures = Figures { name: "session".into(), cpu_user_usec: Some(0), ..Figures::default() };
        let lines = table(&Usage { session: figures, ..Usage::default() });
        let cells: Vec<_> = lines[1].split_whitespace().collect();
        assert_eq!(cells, ["session", "0.00", "s", "-", "-", "-", "-", "-", "-", "-", "-"]);
    }
}
