//! Programs that the kernel executes by themselves: eu-stack or gdb stops them while it reads their stacks.

use super::collect::Target;
use super::stack::{Section, folded};
use super::tool::{Intrusion, Tool, Way};
use crate::sys::search_path::on_path;

/// In place of a name.
const NAMELESS: &str = "??";

pub(super) fn way(target: &Target, intrusion: Intrusion) -> Way {
    if intrusion == Intrusion::None {
        return Way::Useless;
    }
    if target.state == 't' {
        return Way::No("another tracer has stopped it".into());
    }
    let pid = target.pid.to_string();
    let elfutils =
        on_path("eu-stack").map(|path| Tool::new(path, ["-s", "-m", "-n", "64", "-p", &pid], eu_stack));
    let gdb = on_path("gdb").map(|path| {
        // Nothing that belongs to the program is executed, and no server is asked.
        let ask = [
            "-batch",
            "-nx",
            "-iex",
            "set auto-load no",
            "-iex",
            "set debuginfod enabled off",
            "-iex",
            "set print frame-arguments presence",
            "-p",
            &pid,
            "-ex",
            "thread apply all -ascending bt 64",
        ];
        Tool::new(path, ask, gdb)
    });
    Way::by(elfutils.into_iter().chain(gdb).collect(), "install elfutils or gdb")
}

/// `#0  0x00007fa24f332503 clock_nanosleep@GLIBC_2.2.5 - /usr/lib/libc.so.6` below `TID 7:`, and its line in the source below it.
fn eu_stack(output: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in output.lines() {
        if let Some(thread) = line.strip_prefix("TID ") {
            sections.push(Section::new(format!("thread {}", thread.trim_end_matches(':'))));
        } else if let Some((_, frame)) = line.strip_prefix('#').and_then(|frame| frame.split_once(" 0x")) {
            let (_, frame) = frame.split_once(' ').unwrap_or_default();
            let (name, file) = frame.rsplit_once("- ").unwrap_or((frame, ""));
            let (name, file) = (name.trim(), file.rsplit('/').next().unwrap_or_default());
            // Without the version of the symbol.
            let name = name.split('@').next().unwrap_or_default();
            let name = if name.is_empty() { NAMELESS } else { name };
            let place = if file.is_empty() { String::new() } else { format!(" ({file})") };
            sections.last_mut().into_iter().for_each(|it| it.lines.push(format!("{name}{place}")));
        } else if let Some(source) = line.strip_prefix("    ") {
            let frame = sections.last_mut().and_then(|it| it.lines.last_mut());
            frame.into_iter().for_each(|frame| *frame = at_line(frame, source));
        }
    }
    sections.iter_mut().for_each(|it| it.lines = folded(&it.lines, nameless));
    told(sections)
}

/// The frame with its line in the source, `/src/h.c:4:24`, in place of the file of the program.
fn at_line(frame: &str, source: &str) -> String {
    let (name, _) = frame.rsplit_once(" (").unwrap_or((frame, ""));
    let line = source.rsplit_once(':').map_or(source, |(line, _column)| line);
    format!("{name} ({})", line.rsplit('/').next().unwrap_or_default())
}

/// What frames without a name have in common.
fn nameless(frame: &str) -> Option<String> {
    frame.starts_with(NAMELESS).then(|| format!("× {frame}"))
}

/// `#1  0x00007fb95a515ada in pysleep (...) at ./timemodule.c:2159` below `Thread 1 (Thread 0x7f (LWP 7) "name"):`
fn gdb(output: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in output.lines() {
        if line.starts_with("Thread ") && line.ends_with(':') {
            sections.push(Section::new(line.trim_end_matches(':')));
        } else if let Some(frame) = line.strip_prefix('#') {
            let frame = frame.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
            let frame = match frame.split_once(" in ") {
                Some((address, rest)) if address.starts_with("0x") => rest,
                _ => frame,
            };
            sections.last_mut().into_iter().for_each(|it| it.lines.push(frame.into()));
        }
    }
    told(sections)
}

/// The only thread needs no title.
fn told(mut sections: Vec<Section>) -> Vec<Section> {
    sections.retain(|it| !it.lines.is_empty());
    if let [only] = &mut sections[..] {
        only.title.clear();
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_eu_stack_name_their_files() {
        let output = "PID 7 - process\nTID 7:\n#0  0x00007fa24f332503 clock_nanosleep@GLIBC_2.2.5 - /usr/lib/libc.so.6\n\
            \x20   ./time/clock_nanosleep.c:57:12\n#1  0x0000558440204f81 - /usr/bin/a\n#2  0x0000558440204f82 - /usr/bin/a\n#12 0x0000558440201558\n";
        let [section] = &eu_stack(output)[..] else { panic!() };
        assert_eq!(section.lines, ["clock_nanosleep (clock_nanosleep.c:57)", "… 2 × ?? (a)", "??"]);
        assert!(section.title.is_empty());
    }

    #[test]
    fn the_frames_of_gdb_have_no_addresses() {
        let output = "[New LWP 8]\n\nThread 1 (Thread 0x7f (LWP 7) \"a\"):\n\
            #0  0x00007fb95a0ed545 in __GI___clock_nanosleep (...) at ../sysdeps/a.c:48\n#1  time_sleep (...) at b.c:3\n\n\
            Thread 2 (Thread 0x7e (LWP 8) \"a\"):\n#0  f ()\n[Inferior 1 (process 7) detached]\n";
        let sections = gdb(output);
        assert_eq!(sections[0].title, "Thread 1 (Thread 0x7f (LWP 7) \"a\")");
        let lines = ["__GI___clock_nanosleep (...) at ../sysdeps/a.c:48", "time_sleep (...) at b.c:3"];
        assert_eq!(sections[0].lines, lines);
        assert_eq!(sections[1].lines, ["f ()"]);
    }
}
