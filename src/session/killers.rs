//! What will kill cgrun if it does not exit in time after a signal.

use std::path::Path;
use std::time::Duration;

use crate::containment::Container;
use crate::runtime::ci::Ci;
use crate::sys::process::first_process;
use crate::teardown::StopWithin;

/// GitHub's runner sends SIGTERM 7.5 s after SIGINT, which we take for the second request, and SIGKILL 2.5 s later.
const GITHUB_RUNNER: Duration = Duration::from_secs(7);
/// `docker stop` and `podman stop` send SIGKILL after 10 s.
const CONTAINER_ENGINE: Duration = Duration::from_secs(9);
/// Kubernetes sends SIGKILL after `terminationGracePeriodSeconds`, which is 30 s by default.
const KUBERNETES: Duration = Duration::from_secs(27);

/// How long a teardown may take. `wanted` is what the user has set.
pub(super) fn stop_within(wanted: Option<Duration>) -> StopWithin {
    StopWithin { always: wanted, after_signal: if wanted.is_none() { patience() } else { None } }
}

/// How long we have after a signal; `None` if nothing is known to kill us.
fn patience() -> Option<Duration> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_pod = is_set("KUBERNETES_SERVICE_HOST");
    let engine =
        is_stopped_with_container(is_pod).then_some(if is_pod { KUBERNETES } else { CONTAINER_ENGINE });
    Ci::is_killed_by_github().then_some(GITHUB_RUNNER).into_iter().chain(engine).min()
}

/// Whether we are signalled when the container is stopped: we are its first process, or a child of it, as with
/// `docker run --init`. A pod need not have the mark of an engine.
fn is_stopped_with_container(is_pod: bool) -> bool {
    let is_first = rustix::process::getpid().is_init() || first_process::is_behind_us();
    let is_child_of_first = rustix::process::getppid().is_some_and(|parent| parent.is_init());
    // A service manager is not stopped with a container, and waits longer than an engine.
    let has_manager = Path::new("/run/systemd/system").is_dir();
    is_first || is_child_of_first && !has_manager && (is_pod || Container::detect().is_some())
}
