//! XML on one line: one camera fails on line breaks in a packet, and no reader needs them.

/// Attributes of an element to be written: names with their prefixes, and values that are escaped on the way.
pub type Attributes<'a> = &'a [(&'a str, &'a str)];

/// Writes elements; each is closed by the call that opened it, so what is written is always balanced.
///
/// Names are written as they are given, prefix included, and must be literals of the program. Text and values are
/// escaped; characters that XML 1.0 cannot carry are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    text: String,
}

impl Writer {
    /// Nothing is written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an element with attributes and whatever `content` writes into it.
    pub fn element(&mut self, name: &str, attributes: Attributes<'_>, content: impl FnOnce(&mut Self)) {
        self.text.push('<');
        self.text.push_str(name);
        for (name, value) in attributes {
            self.text.push(' ');
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.escape(value);
            self.text.push('"');
        }
        self.text.push('>');
        let start = self.text.len();
        content(self);
        if self.text.len() == start {
            self.text.pop();
            self.text.push_str("/>");
        } else {
            self.text.push_str("</");
            self.text.push_str(name);
            self.text.push('>');
        }
    }

    /// Writes an element without attributes and whatever `content` writes into it.
    pub fn within(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.element(name, &[], content);
    }

    /// Writes an element that holds only text.
    pub fn leaf(&mut self, name: &str, text: &str) {
        self.element(name, &[], |writer| writer.escape(text));
    }

    /// Writes an element that holds only text, with attributes.
    pub fn leaf_with(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.element(name, attributes, |writer| writer.escape(text));
    }

    /// Writes an element that holds only text, when there is one to write.
    pub fn leaf_if(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.leaf(name, text);
        }
    }

    /// Writes an element with attributes and nothing in it.
    pub fn empty(&mut self, name: &str, attributes: Attributes<'_>) {
        self.element(name, attributes, |_| {});
    }

    /// Writes text into the element that is open.
    pub fn text(&mut self, text: &str) {
        self.escape(text);
    }

    /// Writes what another writer has written, unchanged.
    pub fn append(&mut self, written: &Self) {
        self.text.push_str(&written.text);
    }

    /// What was written, with the XML declaration before it.
    pub fn document(&self) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{}", self.text)
    }

    /// What was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn escape(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '&' => self.text.push_str("&amp;"),
                '"' => self.text.push_str("&quot;"),
                // An attribute's line ends would be read as spaces, a text's carriage returns as line feeds.
                '\t' => self.text.push_str("&#9;"),
                '\n' => self.text.push_str("&#10;"),
                '\r' => self.text.push_str("&#13;"),
                // XML 1.0 §2.2: these stand in no document, escaped or not.
                '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => {}
                other => self.text.push(other),
            }
        }
    }
}
