//! Rules of Rust sources and manifests, and those of every text file.

use super::{Problem, Texts};

/// Longest file without its tests, in lines: beyond it a file holds more than one noun.
const FILE_LINES_MAX: usize = 600;

/// Folders that exist on somebody's machine only. Written in two halves, or this file would break its own rule.
const MACHINE_FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

pub(super) fn check(texts: &Texts) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, text) in texts.iter() {
        // A corpus holds what the world sends, and goldens what programs answered.
        // What Vite makes of ui/ is compared with its sources instead.
        let made = name.starts_with("ui/dist/") || name == "Cargo.lock" || name == "ui/package-lock.json";
        if name.contains("/corpus/") || name.contains("/testdata/") || made {
            continue;
        }
        lines(name, text, &mut problems);
        if name.ends_with(".rs") {
            rust(name, text, &mut problems);
        }
        if name.ends_with("/Cargo.toml") && !has_lints(text) {
            problems.push(Problem::new(name, 0, "says [lints] workspace = true nowhere"));
        }
    }
    problems
}

fn lines(name: &str, text: &str, problems: &mut Vec<Problem>) {
    for (line, content) in numbered(text) {
        if content.ends_with([' ', '\t', '\r']) {
            problems.push(Problem::new(name, line, "white space at the end of the line"));
        }
        if let Some(folder) = MACHINE_FOLDERS.into_iter().find(|folder| content.contains(folder)) {
            problems.push(Problem::new(name, line, format!("{folder} exists on one machine only")));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        problems.push(Problem::new(name, 0, "does not end with a line end"));
    }
}

fn rust(name: &str, text: &str, problems: &mut Vec<Problem>) {
    // A module of tests speaks through the names of its tests.
    let tests = name.ends_with("/tests.rs") || name.contains("/tests/");
    let first = text.lines().next().unwrap_or_default();
    if !tests && !first.starts_with("//!") {
        problems.push(Problem::new(name, 1, "begins without //!: say what the module does and does not"));
    }
    let mark = concat!("TO", "DO");
    let attribute = concat!("#[all", "ow(");
    let inner_attribute = concat!("#![all", "ow(");
    for (line, content) in numbered(text) {
        if let Some((_, after)) = content.split_once(mark)
            && !has_issue(after)
        {
            problems.push(Problem::new(name, line, format!("{mark} names no issue: write {mark}(#12)")));
        }
        if content.contains(attribute) || content.contains(inner_attribute) {
            problems.push(Problem::new(name, line, "use #[expect(lint, reason = \"...\")]"));
        }
    }
    let code = lines_without_tests(text);
    if !tests && code > FILE_LINES_MAX {
        let text = format!("{code} lines without tests, {FILE_LINES_MAX} at most: split it by noun");
        problems.push(Problem::new(name, 0, text));
    }
}

/// Whether a text begins with the number of an issue in parentheses.
fn has_issue(after: &str) -> bool {
    after
        .strip_prefix("(#")
        .and_then(|rest| rest.split_once(')'))
        .is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The lines before the file's own test module.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "))
        .unwrap_or(lines.len())
}

fn has_lints(manifest: &str) -> bool {
    let after = manifest.split_once("\n[lints]\n").map(|(_, after)| after);
    after.is_some_and(|after| {
        after.lines().take_while(|line| !line.starts_with('[')).any(|line| line == "workspace = true")
    })
}

/// The lines of a text, numbered from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Not `lines`, which hides a carriage return.
    text.split('\n').enumerate().map(|(position, line)| (position + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, text: &str) -> Vec<(usize, String)> {
        let texts = Texts(vec![(name.to_owned(), text.to_owned())]);
        check(&texts).into_iter().map(|problem| (problem.line, problem.text)).collect()
    }

    #[test]
    fn each_rule_names_its_line() {
        assert_eq!(problems("a/src/lib.rs", "//! Good.\n"), []);
        assert_eq!(problems("a/src/lib.rs", "fn f() {}\n")[0].0, 1);
        assert_eq!(problems("a/src/lib.rs", "//! Good.\nx \n")[0].0, 2);
        assert_eq!(problems("a/src/lib.rs", concat!("//! Good.\n\n// TO", "DO: later\n"))[0].0, 3);
        assert_eq!(problems("a/src/lib.rs", concat!("//! Good.\n// TO", "DO(#12): known\n")), []);
        assert_eq!(problems("a/src/lib.rs", concat!("//! Good.\n#[all", "ow(dead_code)]\n"))[0].0, 2);
        assert_eq!(problems("README.md", concat!("see /ho", "me/me/x\n"))[0].0, 1);
        assert_eq!(problems("README.md", "no end")[0].0, 0);
        assert_eq!(problems("a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"), []);
        assert_eq!(problems("a/Cargo.toml", "[package]\nworkspace = true\n").len(), 1);
    }

    #[test]
    fn tests_do_not_count_as_length() {
        let code = "//! Good.\n".repeat(FILE_LINES_MAX);
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(1000));
        assert_eq!(problems("a/src/lib.rs", &tests), []);
        assert_eq!(problems("a/src/lib.rs", &format!("{code}// one more\n")).len(), 1);
    }
}
