//! Plans each service, and the order in which they start.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;
use regex::bytes::Regex;

use super::service_id::{PerService, ServiceId};
use super::service_plan::{Probe, ServicePlan};
use super::url::Url;
use crate::config::{Config, ReadyKeys, ServiceKeys, ServiceName, Words};
use crate::sys::port::Protocol;

const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The services in start order: each comes after those that it depends on.
pub(super) fn plan_services(config: &Config, grace: Duration) -> Result<PerService<ServicePlan>> {
    let order = start_order(config)?;
    let mut taken = BTreeMap::new();
    let mut plans: Vec<ServicePlan> = Vec::new();
    for name in order {
        let (name, service) = (&name.0, config.keys.services[name].get_ref());
        if let Some(port) = &service.port {
            if let Some(other) = taken.insert(*port.get_ref(), name) {
                let message =
                    format!("services {other:?} and {name:?} have the same port; give each its own");
                return Err(config.error(port.span(), message).into());
            }
        }
        let cwd = service.cwd.as_ref().map_or("", |cwd| &cwd.0);
        let env = service.env.iter().map(|(name, value)| (name.0.clone(), value.0.clone()));
        let id_of = |name: &str| plans.iter().position(|plan| plan.name == name).map(ServiceId::new);
        plans.push(ServicePlan {
            name: name.clone(),
            command: os_strings(&service.command),
            cwd: config.directory().join(cwd),
            env: env.collect(),
            port: service.port.as_ref().map(|port| *port.get_ref()),
            probe: probe(config, service)?,
            ready_timeout: ready_timeout(service),
            depends_on: service.depends_on.iter().filter_map(|it| id_of(&it.get_ref().0)).collect(),
            stop_signal: service.stop_signal.0,
            grace: service.grace.map_or(grace, |time| time.0),
            critical: service.critical,
            stdin: service.stdin,
            limits: service.limits.clone(),
        });
    }
    Ok(PerService::new(plans))
}

fn os_strings(words: &Words) -> Vec<OsString> {
    words.0.iter().map(|word| OsString::from(&word.0)).collect()
}

fn ready_timeout(service: &ServiceKeys) -> Duration {
    service.ready.as_ref().and_then(|ready| ready.get_ref().timeout).map_or(READY_TIMEOUT, |time| time.0)
}

fn probe(config: &Config, service: &ServiceKeys) -> Result<Probe> {
    let Some(ready) = &service.ready else {
        return Ok(service.port.as_ref().map_or(Probe::Started, |port| Probe::Listening(*port.get_ref())));
    };
    let wrong = |message: String| config.error(ready.span(), message);
    let probe = match ready.get_ref() {
        ReadyKeys { http: Some(url), tcp: None, log: None, command: None, .. } => {
            let url: Url = url.parse().map_err(wrong)?;
            if url.is_tls { Probe::Https(url) } else { Probe::Http(url) }
        }
        ReadyKeys { tcp: Some(port), .. } if port.get_ref().protocol == Protocol::Udp => {
            let message = "tcp takes a TCP port; to wait for a UDP port, set the key port";
            return Err(config.error(port.span(), message.into()).into());
        }
        ReadyKeys { http: None, tcp: Some(port), log: None, command: None, .. } => {
            Probe::Listening(*port.get_ref())
        }
        ReadyKeys { http: None, tcp: None, log: Some(regex), command: None, .. } => {
            Probe::Log(Regex::new(regex).map_err(|error| wrong(not_a_regex(&error)))?)
        }
        ReadyKeys { http: None, tcp: None, log: None, command: Some(words), .. } => {
            Probe::Command(os_strings(words))
        }
        ReadyKeys { http: None, tcp: None, log: None, command: None, .. } if service.port.is_some() => {
            service.port.as_ref().map_or(Probe::Started, |port| Probe::Listening(*port.get_ref()))
        }
        _ => return Err(wrong("ready takes one of http, tcp, log or command".into()).into()),
    };
    Ok(probe)
}

/// Returns only the reason, because the crate's own message repeats the pattern, and ours shows the line of
/// the file.
fn not_a_regex(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default();
    format!("log is not a regular expression: {}", reason.trim_start_matches("error: "))
}

/// Searches depth first, so that each service comes after those that it depends on. It is not recursive,
/// because a long chain would overflow the stack.
fn start_order(config: &Config) -> Result<Vec<&ServiceName>> {
    let services = &config.keys.services;
    let mut order = Vec::new();
    let mut placed = BTreeSet::new();
    for first in services.keys() {
        // The chain that leads to the current service, each with the number of its dependencies that are
        // done.
        let mut path = vec![(first, 0)];
        while let Some((name, seen)) = path.last_mut() {
            let name = *name;
            let depended = services[name].get_ref().depends_on.get(*seen);
            *seen += 1;
            let Some(depended) = depended.filter(|_| !placed.contains(name)) else {
                path.pop();
                if placed.insert(name) {
                    order.push(name);
                }
                continue;
            };
            let wrong = |message| Err(config.error(depended.span(), message).into());
            let wanted = depended.get_ref();
            if !services.contains_key(wanted) {
                let known: Vec<_> = services.keys().map(|it| it.0.as_str()).collect();
                return wrong(format!("no service {:?}; the services are: {}", wanted.0, known.join(", ")));
            }
            if let Some(start) = path.iter().position(|(name, _)| *name == wanted) {
                let circle: Vec<_> = path[start..].iter().map(|(name, _)| name.0.as_str()).collect();
                let circle = format!("{} -> {}", circle.join(" -> "), wanted.0);
                return wrong(format!(
                    "these services depend on each other in a cycle: {circle}; remove one dependency"
                ));
            }
            path.push((wanted, 0));
        }
    }
    Ok(order)
}
