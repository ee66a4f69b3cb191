//! Images are built through the socket of a session (`--containers`) as they are without, and have no labels: with them,
//! their ids would be others.

use super::clients::{Client, assert_success};
use super::host::{output, text};

/// Debian's command line can build without a plugin.
fn an_image_is_built_as_without_cgrun(buildkit: &str) {
    let (client, engine) = (Client::Docker, Client::Docker.engine());
    let script = format!(
        "export DOCKER_BUILDKIT={buildkit}; mkdir context; head -c 20000000 /dev/urandom >context/random
         printf 'FROM %s\\nCOPY random /random\\nENV A=b\\n' $IMAGE >context/Dockerfile
         tar c -C context . >context.tar; D=/usr/bin/docker
         for context in context -; do
             direct=$($D --host unix:///run/docker.sock build --quiet $context <context.tar)
             through=$($D build --quiet $context <context.tar)
             [ $through = $direct ] || {{ echo $context: $through, not $direct; exit 1; }}
         done
         $D build --no-cache --tag new context >log 2>&1 || {{ cat log; exit 1; }}
         $D image inspect --format '{{{{json .Config.Labels}}}} {{{{.Config.Env}}}}' new $direct
         $D run --rm --network none new cat /random | cmp - context/random"
    );
    let done = output(&mut client.command(&engine, &script));
    assert_success(&done);
    let lines = text(&done.stdout);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|it| it.starts_with("null [") && it.contains("A=b")), "{lines:?}");
}

#[test]
fn an_image_is_built_by_the_classic_builder_as_without_cgrun() {
    an_image_is_built_as_without_cgrun("0");
}

#[test]
fn an_image_is_built_by_buildkit_as_without_cgrun() {
    an_image_is_built_as_without_cgrun("1");
}
