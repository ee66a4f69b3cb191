//! What the backends of PostgreSQL wait for inside of the database, by the titles of their processes.
//!
//! The kernel knows nothing of the locks of a database. But PostgreSQL shows in the title of a process what that does:
//! `postgres: USER DATABASE HOST(PORT) UPDATE waiting`. It does not show for which other process, so that is a guess.

use std::collections::BTreeMap;

use rustix::process::Pid;

use super::graph::Tie;
use super::reason::{Blocker, Reason};
use super::seen::Seen;
use super::wait::Wait;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Backend<'a> {
    database: &'a str,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For a lock of the database.
    Waiting,
    /// It holds its locks until its client continues.
    InTransaction,
    /// At work. It may be in a transaction.
    Active,
    Idle,
}

/// `usual` is what the kernel tells. The rest of the session may explain more.
pub(super) fn refine(usual: Reason, subject: &Seen, seen: &BTreeMap<i32, Seen>) -> Reason {
    match backend(subject) {
        Some(backend) if backend.state == State::Waiting => {
            let blockers = likely_holders(subject, backend.database, seen);
            Reason { blockers, ..Reason::new(Wait::DatabaseLock) }
        }
        Some(backend) if backend.state == State::InTransaction => {
            // Also a server waits for this client: nobody else can end the transaction.
            let clients = usual.blockers.into_iter().filter(|it| it.tie != Tie::Orders);
            let blockers = clients.map(|it| Blocker { tie: Tie::Firm, ..it }).collect();
            Reason { wait: Wait::Transaction, blockers, ..usual }
        }
        _ => usual,
    }
}

/// The other backends of this server that have a transaction in this database: those that do nothing, if there are any.
fn likely_holders(subject: &Seen, database: &str, seen: &BTreeMap<i32, Seen>) -> Vec<Blocker> {
    let others = || {
        let of_server = seen.values().filter(|it| it.stat.parent == subject.stat.parent);
        of_server.filter_map(|it| Some((it.stat.pid, backend(it)?))).filter(|(_, it)| it.database == database)
    };
    let in_state =
        |state| -> Vec<Pid> { others().filter(|(_, it)| it.state == state).map(|(pid, _)| pid).collect() };
    let mut found = in_state(State::InTransaction);
    if found.is_empty() {
        found = in_state(State::Active);
    }
    found.into_iter().map(|pid| Blocker { pid, tie: Tie::Event, is_ours: true }).collect()
}

fn backend(seen: &Seen) -> Option<Backend<'_>> {
    backend_of_title(seen.process.command.first()?.to_str()?)
}

/// `postgres: [CLUSTER: ]USER DATABASE HOST(PORT) ACTIVITY`, or `[local]` in place of the host.
fn backend_of_title(title: &str) -> Option<Backend<'_>> {
    let words: Vec<&str> = title.strip_prefix("postgres: ")?.split_whitespace().collect();
    let is_client = |word: &&str| *word == "[local]" || word.ends_with(')') && word.contains('(');
    let at = words.iter().position(is_client)?;
    let state = match words.get(at + 1..)? {
        [.., "waiting"] => State::Waiting,
        ["idle", "in", "transaction", ..] => State::InTransaction,
        ["idle"] | [] => State::Idle,
        _ => State::Active,
    };
    Some(Backend { database: words.get(at.checked_sub(1)?)?, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_of_a_backend_is_read() {
        let read = |title| backend_of_title(title).map(|it| (it.database, it.state));
        assert_eq!(read("postgres: ann tea 127.0.0.1(4711) UPDATE waiting"), Some(("tea", State::Waiting)));
        assert_eq!(
            read("postgres: 15/main: ann tea [local] idle in transaction"),
            Some(("tea", State::InTransaction))
        );
        assert_eq!(
            read("postgres: ann tea ::1(4711) idle in transaction (aborted)"),
            Some(("tea", State::InTransaction))
        );
        assert_eq!(read("postgres: ann tea [local] idle"), Some(("tea", State::Idle)));
        assert_eq!(read("postgres: ann tea [local] SELECT"), Some(("tea", State::Active)));
        assert_eq!(read("postgres: ann tea [local] CREATE INDEX"), Some(("tea", State::Active)));
        for other in ["postgres: checkpointer ", "postgres -D data", "postgres: [local] idle", "postgres: "] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
