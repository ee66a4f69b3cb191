//! The sessions of one host, as `--json` prints them.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::guardian::record::{self, EndedSession};
use crate::plan::Shard;
use crate::registry::{SessionEntry, SessionList, SessionState, cgroup_mount, list_sessions};
use crate::sys::port::Port;
use crate::sys::time::{self, time_of_day};
use crate::sys::users::user_name;

pub(super) const SCHEMA: &str = "cgrun-sessions";
pub(super) const SCHEMA_VERSION: u32 = 1;

#[derive(Deserialize, Serialize)]
pub(super) struct Listing {
    pub schema: String,
    pub schema_version: u32,
    pub host: String,
    pub listed_at_unix_seconds: u64,
    /// Why sessions can be missing, if they can be.
    pub incomplete: Option<String>,
    pub sessions: Vec<Row>,
    /// Sessions that a guardian or a sweep tore down, because their supervisor had died.
    pub ended: Vec<EndedSession>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Row {
    pub id: String,
    pub state: SessionState,
    /// `None` if it cannot be known.
    pub supervisor_pid: Option<u32>,
    pub user: String,
    pub command: String,
    /// Which of several sessions of the command it is.
    #[serde(default)]
    pub shard: Option<Shard>,
    #[serde(skip_deserializing)]
    ports: Vec<Port>,
    cgroup: String,
}

pub(super) fn of_this_host(records: &Path) -> Result<Listing> {
    let listed = cgroup_mount()?.map_or(Ok(SessionList::default()), |mount| list_sessions(&mount))?;
    Ok(Listing {
        schema: SCHEMA.into(),
        schema_version: SCHEMA_VERSION,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        listed_at_unix_seconds: time::since_1970(time_of_day()).as_secs(),
        incomplete: listed.gap(),
        sessions: listed.entries.into_iter().map(Row::new).collect(),
        ended: record::read_all(records),
    })
}

impl Row {
    fn new(session: SessionEntry) -> Self {
        Self {
            state: session.state,
            supervisor_pid: session.supervisor_pid(),
            id: session.id.to_string(),
            user: user_name(session.uid),
            command: session.command,
            shard: session.shard,
            ports: session.ports,
            cgroup: session.path.to_string_lossy().into_owned(),
        }
    }
}
