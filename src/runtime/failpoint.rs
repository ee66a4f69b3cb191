//! Places where a test can make the supervisor fail. Release builds do not have them.

#[cfg(debug_assertions)]
static DISABLED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Fails if `CGRUN_FAILPOINT` names this place, as in `panic:teardown`, `kill:teardown` (SIGKILL) or
/// `crash:teardown` (SIGSEGV).
#[cfg(debug_assertions)]
pub(crate) fn reached(place: &str) {
    if DISABLED.load(std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    let wanted = std::env::var("CGRUN_FAILPOINT").unwrap_or_default();
    match wanted.split_once(':') {
        Some(("panic", wanted)) if wanted == place => {
            // Fail only once: the teardown during the unwinding reaches this place again.
            disable();
            panic!("failpoint {place}")
        }
        Some(("kill", wanted)) if wanted == place => {
            crate::sys::signals::die_of(nix::sys::signal::Signal::SIGKILL)
        }
        Some(("crash", wanted)) if wanted == place => crate::sys::signals::crash(),
        _ => {}
    }
}

/// Whether to act as if the kernel did not have this, as in `absent:cgroup.kill`.
#[cfg(debug_assertions)]
pub(crate) fn is_absent(what: &str) -> bool {
    let wanted = std::env::var("CGRUN_FAILPOINT").unwrap_or_default();
    wanted.strip_prefix("absent:") == Some(what)
}

/// Turns off all fail points in this process.
#[cfg(debug_assertions)]
pub(crate) fn disable() {
    DISABLED.store(true, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn reached(_place: &str) {}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn disable() {}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn is_absent(_what: &str) -> bool {
    false
}
