//! Places where a test may make cgrun itself fail. In release builds they are not there.

/// Panics where `CGRUN_FAILPOINT` names this place.
#[cfg(debug_assertions)]
pub fn reached(place: &str) {
    if std::env::var_os("CGRUN_FAILPOINT").is_some_and(|wanted| wanted == place) {
        panic!("failpoint {place}");
    }
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reached(_place: &str) {}
