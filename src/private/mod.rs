//! What a session has of its own, instead of sharing it with the host.
//!
//! The supervisor itself enters, before it starts anything. So the guardian, the services, the command, the probes and the
//! checks are all inside, and the kernel removes the namespaces with the last of them: nothing has to be cleaned up.

mod kinds;
mod namespaces;
mod network;

use anyhow::{Context, Result};

pub(crate) use kinds::Private;

impl Private {
    /// Enters what is to be private.
    ///
    /// Must be called while this process has a single thread.
    pub(crate) fn enter(self) -> Result<()> {
        if self != Self::default() {
            namespaces::enter(self.namespaces()).context("the session cannot be private")?;
        }
        if self.net {
            network::set_up().context("the session cannot have a network of its own")?;
        }
        Ok(())
    }
}
