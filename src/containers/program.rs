//! What a container runs, by a name that is the same in other runs and on other machines.

/// What comes before it, where a process has its program.
pub(crate) const CONTAINER: &str = "container ";
/// A label of what is a service of Compose. The names of its containers and images depend on the project's directory.
pub(super) const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// Docker's ids are 64 digits. Fewer are shown, and accepted, from this number on.
const SHORT_ID: usize = 12;

/// The image without its registry and its tag, which can be a mirror and a commit: `container redis` for
/// `mirror.example/library/redis:7`. A container's own name is seldom the same in the next run.
pub(crate) fn program(image: &str, compose_service: Option<&str>) -> String {
    let mut parts = without_tag(image).rsplit('/');
    let (name, parent) = (parts.next().unwrap_or_default(), parts.next());
    match compose_service {
        Some(service) => format!("{CONTAINER}{service} of compose"),
        None if is_id(image) || is_id(name) || is_random(name, parent) => {
            format!("{CONTAINER}of an image without a name")
        }
        None => format!("{CONTAINER}{name}"),
    }
}

/// Testcontainers gives an image that it builds a UUID for a name (Go), or 16 random characters (Java).
fn is_random(name: &str, parent: Option<&str>) -> bool {
    let is_uuid = name.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && name.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit());
    let is_plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    is_uuid || parent == Some("testcontainers") && name.len() == 16 && name.bytes().all(is_plain)
}

/// Engines list an image by its id if its name has been given to another.
fn is_id(image: &str) -> bool {
    let is_short = image.len() >= SHORT_ID && image.bytes().all(|it| it.is_ascii_hexdigit());
    image.is_empty() || is_short || image.starts_with("sha256:")
}

/// `redis` for `redis:7` and `redis@sha256:1`, but `localhost:5000/redis` as it is.
pub(super) fn without_tag(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or_default();
    match image.rsplit_once(':') {
        Some((image, tag)) if !tag.contains('/') => image,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_the_same_name_on_all_machines() {
        for image in [
            "redis",
            "redis:7",
            "docker.io/library/redis:8",
            "localhost:5000/redis",
            "redis@sha256:12",
            "mirror.example:5000/a/redis:7@sha256:12",
        ] {
            assert_eq!(program(image, None), "container redis", "{image}");
        }
        let nameless = [
            "",
            "sha256:0123456789ab",
            "0123456789ab",
            &"f".repeat(64),
            "localhost/0123456789ab:latest",
            "mirror.example:5000/a/0123456789ab@sha256:12",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "localhost/f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "localhost/testcontainers/g3kx0qzp7mabcdef:latest",
            "testcontainers/g3kx0qzp7mabcdef",
        ];
        for image in nameless {
            assert_eq!(program(image, None), "container of an image without a name", "{image}");
        }
        for (image, name) in [
            ("cafe:1", "cafe"),
            ("testcontainers/ryuk:0.5", "ryuk"),
            ("mirror.example/mirroredpostgres:1", "mirroredpostgres"),
            ("f47ac10b-58cc-4372-a567-0e02b2c3d479/redis", "redis"),
        ] {
            assert_eq!(program(image, None), format!("container {name}"));
        }
        assert_eq!(program("shop_4711-db", Some("db")), "container db of compose");
    }
}
