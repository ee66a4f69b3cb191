//! Which containment a session gets: the strongest that this host gives.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use rustix::process::Pid;

use super::cgroup::SessionCgroup;
use super::cgroup::placement::{Mount, Unavailable};
use super::held::Containment;
use super::pid_namespace::PidNamespace;
use super::session_id::SessionId;

/// The leaf of the first process of a PID namespace.
const INIT_LEAF: &str = "namespace";

/// What holds a session, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Kind {
    #[serde(rename = "tree")]
    Tree,
    #[serde(rename = "pidns")]
    Pidns,
    #[serde(rename = "cgroup")]
    Cgroup,
    #[serde(rename = "cgroup+pidns")]
    CgroupAndPidns,
}

impl Kind {
    /// What it promises, for people.
    pub fn guarantee(self) -> &'static str {
        match self {
            Self::Tree => {
                "every descendant is found and ended one by one while cgrun lives; if cgrun itself is killed, \
                 one that cleared its environment may survive"
            }
            Self::Pidns => "the kernel ends everything at once, also when cgrun is killed; nobody can leave",
            Self::Cgroup => {
                "one write to cgroup.kill ends everything at once; a root process that leaves is found as our \
                 child"
            }
            Self::CgroupAndPidns => {
                "one write to cgroup.kill ends everything at once; whoever leaves the cgroup ends with the \
                 namespace"
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tree => "process tree",
            Self::Pidns => "PID namespace",
            Self::Cgroup => "cgroup",
            Self::CgroupAndPidns => "cgroup and PID namespace",
        })
    }
}

/// The least that the user accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Require(pub Kind);

impl FromStr for Require {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cgroup" => Ok(Self(Kind::Cgroup)),
            "pidns" => Ok(Self(Kind::Pidns)),
            "tree" => Ok(Self(Kind::Tree)),
            "cgroup+pidns" | "pidns+cgroup" => Ok(Self(Kind::CgroupAndPidns)),
            _ => Err(format!("{text:?} is no containment; there are: cgroup, pidns, tree, cgroup+pidns")),
        }
    }
}

/// Makes the strongest containment that can be had; with why it is no stronger one. The `source` is
/// where a cgroup may be made, or why none may.
pub fn choose(
    source: Result<Mount, Unavailable>,
    require: Option<Require>,
    command: &[u8],
    ports: &[u16],
    predating: &[Pid],
) -> Result<(Containment, Vec<String>)> {
    let least = require.map_or(Kind::Tree, |require| require.0);
    let cgroup = source.and_then(|mount| SessionCgroup::create(&mount, command, ports));
    let mut missing = Vec::new();
    match cgroup {
        Ok(cgroup) if least < Kind::CgroupAndPidns => {
            return Ok((Containment::cgroup(cgroup, None), missing));
        }
        Ok(cgroup) => match within(&cgroup) {
            Ok(namespace) => return Ok((Containment::cgroup(cgroup, Some(namespace)), missing)),
            Err(error) => {
                let _ = cgroup.remove();
                bail!("no PID namespace besides the cgroup, and --require asks for both: {error}");
            }
        },
        Err(error) if least >= Kind::Cgroup => {
            bail!("no cgroup can be had, and --require accepts nothing weaker: {}", error.advice())
        }
        Err(error) => missing.push(format!("no cgroup: {}", error.advice())),
    }
    let id = SessionId::random()?;
    match PidNamespace::create(None) {
        Ok(namespace) => return Ok((Containment::tree(id, predating, Some(namespace)), missing)),
        Err(error) if least >= Kind::Pidns => {
            bail!(
                "no PID namespace can be had, and --require accepts nothing weaker: {}; and {}",
                error.advice(),
                missing.join("; ")
            )
        }
        Err(error) => missing.push(format!("no PID namespace: {}", error.advice())),
    }
    Ok((Containment::tree(id, predating, None), missing))
}

fn within(cgroup: &SessionCgroup) -> Result<PidNamespace, String> {
    let procs = cgroup.leaf(INIT_LEAF).and_then(|leaf| leaf.procs()).map_err(|error| error.to_string())?;
    PidNamespace::create(Some(procs)).map_err(|error| error.advice())
}
