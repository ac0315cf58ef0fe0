//! The `name=value` lists of authentication headers, quoted or not, of one or several schemes.

/// One scheme and its parameters.
pub(super) struct Parameters {
    pub(super) scheme: String,
    pairs: Vec<(String, String)>,
}

impl Parameters {
    /// The first value of `name`, unquoted.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Splits a header into schemes. A word before a parameter's name begins a scheme, for several may stand in one
/// header, with the same comma between schemes as between parameters.
pub(super) fn split_schemes(header: &str) -> Vec<Parameters> {
    let mut schemes: Vec<Parameters> = Vec::new();
    for item in split_items(header) {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        let (name, value) = item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value)));
        let name = name.trim();
        let (scheme, name) = match (name.split_once(char::is_whitespace), value) {
            (Some((scheme, name)), _) => (Some(scheme), name.trim()),
            (None, None) => (Some(name), ""),
            (None, Some(_)) => (None, name),
        };
        if let Some(scheme) = scheme {
            schemes.push(Parameters { scheme: scheme.to_owned(), pairs: Vec::new() });
        }
        if let (Some(last), Some(value)) = (schemes.last_mut(), value) {
            last.pairs.push((name.to_owned(), unquoted(value.trim())));
        }
    }
    schemes
}

/// Splits at commas outside of quotes.
fn split_items(header: &str) -> Vec<&str> {
    let (mut inside, mut escaped) = (false, false);
    header
        .split(move |c| {
            let split = c == ',' && !inside;
            match c {
                _ if escaped => escaped = false,
                '\\' if inside => escaped = true,
                '"' => inside = !inside,
                _ => {}
            }
            split
        })
        .collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => text.extend(characters.next()),
            c => text.push(c),
        }
    }
    text
}

/// A quoted string (RFC 7230 §3.2.6), without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
