//! What may become of a description: labels are added, and nothing else changes.

use super::json::{Json, first};

/// A value of [`crate::cgrun::LABELS`], by name.
fn ours(name: &str) -> &'static str {
    crate::cgrun::LABELS.iter().find(|it| it.0 == name).unwrap().1
}

/// As Go compares the names of fields (`encoding/json`).
fn is_labels(key: &str) -> bool {
    let folded = |c: char| if c == '\u{17f}' { 's' } else { c.to_ascii_lowercase() };
    key.chars().map(folded).eq("labels".chars())
}

/// Panics if `changed` is not `sent` with labels. `None` stands for a description that is passed on as it is.
pub fn check(sent: &[u8], changed: Option<&[u8]>) {
    let text = String::from_utf8_lossy(sent);
    let text = if text.trim_ascii().is_empty() { "{}" } else { &text };
    let (sent, follows) = match first(text) {
        Some((Json::Object(sent), follows)) => (sent, follows),
        Some((Json::Null, "")) => (Vec::new(), ""),
        // Engines do not agree on these.
        Some((Json::Null, _)) => return,
        Some((Json::TooDeep, _)) => return,
        _ => return assert!(changed.is_none(), "labels without a description"),
    };
    let mut labels: Vec<(String, Json)> = Vec::new();
    let mut can_be_created = true;
    for (_, value) in sent.iter().filter(|it| is_labels(&it.0)) {
        match value {
            Json::Object(more) => labels.extend(more.clone()),
            Json::Null => {}
            _ => can_be_created = false,
        }
    }
    can_be_created &= labels.iter().all(|it| matches!(it.1, Json::Text(_) | Json::Null));
    let Some(changed) = changed else {
        return assert!(!can_be_created, "what an engine creates has no labels: {text}");
    };
    let changed = std::str::from_utf8(changed).unwrap();
    let Some((Json::Object(changed), after)) = first(changed) else { panic!("{changed}") };
    // Half of a surrogate pair there can have been replaced too.
    assert_eq!(after.len(), follows.len());
    let others =
        |all: &[(String, Json)]| all.iter().filter(|it| !is_labels(&it.0)).cloned().collect::<Vec<_>>();
    assert_eq!(others(&changed), others(&sent));
    let found: Vec<_> = changed.iter().filter(|it| is_labels(&it.0)).collect();
    let [(_, Json::Object(found))] = &found[..] else { panic!("{changed:?}") };
    let value = |name: &str| found.iter().rfind(|it| it.0 == name).map(|it| &it.1);
    let has = |name: String, text: &str| value(&name) == Some(&Json::Text(text.into()));
    let session = ours("cgrun.session");
    let is_known = ["", "com.docker."].iter().any(|prefix| {
        // Or a session within ours has labelled it before.
        let outer = value(&format!("{prefix}cgrun.outer.{session}"));
        crate::cgrun::LABELS.iter().all(|(name, text)| has(format!("{prefix}{name}"), text))
            || outer.is_some() && outer == value(&format!("{prefix}cgrun.session"))
    });
    assert!(is_known, "{found:?}");
    if !can_be_created {
        // The engine refuses it, whatever became of the order in a label that is no text.
        return;
    }
    for (at, (name, text)) in labels.iter().enumerate() {
        let is_last = labels[at + 1..].iter().all(|it| it.0 != *name);
        if is_last && !name.starts_with("cgrun.") && !name.starts_with("com.docker.cgrun.") {
            assert_eq!(value(name), Some(text), "{name}");
        }
    }
}

/// Whether a description has this name of a volume anywhere.
pub fn contains_name(json: &Json, name: &str) -> bool {
    match json {
        Json::Text(text) => text.split(':').next() == Some(name),
        Json::List(all) => all.iter().any(|it| contains_name(it, name)),
        Json::Object(all) => all.iter().any(|it| contains_name(&it.1, name)),
        _ => false,
    }
}
