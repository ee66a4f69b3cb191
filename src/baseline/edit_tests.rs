//! Whatever the layout of the file is, an edit changes only the lines that it is about.

use std::path::Path;

use proptest::prelude::*;

use super::edit::Edited;
use super::entry::{Entry, UnlistedLeak};
use super::file::Baseline;
use super::judge::Judgement;
use crate::leaks::Owner;

fn parsed(text: &str) -> Baseline {
    Baseline::parse(Path::new("cgrun-leaks.toml"), text.into()).unwrap()
}

fn leak(test: &str, program: &str) -> UnlistedLeak {
    UnlistedLeak { owner: Owner::Test(test.into()), program: program.into() }
}

fn with(text: &str, leaks: &[(&str, &str)]) -> String {
    let baseline = parsed(text);
    let unlisted = leaks.iter().map(|(test, program)| leak(test, program)).collect();
    let judgement = Judgement { seen: vec![Some(1); baseline.entries().count()], unlisted };
    baseline.with_leaks(&judgement).unwrap().text
}

fn seen(text: &str, seen: &[usize]) -> Edited {
    let seen = seen.iter().copied().map(Some).collect();
    parsed(text).without_unseen(&Judgement { seen, unlisted: Vec::new() }).unwrap()
}

#[test]
fn a_new_baseline_has_one_sorted_line_for_each_leak() {
    let text = with("", &[("b", "x"), ("a", "y"), ("a", "y"), ("a", "x")]);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            "version = 1",
            "leaks = [",
            r#"  { test = "a", program = "x" },"#,
            r#"  { test = "a", program = "y" },"#,
            r#"  { test = "b", program = "x" },"#,
            "]",
        ]
    );
}

#[test]
fn what_a_person_wrote_between_the_lines_stays() {
    let text = "# ours\nversion = 1\nleaks = [\n  # mail, see issue 7\n  { test = \"b*\", program = \"x\" }, # old\n\n  \
                # web\n  { test = \"d\", program = \"x\", at_most = 2 } # last\n]\n";
    let wanted = "# ours\nversion = 1\nleaks = [\n  { test = \"a\", program = \"x\" },\n  # mail, see issue 7\n  \
                  { test = \"b*\", program = \"x\" }, # old\n  { test = \"c\", program = \"x\" },\n\n  # web\n  \
                  { test = \"d\", program = \"x\", at_most = 2 }, # last\n  { test = \"e\", program = \"x\" },\n]\n";
    assert_eq!(with(text, &[("e", "x"), ("a", "x"), ("c", "x")]), wanted);
}

#[test]
fn only_what_was_not_seen_is_removed_and_bounds_are_lowered() {
    let text = "leaks = [\n  # why\n  { test = \"a\", program = \"x\", at_most = 3 }, # a\n  { test = \"b\", program = \"x\" },\n  \
                { test = \"c\", program = \"x\" }\n]\n";
    let edited = seen(text, &[2, 0, 1]);
    let removed: Vec<_> = edited.removed.iter().map(Entry::to_string).collect();
    assert_eq!(removed, [r#"{ test = "b", program = "x" }"#]);
    assert_eq!((edited.entry_count, edited.rebound), (2, 1));
    let wanted = "leaks = [\n  # why\n  { test = \"a\", program = \"x\", at_most = 2 }, # a\n  { test = \"c\", program = \"x\" }\n]\n";
    assert_eq!(edited.text, wanted);
    assert_eq!(seen(text, &[3, 1, 1]).text, text);
}

proptest! {
    #[test]
    fn an_edit_of_any_layout_has_the_entries_that_it_should_have(
        old in prop::collection::vec(("[a-f]", prop::bool::ANY, "(| |,|, |,\n|, # a, ]\n| # ]\n,|,\r\n|,\n\n # b\n)"), 0..6),
        start in "(\\[|\\[ |\\[\n|\\[ # \\[\n|\\[\n\n)",
        end in "(|\n|\n # c\n| \n)",
        new in prop::collection::btree_set("[a-f]", 0..4),
        is_seen in prop::collection::vec(prop::bool::ANY, 6),
    ) {
        let mut text = format!("version = 1\nleaks = {start}");
        for (at, (name, bound, after)) in old.iter().enumerate() {
            let bound = if *bound { ", at_most = 2" } else { "" };
            text += &format!("{{ test = \"{name}\", program = \"x\"{bound} }}{after}");
            if !after.contains(',') && at + 1 < old.len() {
                text += ",";
            }
        }
        text += &format!("{end}]\n");
        let Ok(baseline) = Baseline::parse(Path::new("x"), text) else { return Ok(()) };
        let unlisted: Vec<_> = new.iter().map(|name| leak(name, "y")).collect();
        let seen: Vec<_> = is_seen.iter().take(old.len()).map(|&it| Some(usize::from(it))).collect();
        let judgement = Judgement { seen, unlisted: unlisted.clone() };
        let entries = |text: &str| parsed(text).entries().cloned().collect::<Vec<_>>();
        let sorted = |mut entries: Vec<Entry>| { entries.sort(); entries };

        let added = baseline.with_leaks(&judgement);
        prop_assert!(added.is_ok(), "{added:?} {}", baseline.text);
        let wanted = baseline.entries().cloned().chain(unlisted.into_iter().map(Entry::from)).collect();
        prop_assert_eq!(sorted(entries(&added.unwrap().text)), sorted(wanted));

        let kept = baseline.without_unseen(&judgement);
        prop_assert!(kept.is_ok(), "{kept:?} {}", baseline.text);
        let names = |entries: Vec<Entry>| entries.into_iter().map(|it| it.owner).collect::<Vec<_>>();
        let wanted = baseline.entries().zip(&judgement.seen).filter(|(_, seen)| **seen > Some(0)).map(|(it, _)| it.clone());
        prop_assert_eq!(names(entries(&kept.unwrap().text)), names(wanted.collect()));
    }
}
