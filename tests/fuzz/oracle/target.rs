//! Which targets an engine takes for a creation: Go's `url.ParseRequestURI`, and the routes of Docker and podman.

pub fn is_creation(method: &[u8], target: &[u8]) -> bool {
    method == b"POST" && path(target).is_some_and(|path| is_route(&path))
}

fn path(target: &[u8]) -> Option<Vec<u8>> {
    let is_scheme = |it: &[u8]| {
        it.first().is_some_and(u8::is_ascii_alphabetic)
            && it.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
    };
    let colon = target.iter().position(|&byte| byte == b':');
    let (has_scheme, rest) = match colon {
        Some(at) if is_scheme(&target[..at]) => (true, &target[at + 1..]),
        _ => (false, target),
    };
    let rest = rest.split(|&byte| byte == b'?').next()?;
    let path = match rest.strip_prefix(b"//") {
        Some(authority) if has_scheme => &authority[authority.iter().position(|&byte| byte == b'/')?..],
        _ => rest,
    };
    if !path.starts_with(b"/") {
        return None;
    }
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        if path[at] == b'%' {
            let digits = std::str::from_utf8(path.get(at + 1..at + 3)?).ok()?;
            if !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
                return None;
            }
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            decoded.push(path[at]);
            at += 1;
        }
    }
    Some(decoded)
}

/// Paths that are not clean are answered with a redirection.
fn is_route(path: &[u8]) -> bool {
    let mut words: Vec<_> = path.split(|&byte| byte == b'/').skip(1).collect();
    let is_version = |it: &[u8]| {
        it.len() > 1
            && it[0] == b'v'
            && it[1].is_ascii_digit()
            && it[1..].iter().all(|it| it.is_ascii_alphanumeric() || b".-".contains(it))
    };
    if words.first().is_some_and(|it| is_version(it)) {
        words.remove(0);
    }
    let is_libpod = words.first() == Some(&&b"libpod"[..]);
    if is_libpod {
        words.remove(0);
    }
    match words[..] {
        [b"containers" | b"networks" | b"volumes", b"create"] => true,
        [b"pods", b"create"] => is_libpod,
        _ => false,
    }
}
