//! Java: the virtual machine itself prints its threads, and the deadlocks among them, if jcmd asks for them by SIGQUIT.

use nix::sys::signal::Signal;

use super::collect::Target;
use super::lookup::beside;
use super::stack::Section;
use super::tool::{Intrusion, Tool, Way};
use crate::sys::search_path::on_path;

/// How long jcmd waits for the virtual machine. It removes the file by which it asks only if it is not killed.
const ATTACH: &str = "-J-Dsun.tools.attach.attachTimeout=3000";
/// Threads of the virtual machine itself.
const OWN: [&str; 3] = ["Reference Handler", "Finalizer", "Common-Cleaner"];
const DEADLOCK: &str = "Java-level deadlock";

pub(super) fn way(target: &Target, intrusion: Intrusion) -> Way {
    if intrusion == Intrusion::None {
        return Way::Useless;
    }
    if matches!(target.state, 'T' | 't') {
        return Way::No("it is stopped, so it cannot print its threads".into());
    }
    // It would die of the signal.
    if !target.handles(Signal::SIGQUIT) {
        return Way::No("it does not handle SIGQUIT; start it without -Xrs".into());
    }
    let pid = target.pid.to_string();
    let find = |name| beside(target, target.directory().as_slice(), name).or_else(|| on_path(name));
    let jcmd = find("jcmd").map(|path| Tool::new(path, [ATTACH, &pid, "Thread.print"], threads));
    let jstack = find("jstack").map(|path| Tool::new(path, [ATTACH, &pid], threads));
    Way::by(jcmd.into_iter().chain(jstack).collect(), "install a JDK, for its jcmd")
}

/// The deadlocks first, and then the other threads, daemons last.
fn threads(output: &str) -> Vec<Section> {
    let (dump, deadlocks) = match output.lines().position(|line| line.contains(DEADLOCK)) {
        Some(_) => output.split_at(output.find("Found ").unwrap_or_default()),
        None => (output, ""),
    };
    let mut sections = deadlock(deadlocks);
    let known: Vec<String> = sections.iter().map(|it| it.title.clone()).collect();
    let mut others: Vec<(bool, Section)> = dump.split("\n\n").filter_map(thread).collect();
    others.retain(|(_, it)| !known.iter().any(|known| !known.is_empty() && it.title.starts_with(known)));
    others.sort_by_key(|(is_daemon, _)| *is_daemon);
    sections.extend(others.into_iter().map(|(_, section)| section));
    sections
}

/// Who waits for which lock, and the stack of each.
fn deadlock(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut has_stacks = false;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("===")) {
        if line.contains(DEADLOCK) {
            has_stacks = false;
            sections.push(Section::new(line.trim_end_matches(':')));
        } else if line.starts_with("Java stack information") {
            has_stacks = true;
        } else if has_stacks && line.starts_with('"') {
            sections.push(Section::new(line.trim_end_matches(':')));
        } else if !line.starts_with("Found ") {
            sections.last_mut().into_iter().for_each(|it| it.lines.push(frame(line)));
        }
    }
    sections
}

/// A thread that runs Java code, and whether it is a daemon.
fn thread(block: &str) -> Option<(bool, Section)> {
    let (first, rest) = block.trim_start().split_once('\n')?;
    let (name, attributes) = first.strip_prefix('"')?.rsplit_once('"')?;
    let lines: Vec<&str> = rest.lines().collect();
    if OWN.contains(&name) || !lines.iter().any(|line| line.trim_start().starts_with("at ")) {
        return None;
    }
    let state =
        lines.first().and_then(|line| line.split_once("Thread.State: ")).map_or("", |(_, state)| state);
    let mut section = Section::new(format!("\"{name}\" {state}"));
    section.lines =
        lines.iter().filter(|line| !line.contains("Thread.State: ")).map(|line| frame(line)).collect();
    Some((attributes.contains(" daemon "), section))
}

/// `at java.lang.Thread.join(java.base@17.0.15/Thread.java:1313)`, without the module.
fn frame(line: &str) -> String {
    let line = line.trim();
    match line.split_once('(').and_then(|(name, rest)| Some((name, rest.split_once('/')?))) {
        Some((name, (module, file))) if line.starts_with("at ") && module.contains('@') => {
            format!("{name}({file}")
        }
        _ => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "7:\n2026-11-29 07:03:39\nFull thread dump OpenJDK:\n\n\
        \"Finalizer\" #3 daemon prio=8 in Object.wait()\n   java.lang.Thread.State: WAITING (on object monitor)\n\tat a.B.c(D.java:1)\n\n\
        \"pool\" #9 daemon prio=5 runnable\n   java.lang.Thread.State: RUNNABLE\n\tat x.Y.z(Y.java:1)\n\n\
        \"main\" #1 prio=5 in Object.wait()\n   java.lang.Thread.State: WAITING (on object monitor)\n\
        \tat java.lang.Thread.join(java.base@17.0.15/Thread.java:1313)\n\t- locked <0x0> (a java.lang.Thread)\n\n\
        \"one\" #12 prio=5 waiting\n   java.lang.Thread.State: BLOCKED (on object monitor)\n\tat Deadlock.take(Deadlock.java:9)\n\n\
        \"GC Thread#1\" os_prio=0 runnable\n\nJNI global refs: 7\n\n\n";

    #[test]
    fn threads_of_the_virtual_machine_are_left_out_and_daemons_come_last() {
        let sections = threads(DUMP);
        let titles: Vec<_> = sections.iter().map(|it| it.title.as_str()).collect();
        let wanted = [
            "\"main\" WAITING (on object monitor)",
            "\"one\" BLOCKED (on object monitor)",
            "\"pool\" RUNNABLE",
        ];
        assert_eq!(titles, wanted);
        let lines = ["at java.lang.Thread.join(Thread.java:1313)", "- locked <0x0> (a java.lang.Thread)"];
        assert_eq!(sections[0].lines, lines);
    }

    #[test]
    fn a_deadlock_comes_first() {
        let found = "Found one Java-level deadlock:\n=====\n\"one\":\n  waiting to lock monitor 0x1 (object 0x2, a x),\n  \
            which is held by \"one\"\n\nJava stack information for the threads listed above:\n====\n\"one\":\n\
            \tat Deadlock.take(Deadlock.java:9)\n\t- locked <0x2> (a x)\n\nFound 1 deadlock.\n\n";
        let sections = threads(&format!("{DUMP}{found}"));
        let titles: Vec<_> = sections.iter().map(|it| it.title.as_str()).collect();
        let wanted = [
            "Found one Java-level deadlock",
            "\"one\"",
            "\"main\" WAITING (on object monitor)",
            "\"pool\" RUNNABLE",
        ];
        assert_eq!(titles, wanted);
        assert_eq!(sections[0].lines[2], "which is held by \"one\"");
        assert_eq!(sections[1].lines, ["at Deadlock.take(Deadlock.java:9)", "- locked <0x2> (a x)"]);
    }
}
