//! The limits that were hit, one line each.

use std::time::Duration;

use crate::limits::{KilledProcesses, Level, LimitHit, Usage, Victim};
use crate::text::Bytes;

/// Limits that made something fail.
pub(super) fn failures(usage: &Usage) -> Vec<String> {
    usage.limits_hit.iter().filter(|hit| !is_slowdown(hit)).map(line).collect()
}

/// Limits that only made something slower.
pub(super) fn slowdowns(usage: &Usage) -> Vec<String> {
    usage.limits_hit.iter().filter(|hit| is_slowdown(hit)).map(line).collect()
}

pub(super) fn all(usage: Option<&Usage>) -> Vec<String> {
    usage.iter().flat_map(|usage| usage.limits_hit.iter().map(line)).collect()
}

fn is_slowdown(hit: &LimitHit) -> bool {
    matches!(hit, LimitHit::Cpus { .. })
}

fn line(hit: &LimitHit) -> String {
    match hit {
        LimitHit::Memory { level, component, limit_bytes, killed, victim } => {
            let component = component.as_deref().map(with_article).unwrap_or_default();
            let reached = match (level, limit_bytes) {
                (Level::Own, Some(bytes)) => format!("{component} reached its limit of {}", Bytes(*bytes)),
                (Level::Own, None) => format!("{component} ran out of memory"),
                (Level::Descendant, _) => format!("a cgroup inside {component} reached a limit of its own"),
                (Level::Ancestor, _) => {
                    "a cgroup above the session, or the host, ran out of memory".to_string()
                }
            };
            let killed: Vec<_> = killed.iter().map(killed_in).collect();
            let first = victim.as_ref().map(first_victim).unwrap_or_default();
            format!("out of memory: {reached}, and the kernel killed {}{first}", killed.join(", "))
        }
        LimitHit::Pids { component, limit_processes, failed_forks, largest_component } => {
            let reached = match component.as_deref().zip(*limit_processes) {
                Some((component, limit)) => {
                    format!("{} reached its limit of {limit}", with_article(component))
                }
                None => "a limit above the session was reached".to_string(),
            };
            let forks = if *failed_forks == 1 { "1 fork".into() } else { format!("{failed_forks} forks") };
            let most = largest_component.as_deref().map(with_article);
            let most = most.map(|most| format!("; most processes belonged to {most}")).unwrap_or_default();
            format!("too many processes: {reached}, and {forks} failed{most}")
        }
        LimitHit::Cpus { component, limit_cpus, throttled_usec, throttled_periods, total_periods } => {
            format!(
                "throttled: {} exceeded its limit of {limit_cpus} CPUs in {throttled_periods} of {total_periods} periods of 100 ms, and \
             waited {:.2} s",
                with_article(component),
                Duration::from_micros(*throttled_usec).as_secs_f64()
            )
        }
    }
}

fn killed_in(killed: &KilledProcesses) -> String {
    let component = with_article(&killed.component);
    match killed.process_count {
        None => format!("all processes of {component}"),
        Some(1) => format!("1 process of {component}"),
        Some(count) => format!("{count} processes of {component}"),
    }
}

fn first_victim(victim: &Victim) -> String {
    let name = victim.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("; the first was pid {}{name}", victim.pid)
}

/// `the session`, `the command`, `service web`.
fn with_article(name: &str) -> String {
    if matches!(name, "session" | "command") { format!("the {name}") } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_line() {
        let memory = LimitHit::Memory {
            level: Level::Own,
            component: Some("service web".into()),
            limit_bytes: Some(48 << 20),
            killed: vec![KilledProcesses { component: "service web".into(), process_count: None }],
            victim: Some(Victim { pid: 12, name: Some("python3".into()) }),
        };
        assert_eq!(
            line(&memory),
            "out of memory: service web reached its limit of 48 MiB, and the kernel killed all processes of service web; \
             the first was pid 12 (python3)"
        );
        let pids = LimitHit::Pids {
            component: Some("session".into()),
            limit_processes: Some(50),
            failed_forks: 2,
            largest_component: Some("command".into()),
        };
        assert_eq!(
            line(&pids),
            "too many processes: the session reached its limit of 50, and 2 forks failed; most processes belonged to \
             the command"
        );
        let killed = vec![KilledProcesses { component: "command".into(), process_count: Some(2) }];
        let below = LimitHit::Memory {
            level: Level::Descendant,
            component: Some("command".into()),
            limit_bytes: None,
            killed,
            victim: None,
        };
        assert_eq!(
            line(&below),
            "out of memory: a cgroup inside the command reached a limit of its own, and the kernel killed 2 processes \
             of the command"
        );
        let above = LimitHit::Pids {
            component: None,
            limit_processes: None,
            failed_forks: 1,
            largest_component: None,
        };
        assert_eq!(
            line(&above),
            "too many processes: a limit above the session was reached, and 1 fork failed"
        );
        let cpus = LimitHit::Cpus {
            component: "session".into(),
            limit_cpus: 0.5,
            throttled_usec: 1_500_000,
            throttled_periods: 30,
            total_periods: 40,
        };
        assert_eq!(
            line(&cpus),
            "throttled: the session exceeded its limit of 0.5 CPUs in 30 of 40 periods of 100 ms, and waited 1.50 s"
        );
    }

    #[test]
    fn the_schema_describes_every_key_of_a_limit_that_is_hit() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("schema.json")).unwrap();
        let known = &schema["properties"]["usage"]["properties"]["limits_hit"]["items"]["properties"];
        let victim = Some(Victim { pid: 7, name: Some("a".into()) });
        let killed = vec![KilledProcesses { component: "command".into(), process_count: Some(1) }];
        let (component, largest_component) = (Some("session".to_string()), Some("command".to_string()));
        for limit_hit in [
            LimitHit::Memory {
                level: Level::Descendant,
                component: component.clone(),
                limit_bytes: Some(1),
                killed,
                victim,
            },
            LimitHit::Pids { component, limit_processes: Some(5), failed_forks: 1, largest_component },
            LimitHit::Cpus {
                component: "session".into(),
                limit_cpus: 0.5,
                throttled_usec: 1,
                throttled_periods: 1,
                total_periods: 1,
            },
        ] {
            let value = serde_json::to_value(&limit_hit).unwrap();
            for key in value.as_object().unwrap().keys() {
                assert!(known[key].is_object(), "{key} in {known:#}");
            }
        }
    }
}
