//! What the session has of its own, and which ports of the host lead into its network.

use anyhow::{Result, bail};

use crate::config::PrivateKeys;
use crate::private::{Forward, Private};

/// `option` replaces what the config says is private.
pub(super) fn decide(
    option: Option<Private>,
    keys: Option<&PrivateKeys>,
    has_shards: bool,
) -> Result<(Private, Vec<Forward>)> {
    let private = option.unwrap_or_else(|| match keys {
        Some(keys) => keys.private(has_shards),
        None => PrivateKeys::default().private(has_shards),
    });
    let forward = keys.and_then(|keys| keys.forward.clone()).unwrap_or_default();
    let Some(first) = forward.first() else { return Ok((private, forward)) };
    if !private.has_network() {
        bail!(
            "forward leads into a network of the session's own, which it does not have; set net = true in [private], or \
             pass --private net"
        );
    }
    if has_shards {
        bail!(
            "port {} of the host cannot lead into several sessions; omit forward, or --shards",
            first.outer
        );
    }
    Ok((private, forward))
}
