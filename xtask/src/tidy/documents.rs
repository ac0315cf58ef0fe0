//! Documents that must not go stale: links, the references of events and gaps, the map of crates.

use super::{Problem, Texts};
use crate::workspace::Workspace;

/// Where the codes of events are defined, and where operators read of them.
const EVENTS: (&str, &str) = ("core/model/src/event.rs", "docs/ref/events.md");
/// Where the states and reasons of coverage are defined, and where they are explained.
const COVERAGE: (&str, &str) = ("core/model/src/coverage.rs", "docs/ref/api.md");
/// Documents that a reader expects to find.
const REQUIRED: [&str; 12] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "docs/design/glossary.md",
    "docs/design/store.md",
    "docs/ref/api.md",
    "docs/ref/cli.md",
    "docs/ref/events.md",
    "docs/ref/keepwatch.toml",
];

pub(super) fn check(workspace: &Workspace, texts: &Texts) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in REQUIRED {
        if texts.text(name).is_none() {
            problems.push(Problem::new(name, 0, "is missing"));
        }
    }
    for (name, text) in texts.iter().filter(|(name, _)| name.ends_with(".md")) {
        for (line, target) in links(text) {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            if !workspace.root.join(folder).join(target).exists() {
                problems.push(Problem::new(name, line, format!("links to {target}, which does not exist")));
            }
        }
    }
    let codes = texts.text(EVENTS.0).map(event_codes).unwrap_or_default();
    mentioned("event code", &codes, EVENTS, texts, &mut problems);
    let coverage = texts.text(COVERAGE.0).unwrap_or_default();
    for kind in ["GapReason", "UnknownReason", "Origin", "Backfill"] {
        mentioned(kind, &variants(coverage, kind), COVERAGE, texts, &mut problems);
    }
    let map = texts.text("ARCHITECTURE.md").unwrap_or_default();
    for (_, folder) in workspace.members() {
        if !map.contains(&format!("`{folder}`")) {
            problems.push(Problem::new("ARCHITECTURE.md", 0, format!("does not say what `{folder}` is for")));
        }
    }
    problems
}

/// Complains when nothing was found (the source changed its shape) or a word is not explained.
fn mentioned(
    what: &str,
    words: &[String],
    (source, document): (&str, &str),
    texts: &Texts,
    problems: &mut Vec<Problem>,
) {
    if words.is_empty() {
        problems.push(Problem::new(
            source,
            0,
            format!("no {what} was found: adapt xtask/src/tidy/documents.rs"),
        ));
    }
    let text = texts.text(document).unwrap_or_default();
    for word in words {
        if !text.contains(&format!("`{word}`")) {
            problems.push(Problem::new(document, 0, format!("does not explain the {what} `{word}`")));
        }
    }
}

/// The texts of the codes in the `event_codes!` table: lines such as `NodeStarted = "node_started", Info;`.
fn event_codes(source: &str) -> Vec<String> {
    let table = source.split_once("\nevent_codes! {\n").map_or("", |(_, table)| table);
    let table = table.split_once("\n}\n").map_or(table, |(table, _)| table);
    table
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

/// The variants of an enum without data, as they are written in JSON.
fn variants(source: &str, name: &str) -> Vec<String> {
    let head = format!("\npub enum {name} {{\n");
    let body = source.split_once(head.as_str()).map_or("", |(_, body)| body);
    let body = body.split_once("\n}\n").map_or(body, |(body, _)| body);
    body.lines()
        .map(|line| line.trim().trim_end_matches(','))
        .filter(|line| line.starts_with(|letter: char| letter.is_ascii_uppercase()))
        .map(snake_case)
        .collect()
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// What a link begins and ends with: of Markdown, and of the pictures that are written in HTML for dark and for light.
const LINKS: [(&str, char); 3] = [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')];

/// The relative links of a Markdown text with their lines, without the part after `#`.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let parts =
            LINKS.iter().flat_map(|(begin, end)| line.split(begin).skip(1).map(move |part| (part, *end)));
        for (part, end) in parts {
            let Some((target, _)) = part.split_once(end) else { continue };
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                links.push((position + 1, target));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_from_the_sources() {
        let source =
            "\nevent_codes! {\n    /// \"Quoted\".\n    A = \"a_b\", Info;\n    C = \"c\", Info;\n}\n\n\"d\"";
        assert_eq!(event_codes(source), ["a_b", "c"]);
        let source = "x\npub enum GapReason {\n    /// Why.\n    CameraSilent,\n    Damaged,\n}\n\nimpl X {\n    Y,\n}\n";
        assert_eq!(variants(source, "GapReason"), ["camera_silent", "damaged"]);
    }

    #[test]
    fn only_links_into_the_repository_are_followed() {
        let text = "[a](docs/a.md#part) and [b](https://example.org/b)\n[c](#here) [d](../d.md)";
        assert_eq!(links(text), [(1, "docs/a.md"), (2, "../d.md")]);
        let picture = "<source srcset=\"a.png\">\n<img src=\"b.png\" alt=\"B\">";
        assert_eq!(links(picture), [(1, "a.png"), (2, "b.png")]);
    }
}
