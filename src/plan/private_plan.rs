//! What the session has of its own.

use anyhow::{Result, bail};

use crate::config::{Forward, Private, PrivateKeys};
use crate::limits::Memory;
use crate::sys::port::Port;

#[derive(Clone, Debug)]
pub(crate) struct PrivatePlan {
    pub kinds: Private,
    /// The ports of the host that lead into its network.
    pub forward: Vec<Forward>,
    /// How much each directory in memory can hold, if not half of the host's memory.
    pub size: Option<Memory>,
}

/// `option` replaces what the config says is private, and without a network it also drops the ports that lead there.
///
/// `port` is one that a service needs.
pub(super) fn decide(
    option: Option<Private>,
    keys: Option<&PrivateKeys>,
    has_shards: bool,
    port: Option<Port>,
) -> Result<PrivatePlan> {
    let keys = keys.cloned().unwrap_or_default();
    let kinds = option.unwrap_or_else(|| keys.private(has_shards));
    let mut forward = keys.forward.unwrap_or_default();
    if !kinds.has_network() && option.is_some() {
        forward.clear();
    }
    if let Some(port) = port.filter(|_| has_shards && !kinds.has_network()) {
        bail!(
            "each shard needs port {port}, which exists once in the network of the host; leave net private"
        );
    }
    if !forward.is_empty() && !kinds.has_network() {
        bail!(
            "forward leads into a network of the session's own, which it does not have; set net = true in [private]"
        );
    }
    let mut outer: Vec<_> = forward.iter().map(|it| it.outer).collect();
    outer.sort_unstable();
    if let Some(twice) = outer.windows(2).find(|it| it[0] == it[1]) {
        bail!("port {} of the host cannot lead to two ports; omit one of them from forward", twice[0]);
    }
    match outer.first() {
        Some(first) if has_shards => bail!(
            "port {first} of the host cannot lead into several sessions; omit --shards, or set forward = [] in a profile"
        ),
        _ => Ok(PrivatePlan { kinds, forward, size: keys.size }),
    }
}
