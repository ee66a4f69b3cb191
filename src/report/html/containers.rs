//! The leaked containers, and what else was removed from container engines.

use maud::{Markup, html};

use crate::leftovers::Leftover;
use crate::report::container_text::{also_removed, known, last_words, new, test, what};

/// Further ones are counted, not shown.
const SHOWN: usize = 200;

pub(super) fn section(leftovers: &[Leftover]) -> Markup {
    // Those that are known come last.
    let leaked = [new(leftovers), known(leftovers)].concat();
    let (shown, hidden) = leaked.split_at(leaked.len().min(SHOWN));
    let removed = also_removed(leftovers);
    html! {
        @if !leaked.is_empty() || removed.is_some() {
            section {
                h2 { @if leaked.is_empty() { "Containers" } @else { "Leaked containers" } }
                ul.tree { @for it in shown { (container(it)) } }
                @if !hidden.is_empty() { p.dim { "and " (hidden.len()) " more" } }
                @if let Some(removed) = &removed { p.dim { (removed) } }
            }
        }
    }
}

fn container(leaked: &Leftover) -> Markup {
    let words: Vec<_> = last_words(leaked).collect();
    html! {
        li {
            code { (what(leaked)) }
            @if leaked.known { " " span.tag { "known" } }
            br;
            @match test(leaked) {
                Some(test) => { "created during " span.test { (test) } }
                None => span.dim { "created during an unknown test" }
            }
            @if !words.is_empty() { pre { (words.join("\n")) } }
        }
    }
}
