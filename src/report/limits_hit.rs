//! The limits that were hit, one line each.

use std::time::Duration;

use crate::limits::{At, Killed, Struck, Usage, Victim};
use crate::text::Bytes;

/// Limits that made something fail.
pub fn failures(usage: &Usage) -> Vec<String> {
    usage.struck.iter().filter(|hit| !is_slowdown(hit)).map(line).collect()
}

/// Limits that only made something slower.
pub fn slowdowns(usage: &Usage) -> Vec<String> {
    usage.struck.iter().filter(|hit| is_slowdown(hit)).map(line).collect()
}

pub fn all(usage: Option<&Usage>) -> Vec<String> {
    usage.iter().flat_map(|usage| usage.struck.iter().map(line)).collect()
}

fn is_slowdown(hit: &Struck) -> bool {
    matches!(hit, Struck::Cpus { .. })
}

fn line(hit: &Struck) -> String {
    match hit {
        Struck::Memory { at, of, bytes, killed, victim } => {
            let component = of.as_deref().map(with_article).unwrap_or_default();
            let reached = match (at, bytes) {
                (At::Own, Some(bytes)) => format!("{component} reached its limit of {}", Bytes(*bytes)),
                (At::Own, None) => format!("{component} could get no more memory"),
                (At::Below, _) => format!("a cgroup inside {component} reached a limit of its own"),
                (At::Above, _) => "a cgroup above the session, or the host, had no more memory".to_string(),
            };
            let killed: Vec<_> = killed.iter().map(killed_in).collect();
            let first = victim.as_ref().map(first_victim).unwrap_or_default();
            format!("out of memory: {reached}, and the kernel killed {}{first}", killed.join(", "))
        }
        Struck::Pids { of, count, refused, most } => {
            let reached = match of.as_deref().zip(*count) {
                Some((of, count)) => format!("{} reached its limit of {count}", with_article(of)),
                None => "a limit above the session was reached".to_string(),
            };
            let forks = if *refused == 1 { "1 fork".into() } else { format!("{refused} forks") };
            let most = most.as_deref().map(with_article);
            let most = most.map(|most| format!("; most processes belonged to {most}")).unwrap_or_default();
            format!("too many processes: {reached}, and {forks} failed{most}")
        }
        Struck::Cpus { of, cpus, throttled_usec, periods, of_periods } => format!(
            "throttled: {} exceeded its {cpus} CPUs in {periods} of {of_periods} periods of 100 ms, and \
             waited {:.2} s",
            with_article(of),
            Duration::from_micros(*throttled_usec).as_secs_f64()
        ),
    }
}

fn killed_in(killed: &Killed) -> String {
    let component = with_article(&killed.part);
    match killed.processes {
        None => format!("all of {component}"),
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
        let memory = Struck::Memory {
            at: At::Own,
            of: Some("service web".into()),
            bytes: Some(48 << 20),
            killed: vec![Killed { part: "service web".into(), processes: None }],
            victim: Some(Victim { pid: 12, name: Some("python3".into()) }),
        };
        assert_eq!(
            line(&memory),
            "out of memory: service web reached its limit of 48 MiB, and the kernel killed all of service web; \
             the first was pid 12 (python3)"
        );
        let pids = Struck::Pids {
            of: Some("session".into()),
            count: Some(50),
            refused: 2,
            most: Some("command".into()),
        };
        assert_eq!(
            line(&pids),
            "too many processes: the session reached its limit of 50, and 2 forks failed; most processes belonged to \
             the command"
        );
        let killed = vec![Killed { part: "command".into(), processes: Some(2) }];
        let below =
            Struck::Memory { at: At::Below, of: Some("command".into()), bytes: None, killed, victim: None };
        assert_eq!(
            line(&below),
            "out of memory: a cgroup inside the command reached a limit of its own, and the kernel killed 2 processes \
             of the command"
        );
        let above = Struck::Pids { of: None, count: None, refused: 1, most: None };
        assert_eq!(
            line(&above),
            "too many processes: a limit above the session was reached, and 1 fork failed"
        );
        let cpus = Struck::Cpus {
            of: "session".into(),
            cpus: 0.5,
            throttled_usec: 1_500_000,
            periods: 30,
            of_periods: 40,
        };
        assert_eq!(
            line(&cpus),
            "throttled: the session exceeded its 0.5 CPUs in 30 of 40 periods of 100 ms, and waited 1.50 s"
        );
    }

    #[test]
    fn the_schema_describes_every_key_of_a_limit_that_is_hit() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("schema.json")).unwrap();
        let known = &schema["properties"]["usage"]["properties"]["limits_hit"]["items"]["properties"];
        let victim = Some(Victim { pid: 7, name: Some("a".into()) });
        let killed = vec![Killed { part: "command".into(), processes: Some(1) }];
        let (of, most) = (Some("session".to_string()), Some("command".to_string()));
        for limit_hit in [
            Struck::Memory { at: At::Below, of: of.clone(), bytes: Some(1), killed, victim },
            Struck::Pids { of, count: Some(5), refused: 1, most },
            Struck::Cpus { of: "session".into(), cpus: 0.5, throttled_usec: 1, periods: 1, of_periods: 1 },
        ] {
            let value = serde_json::to_value(&limit_hit).unwrap();
            for key in value.as_object().unwrap().keys() {
                assert!(known[key].is_object(), "{key} in {known:#}");
            }
        }
    }
}
