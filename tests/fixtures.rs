//! Fixtures that several test files share.

use std::os::unix::fs::chown;
use std::time::Duration;

use crate::harness::Session;

/// The id of the user and group with the fewest rights.
pub(crate) const NOBODY: u32 = 65534;

/// Lets that user write where the session runs. As root, cgrun keeps its records in no directory that another user owns, so it
/// gets one for them; otherwise they would be in the home of whoever runs the tests.
pub(crate) fn give_to_nobody(session: &Session) {
    std::fs::create_dir(session.path().join("state")).unwrap();
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
}

/// Options that write the JSON report to `report.json`.
pub(crate) const JSON: [&str; 2] = ["--report", "json=report.json"];

/// Options with a grace period that must not run out.
pub(crate) const LONG: [&str; 2] = ["--grace", "60s"];

/// Long enough for a busy machine, and far shorter than [`LONG`].
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A service that creates the file `started` and never becomes ready.
pub(crate) const NEVER_READY: &str = r#"
[services.slow]
command = ["sh", "-c", "touch started; exec sleep 1000"]
ready = { log = "never said" }
"#;

/// A service that creates the file `asked` when it is asked to exit, and keeps running.
pub(crate) const STUBBORN: &str = r#"
[session]
grace = "60s"
[services.stubborn]
command = ["sh", "-c", "trap 'touch asked' TERM; echo ready; while :; do sleep 1000 & wait; done"]
ready = { log = "ready" }
"#;
