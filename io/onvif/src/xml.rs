//! XML of devices, read into a small tree within bounds, and written with escapes.
//!
//! Reading is lenient where devices are careless (prefixes, namespace versions, bare `&`, bytes that are no UTF-8) and
//! strict where XML is dangerous: a document type is refused, so that no entity can be defined, and bytes, depth,
//! elements and attributes have limits. Prefixes are resolved on the way and not kept, except in text, of which the
//! element knows what they stand for.

mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::namespace;
pub use write::{Attributes, Writer};

/// Most namespace prefixes that may be in force at once: ONVIF knows about sixty.
const BINDINGS_MAX: usize = 256;

/// Words of a text whose prefixes are resolved: lists of names are short.
const NAMES_MAX: usize = 64;

/// How much of a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest document, in bytes.
    pub bytes: usize,
    /// Elements inside one another.
    pub depth: usize,
    /// Elements of the document.
    pub elements: usize,
    /// Attributes of one element.
    pub attributes: usize,
}

impl Limits {
    /// What the largest answers seen of real devices stay far below, but for the profiles of recorders.
    pub const DEFAULT: Self = Self { bytes: 1 << 20, depth: 32, elements: 20_000, attributes: 64 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why bytes are not read as XML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// More than is read.
    #[error("the document has more than {max} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many are read.
        max: usize,
    },
    /// A document type could define entities that grow without end.
    #[error("the document has a document type, which is refused")]
    DocumentType,
    /// It is not well formed.
    #[error("not well-formed XML at byte {position}: {reason}")]
    Malformed {
        /// Where, in bytes from the start.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// It ends before the root element does, or has none.
    #[error("the document ends too early")]
    Incomplete,
}

/// One attribute of an element; namespace declarations are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name without prefix.
    pub name: String,
    /// Its value, with references resolved.
    pub value: String,
}

/// An element with everything in it; comments and processing instructions are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The namespace that its prefix stands for; `None` when it has none or the prefix was never declared.
    pub namespace: Option<Arc<str>>,
    /// Its name without prefix.
    pub name: String,
    /// Its attributes, in order.
    pub attributes: Vec<Attribute>,
    /// The elements in it, in order.
    pub children: Vec<Self>,
    /// All text directly in it, joined, with references resolved and without white space at both ends.
    pub text: String,
    /// The prefixes of words in its text, and the namespaces that they stand for where it stands.
    prefixes: Vec<(String, Arc<str>)>,
}

impl Element {
    /// Reads a document within the default limits and returns its root.
    pub fn parse(document: &[u8]) -> Result<Self, XmlError> {
        Self::parse_within(document, &Limits::DEFAULT)
    }

    /// Reads a document within `limits` and returns its root.
    pub fn parse_within(document: &[u8], limits: &Limits) -> Result<Self, XmlError> {
        if document.len() > limits.bytes {
            return Err(XmlError::TooMuch { what: "bytes", max: limits.bytes });
        }
        // Names of places and cameras arrive in all encodings; what is not UTF-8 must not cost the rest.
        let text = String::from_utf8_lossy(document);
        Parser::new(&text, *limits).run()
    }

    /// Whether it has this name, in this namespace or another version of it; an element without namespace may be
    /// in any.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace.as_deref().is_none_or(|own| namespace::same(own, namespace))
    }

    /// The first child of this name, whatever its namespace.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first child of this name in this namespace, as [`is`](Self::is) has it.
    pub fn child_in(&self, namespace: &str, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(namespace, name))
    }

    /// All children of this name, whatever their namespace.
    pub fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element that is reached by taking the first child of each name in turn.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The text of the element at `path`; `None` when it is missing or empty.
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).map(|element| element.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The namespace of a word of its text that is a name with a prefix, as in a list of types; `None` when it has none or
    /// the prefix was never declared.
    pub fn namespace_of(&self, word: &str) -> Option<&str> {
        let (prefix, _) = word.split_once(':')?;
        let known = self.prefixes.iter().find(|(known, _)| known == prefix);
        known.map(|(_, namespace)| &**namespace)
    }

    /// The value of an attribute, by its name without prefix.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|found| found.value.as_str())
    }

    /// The first element of this name in the tree below, in the order of the document; not this one itself.
    pub fn descendant(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(
            |child| {
                if child.name == name { Some(child) } else { child.descendant(name) }
            },
        )
    }
}

/// A name in text, such as a type or a topic, without the prefix that a document of its own would need.
pub fn local_name(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// An element that is not closed yet, and how many bindings were in force before it.
struct Open {
    element: Element,
    bindings: usize,
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    limits: Limits,
    open: Vec<Open>,
    /// Prefixes and their namespaces, innermost last.
    bindings: Vec<(String, Arc<str>)>,
    elements: usize,
    root: Option<Element>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, limits: Limits) -> Self {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        // Addresses with a bare `&` between their parameters are common.
        config.allow_dangling_amp = true;
        Self { reader, limits, open: Vec::new(), bindings: Vec::new(), elements: 0, root: None }
    }

    fn malformed(&self, reason: impl ToString) -> XmlError {
        XmlError::Malformed { position: self.reader.buffer_position(), reason: reason.to_string() }
    }

    fn run(mut self) -> Result<Element, XmlError> {
        while self.root.is_none() {
            match self.reader.read_event().map_err(|error| self.malformed(error))? {
                Event::Start(start) => self.start(&start)?,
                Event::Empty(start) => {
                    self.start(&start)?;
                    self.end();
                }
                Event::End(_) => self.end(),
                Event::Text(text) => self.text(&text.xml10_content()),
                Event::CData(data) => self.text(&data.xml10_content()),
                Event::GeneralRef(reference) => self.reference(&reference)?,
                Event::DocType(_) => return Err(XmlError::DocumentType),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => return Err(XmlError::Incomplete),
            }
        }
        // What follows the root is not read: devices append white space, NULs and worse.
        self.root.ok_or(XmlError::Incomplete)
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        self.elements += 1;
        if self.elements > self.limits.elements {
            return Err(XmlError::TooMuch { what: "elements", max: self.limits.elements });
        }
        if self.open.len() >= self.limits.depth {
            return Err(XmlError::TooMuch { what: "elements inside one another", max: self.limits.depth });
        }
        let before = self.bindings.len();
        let mut attributes = Vec::new();
        for (position, attribute) in start.attributes().with_checks(false).enumerate() {
            if position >= self.limits.attributes {
                return Err(XmlError::TooMuch {
                    what: "attributes in an element",
                    max: self.limits.attributes,
                });
            }
            let attribute = attribute.map_err(|error| self.malformed(error))?;
            // A reference that cannot be resolved is kept as it stands, as in text.
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_or_else(|_| attribute.value.to_string(), Into::into);
            let (prefix, name) = split(attribute.key.into_inner());
            if prefix == "xmlns" {
                self.bind(name, value)?;
            } else if prefix.is_empty() && name == "xmlns" {
                self.bind("", value)?;
            } else {
                attributes.push(Attribute { name: name.to_owned(), value });
            }
        }
        let (prefix, name) = split(start.name().into_inner());
        let bound = self.bindings.iter().rev().find(|(bound, _)| bound == prefix);
        let namespace = bound.map(|(_, namespace)| Arc::clone(namespace)).filter(|uri| !uri.is_empty());
        let element = Element { namespace, name: name.to_owned(), attributes, ..Element::default() };
        self.open.push(Open { element, bindings: before });
        Ok(())
    }

    fn bind(&mut self, prefix: &str, namespace: String) -> Result<(), XmlError> {
        if self.bindings.len() >= BINDINGS_MAX {
            return Err(XmlError::TooMuch { what: "namespaces in force", max: BINDINGS_MAX });
        }
        self.bindings.push((prefix.to_owned(), namespace.into()));
        Ok(())
    }

    fn end(&mut self) {
        let Some(Open { mut element, bindings }) = self.open.pop() else { return };
        element.prefixes = self.prefixes(&element.text);
        self.bindings.truncate(bindings);
        let trimmed = element.text.trim();
        if trimmed.len() < element.text.len() {
            element.text = trimmed.to_owned();
        }
        match self.open.last_mut() {
            Some(parent) => parent.element.children.push(element),
            None => self.root = Some(element),
        }
    }

    /// The prefixes of the words in a text, as they are bound here.
    fn prefixes(&self, text: &str) -> Vec<(String, Arc<str>)> {
        let mut prefixes: Vec<(String, Arc<str>)> = Vec::new();
        let words = text.split_ascii_whitespace().take(NAMES_MAX);
        for (prefix, _) in words.filter_map(|word| word.split_once(':')) {
            let bound = self.bindings.iter().rev().find(|(bound, _)| bound == prefix);
            if let Some((prefix, namespace)) = bound
                && prefixes.iter().all(|(known, _)| known != prefix)
            {
                prefixes.push((prefix.clone(), Arc::clone(namespace)));
            }
        }
        prefixes
    }

    fn text(&mut self, text: &str) {
        if let Some(open) = self.open.last_mut() {
            open.element.text.push_str(text);
        }
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), XmlError> {
        let resolved = reference.resolve_char_ref().map_err(|error| self.malformed(error))?;
        match (resolved, &**reference) {
            (Some(character), _) => self.text(character.encode_utf8(&mut [0; 4])),
            (None, "lt") => self.text("<"),
            (None, "gt") => self.text(">"),
            (None, "amp") => self.text("&"),
            (None, "quot") => self.text("\""),
            (None, "apos") => self.text("'"),
            // No entity can be defined, so this is an address in which `&` was not escaped.
            (None, other) => self.text(&format!("&{other};")),
        }
        Ok(())
    }
}

/// The prefix, empty when there is none, and the name after it.
fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}
