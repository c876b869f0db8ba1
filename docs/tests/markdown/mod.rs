//! As much of Markdown as the documents need: links, code spans and headings, outside of code blocks.

use std::collections::BTreeSet;

/// The lines that are not in a code block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// A line's pieces outside and inside of code spans, in turn.
fn pieces(line: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut code = true;
    line.split('`').map(move |piece| {
        code = !code;
        (code, piece)
    })
}

/// The targets of all links.
pub(crate) fn links(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in prose(text) {
        // A link's text may hold a code span, its target may not: what is in one is left out.
        let bare: String = pieces(line)
            .filter(|(code, _)| !code)
            .map(|(_, piece)| piece)
            .collect();
        let targets = bare
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        out.extend(targets.map(|(target, _)| target.to_string()));
    }
    out
}

/// What stands in code spans.
pub(crate) fn code_spans(text: &str) -> Vec<String> {
    // Two backquotes are one: the empty pieces between them change sides twice.
    prose(text)
        .flat_map(|line| {
            let line = line.replace("``", "`");
            pieces(&line)
                .filter(|(code, _)| *code)
                .map(|(_, piece)| piece.to_string())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The anchors of all headings, as mdBook and code hosts make them.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let slug: String = words
            .chars()
            .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let again = (1..)
            .map(|count| format!("{slug}-{count}"))
            .find(|slug| !out.contains(slug));
        if !out.insert(slug) {
            out.extend(again);
        }
    }
    out
}
