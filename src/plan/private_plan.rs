//! What the session has of its own.

use anyhow::{Result, bail};

use crate::config::{Forward, Private, PrivateKeys};
use crate::limits::Memory;

#[derive(Clone, Debug)]
pub(crate) struct PrivatePlan {
    pub kinds: Private,
    /// The ports of the host that lead into its network.
    pub forward: Vec<Forward>,
    /// How much each directory in memory can hold, if not half of the host's memory.
    pub size: Option<Memory>,
}

/// `option` replaces what the config says is private.
pub(super) fn decide(
    option: Option<Private>,
    keys: Option<&PrivateKeys>,
    has_shards: bool,
) -> Result<PrivatePlan> {
    let keys = keys.cloned().unwrap_or_default();
    let kinds = option.unwrap_or_else(|| keys.private(has_shards));
    let plan = PrivatePlan { kinds, forward: keys.forward.unwrap_or_default(), size: keys.size };
    let Some(first) = plan.forward.first() else { return Ok(plan) };
    if !kinds.has_network() {
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
    Ok(plan)
}
