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
    match compose_service {
        Some(service) => format!("{CONTAINER}{service} of compose"),
        None if is_id(image) => format!("{CONTAINER}of an image without a name"),
        None => format!("{CONTAINER}{}", without_tag(image.rsplit('/').next().unwrap_or_default())),
    }
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
        let nameless = ["", "sha256:0123456789ab", "0123456789ab", &"f".repeat(64)];
        for image in nameless {
            assert_eq!(program(image, None), "container of an image without a name", "{image}");
        }
        assert_eq!(program("cafe:1", None), "container cafe");
        assert_eq!(program("shop_4711-db", Some("db")), "container db of compose");
    }
}
