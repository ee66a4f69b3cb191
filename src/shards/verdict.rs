//! What became of the shards, and how cgrun exits after it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::running_shard::RunningShard;
use crate::report::Reporter;
use crate::runtime::exit_code::{self, Exit};
use crate::text::{counted, elapsed, exit_status};

/// A shell's code for a process that died of a signal is this and the number of the signal.
const DIED: i32 = 128;

/// One line for each shard, after its output.
pub(super) fn say_how_it_ended(shard: &RunningShard, report: &Reporter) {
    let Some((status, took)) = shard.ended else { return };
    let (name, took) = (shard.shard.name(), elapsed(took.as_secs_f64()));
    if status.success() {
        report.say(&format!("shard {name} passed after {took}"));
    } else if shard.is_cut_short() {
        report.say(&format!("shard {name} was ended after {took}"));
    } else {
        report.error(&format!("shard {name} failed after {took}: {}", exit_status(status)));
    }
}

/// The last line.
pub(super) fn say_result(shards: &[RunningShard], took: Duration, report: &Reporter) {
    if shards.is_empty() {
        return;
    }
    let count = counted(shards.len() as u64, "shard");
    let took = elapsed(took.as_secs_f64());
    let names = |is: &dyn Fn(&&RunningShard) -> bool| -> Vec<String> {
        shards.iter().filter(is).map(|it| it.shard.number.to_string()).collect()
    };
    let failed = names(&|it| it.has_failed() && !it.is_cut_short());
    let cut_short = names(&|it| it.is_cut_short());
    if failed.is_empty() && cut_short.is_empty() {
        return report.say(&format!("{count} passed after {took}"));
    }
    let early = format!("ended early: {}", cut_short.join(", "));
    let list = match (failed.is_empty(), cut_short.is_empty()) {
        (_, true) => failed.join(", "),
        (true, _) => early,
        (false, false) => format!("{}; {early}", failed.join(", ")),
    };
    report.error(&format!("{} of {count} failed after {took}: {list}", failed.len()));
}

/// The status line.
pub(super) fn progress(shards: &[RunningShard], took: Duration) -> String {
    let running = shards.iter().filter(|it| it.is_running()).count();
    let failed = shards.iter().filter(|it| it.has_failed()).count();
    let passed = shards.len() - running - failed;
    format!("cgrun: shards: {running} running, {passed} passed, {failed} failed, {} s", took.as_secs())
}

/// As the worst shard did. One that was ended early has no influence, unless something of it survived.
pub(super) fn exit(shards: &[RunningShard], asked_by: Option<Signal>) -> Exit {
    let counting = shards.iter().filter(|it| !it.is_cut_short()).filter_map(|it| it.ended);
    let worst = counting.map(|(status, _)| status).max_by_key(|it| (badness(code(*it)), code(*it)));
    match (worst, asked_by) {
        // Shells and CI see that it was ended, as without shards.
        (Some(status), Some(signal)) if status.signal() == Some(signal as i32) => Exit::Signal(signal),
        (Some(status), _) => Exit::Code(code(status)),
        (None, _) => Exit::Code(exit_code::FAILED),
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| DIED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit_code::FAILED)
}

/// What says less about the tests is worse.
fn badness(code: u8) -> u8 {
    match code {
        0 => 0,
        exit_code::LEAKED => 1,
        exit_code::TIMED_OUT => 3,
        exit_code::FAILED => 4,
        exit_code::NOT_PROVEN => 5,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_ordered_by_how_bad_they_are() {
        let order = [0, 121, 1, 2, 137, 124, 125, 122];
        let mut codes = [124, 2, 0, 137, 122, 121, 125, 1];
        codes.sort_by_key(|&code| (badness(code), code));
        assert_eq!(codes, order);
    }

    #[test]
    fn a_shard_that_died_has_the_code_of_a_shell() {
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
    }
}
