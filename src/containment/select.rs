//! Chooses the strongest containment that this host offers.

use anyhow::{Result, bail};
use rustix::process::Pid;

use super::cgroup::SessionCgroup;
use super::cgroup::placement::{Mount, Unavailable};
use super::contained::Containment;
use super::kind::{Kind, Require};
use super::pid_namespace::PidNamespace;
use super::session_id::SessionId;
use crate::sys::port::Port;

/// The leaf of the first process of a PID namespace.
const INIT_LEAF: &str = "namespace";

/// Creates the strongest containment that this host offers. `source` is where a cgroup can be created, or why it
/// cannot.
pub(crate) fn choose(
    source: Result<Mount, Unavailable>,
    require: Option<Require>,
    command: &[u8],
    ports: &[Port],
    preexisting: &[Pid],
) -> Result<Containment> {
    let minimum = require.map_or(Kind::Tree, |require| require.0);
    let cgroup = source.and_then(|mount| SessionCgroup::create(&mount, command, ports));
    let no_cgroup = match cgroup {
        Ok(cgroup) if minimum < Kind::CgroupAndPidns => return Ok(Containment::cgroup(cgroup, None)),
        Ok(cgroup) => match namespace_within(&cgroup) {
            Ok(namespace) => return Ok(Containment::cgroup(cgroup, Some(namespace))),
            Err(error) => {
                let _ = cgroup.remove();
                bail!(
                    "no PID namespace is available in addition to the cgroup, and --require asks for both: {error}"
                );
            }
        },
        Err(error) if minimum >= Kind::Cgroup => {
            bail!("no cgroup is available, and --require accepts nothing weaker: {}", error.advice())
        }
        Err(error) => error.advice(),
    };
    let id = SessionId::random()?;
    match PidNamespace::create(None) {
        Ok(namespace) => Ok(Containment::tree(id, preexisting, Some(namespace))),
        Err(error) if minimum >= Kind::Pidns => {
            bail!(
                "no PID namespace is available, and --require accepts nothing weaker: {}; and no cgroup: {no_cgroup}",
                error.advice()
            )
        }
        Err(_) => Ok(Containment::tree(id, preexisting, None)),
    }
}

fn namespace_within(cgroup: &SessionCgroup) -> Result<PidNamespace, String> {
    let procs = cgroup.open_procs_of_leaf(INIT_LEAF).map_err(|error| error.to_string())?;
    PidNamespace::create(Some(procs)).map_err(|error| error.advice())
}
