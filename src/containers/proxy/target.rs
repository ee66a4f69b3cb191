//! Which requests create something that stays.

/// What is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    Container,
    Network,
    Volume,
    Pod,
}

/// A request that creates something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Creation {
    pub what: Created,
    /// What comes before `/containers/create` in its path: `/v1.41`, `/v4.0.0/libpod`, or nothing.
    pub prefix: String,
    /// podman's own interface, with the names of fields in small letters.
    pub is_libpod: bool,
}

impl Creation {
    /// `None` if the request creates nothing that has labels.
    pub(super) fn of(method: &str, target: &str) -> Option<Self> {
        if method != "POST" {
            return None;
        }
        let path = decoded(path_of(target))?;
        let mut segments = path.split('/').filter(|it| !it.is_empty() && *it != ".").peekable();
        let version = segments.next_if(|it| is_version(it));
        let libpod = segments.next_if(|it| *it == "libpod");
        let words = [segments.next(), segments.next(), segments.next()];
        let what = match (words, libpod) {
            ([Some("containers"), Some("create"), None], _) => Created::Container,
            ([Some("networks"), Some("create"), None], _) => Created::Network,
            ([Some("volumes"), Some("create"), None], _) => Created::Volume,
            ([Some("pods"), Some("create"), None], Some(_)) => Created::Pod,
            _ => return None,
        };
        let prefix = version.into_iter().chain(libpod).map(|it| format!("/{it}")).collect();
        Some(Self { what, prefix, is_libpod: libpod.is_some() })
    }
}

/// Without the query, and without the scheme and the host of a target in absolute form (RFC 9112, 3.2.2). Engines do not insist
/// on a host.
fn path_of(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let Some((_, rest)) = target.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return target;
    };
    match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => rest,
    }
}

/// RFC 3986, 3.1
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Engines decode a path before they look for what serves it.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

/// `v1.41`, or `v5.0.0-rc1` as podman takes it.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creation(target: &str) -> Option<(Created, String)> {
        Creation::of("POST", target).map(|it| (it.what, it.prefix))
    }

    #[test]
    fn creations_are_known_by_every_way_to_write_their_path() {
        for (target, prefix) in [
            ("/containers/create", ""),
            ("/v1.41/containers/create?name=x", "/v1.41"),
            ("/v4.0.0/libpod/containers/create", "/v4.0.0/libpod"),
            ("/libpod/containers/create", "/libpod"),
            ("/v5.0.0-rc1/libpod/containers/create", "/v5.0.0-rc1/libpod"),
            ("http://docker/v1.24/containers/create?a=/b", "/v1.24"),
            ("http:/v1.24/containers/create", "/v1.24"),
            ("x:/containers/create?y=://z/w", ""),
            ("//v1.24//containers/./create", "/v1.24"),
            ("/v1.24/%63ontainers/creat%65", "/v1.24"),
        ] {
            assert_eq!(creation(target), Some((Created::Container, prefix.into())), "{target}");
        }
        assert_eq!(creation("/networks/create"), Some((Created::Network, String::new())));
        assert_eq!(creation("/v1.41/volumes/create"), Some((Created::Volume, "/v1.41".into())));
        assert_eq!(creation("/libpod/pods/create"), Some((Created::Pod, "/libpod".into())));
    }

    #[test]
    fn nothing_else_is_a_creation() {
        for target in [
            "/containers/json",
            "/containers/create/x",
            "/v1.41/images/create",
            "/containers/abc/exec",
            "/pods/create",
            "/containers/%zzcreate",
            "/x/containers/create",
            "*",
            "",
        ] {
            assert_eq!(creation(target), None, "{target}");
        }
        assert_eq!(Creation::of("GET", "/containers/create"), None);
    }
}
