//! What is in a pod that is about to be removed. Its removal takes all of its containers along.

use std::collections::HashSet;
use std::io;

use super::ending::path;
use super::exchange::{Answer, Limit};
use super::listing::Asking;
use super::object::EngineObject;
use crate::sys::time::Instant;
use crate::text::plain;

impl Asking<'_> {
    /// Why each of these pods cannot be removed: it has containers that are not among `ours`.
    pub(super) fn strangers_in(
        &mut self,
        pods: &[&EngineObject],
        ours: &[EngineObject],
        deadline: Instant,
    ) -> Vec<Option<String>> {
        let describe = |it: &EngineObject| (format!("{}/json", path(it)), None);
        let answers = self.tell("GET", pods, describe, Limit::until(deadline));
        let ours: HashSet<&str> = ours.iter().map(|it| it.id.as_str()).collect();
        answers.into_iter().map(|answer| strangers(answer, &ours)).collect()
    }
}

pub(super) fn strangers(answer: io::Result<Answer>, ours: &HashSet<&str>) -> Option<String> {
    let body = match answer {
        Ok(Answer { code: 404, .. }) => return None,
        answer => answer.and_then(Answer::ok),
    };
    let described = body.and_then(|body| {
        let parsed: io::Result<serde_json::Value> = serde_json::from_slice(&body).map_err(io::Error::other);
        parsed
    });
    let pod = match described {
        Ok(pod) => pod,
        Err(error) => return Some(format!("cannot determine what is in it: {}", plain(&error))),
    };
    let infra = pod["InfraContainerID"].as_str();
    let all = pod["Containers"].as_array().into_iter().flatten();
    let names: Vec<_> = all
        .filter_map(|it| Some((it["Id"].as_str()?, it["Name"].as_str().unwrap_or_default())))
        .filter(|(id, _)| Some(*id) != infra && !ours.contains(id))
        .map(|(id, name)| if name.is_empty() { id } else { name })
        .collect();
    (!names.is_empty()).then(|| format!("it has containers that are not the session's: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_a_container_of_somebody_else_stays() {
        let said = |code, body: &str| {
            strangers(
                Ok(Answer { code, body: body.as_bytes().to_vec(), server: None }),
                &HashSet::from(["1", "2"]),
            )
        };
        let pod = |id: &str| {
            format!(
                r#"{{"InfraContainerID":"0","Containers":[{{"Id":"0","Name":"infra"}},{{"Id":"1"}},{{"Id":"{id}","Name":"web"}}]}}"#
            )
        };
        assert_eq!(said(200, &pod("2")), None);
        assert_eq!(said(200, &pod("3")).unwrap(), "it has containers that are not the session's: web");
        assert_eq!(said(404, "{}"), None);
        for (code, body) in [(500, "{}"), (200, "x")] {
            assert!(said(code, body).unwrap().starts_with("cannot determine what is in it: "));
        }
        assert!(strangers(Err(io::ErrorKind::TimedOut.into()), &HashSet::new()).is_some());
    }
}
