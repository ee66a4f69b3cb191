//! Turns arguments, config and environment into one `SessionPlan`, or a clear error. This changes nothing on
//! the host, and reads only its list of users, and the list of known leaks.

mod baseline;
mod decide;
mod environment;
mod identity;
mod private_plan;
mod service_id;
mod service_plan;
mod services;
mod session_plan;
mod shard;
mod url;

pub(crate) use baseline::{BaselinePlan, Purpose, baseline};
pub(crate) use decide::{plan, watched_ports};
pub(crate) use environment::Environment;
pub(crate) use identity::resolve_identity;
pub(crate) use private_plan::PrivatePlan;
pub(crate) use service_id::{PerService, ServiceId};
pub(crate) use service_plan::{Probe, ServicePlan};
pub(crate) use session_plan::{GRACE, KILL_WAIT, SessionPlan, Verbosity, records};
pub(crate) use shard::Shard;
pub(crate) use url::Url;
