//! SOAP envelopes, read in version 1.1 and 1.2 and written in 1.2, with faults and WS-Addressing.
//!
//! What stands in the body is a tree for the caller to read. Header elements that are not known here are passed over,
//! also when they ask to be understood: no device refuses work for that, and no client needs to.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::namespace;
use crate::security::{TokenError, UsernameToken};
use crate::xml::{Element, Limits, Writer, XmlError, local_name};

/// Prefixes that every envelope declares, so that bodies and the names in their text may use them.
const PREFIXES: [(&str, &str); 15] = [
    ("xmlns:s", namespace::SOAP_12),
    ("xmlns:wsa", namespace::ADDRESSING),
    ("xmlns:wsnt", namespace::NOTIFICATION),
    ("xmlns:wstop", namespace::TOPICS),
    ("xmlns:tns1", namespace::ONVIF_TOPICS),
    ("xmlns:tt", namespace::SCHEMA),
    ("xmlns:ter", namespace::ERROR),
    ("xmlns:tds", namespace::DEVICE),
    ("xmlns:trt", namespace::MEDIA),
    ("xmlns:tr2", namespace::MEDIA2),
    ("xmlns:tev", namespace::EVENTS),
    ("xmlns:trc", namespace::RECORDING),
    ("xmlns:tse", namespace::SEARCH),
    ("xmlns:trp", namespace::REPLAY),
    ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
];

/// Longest subcode chain that is read; ONVIF nests two.
const SUBCODES_MAX: usize = 8;

/// Why bytes are no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SoapError {
    /// They are no XML that is read.
    #[error("no SOAP: {0}")]
    Xml(#[from] XmlError),
    /// The root is something else: a web page, most often.
    #[error("no SOAP envelope but an element {0:?}")]
    NotAnEnvelope(String),
    /// There is nothing in it.
    #[error("a SOAP envelope without a body")]
    NoBody,
}

/// A received envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `wsa:Action`: what is asked or answered.
    pub action: Option<String>,
    /// `wsa:MessageID`: the name of this message.
    pub message_id: Option<String>,
    /// `wsa:RelatesTo`: the message that this one answers.
    pub relates_to: Option<String>,
    /// `wsa:To`: who is meant; a pull point is addressed by it.
    pub to: Option<String>,
    /// The login in the header, or what is wrong with it; `None` when there is none.
    pub token: Option<Result<UsernameToken, TokenError>>,
    /// The whole header; `None` when there is none.
    pub header: Option<Element>,
    /// The body.
    pub body: Element,
}

impl Envelope {
    /// Reads an envelope within the default limits.
    pub fn parse(document: &[u8]) -> Result<Self, SoapError> {
        Self::parse_within(document, &Limits::DEFAULT)
    }

    /// Reads an envelope within `limits`.
    pub fn parse_within(document: &[u8], limits: &Limits) -> Result<Self, SoapError> {
        let root = Element::parse_within(document, limits)?;
        if root.name != "Envelope" {
            return Err(SoapError::NotAnEnvelope(root.name.chars().take(64).collect()));
        }
        let (mut header, mut body) = (None, None);
        for child in root.children {
            match child.name.as_str() {
                "Header" if header.is_none() => header = Some(child),
                "Body" if body.is_none() => body = Some(child),
                _ => {} // Anything else in an envelope is none of ours.
            }
        }
        let text = |name: &str| {
            let text = header.as_ref()?.text_at(&[name])?;
            Some(text.to_owned())
        };
        Ok(Self {
            action: text("Action"),
            message_id: text("MessageID"),
            relates_to: text("RelatesTo"),
            to: text("To"),
            token: header.as_ref().and_then(|header| header.child("Security")).and_then(UsernameToken::read),
            body: body.ok_or(SoapError::NoBody)?,
            header,
        })
    }

    /// What is asked or answered: the first element of the body; `None` when the body is empty.
    pub fn operation(&self) -> Option<&Element> {
        self.body.children.first()
    }

    /// The fault in the body; `None` when there is none.
    pub fn fault(&self) -> Option<Fault> {
        self.body.child("Fault").map(Fault::read)
    }
}

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// `Sender`, `Receiver` and the like, without prefix; the `Client` and `Server` of SOAP 1.1 are read as these.
    pub code: String,
    /// Finer codes, outermost first, without prefix: `NotAuthorized`, or `InvalidArgVal` and then `NoProfile`.
    pub subcodes: Vec<String>,
    /// What a person should read; empty when the device says nothing.
    pub reason: String,
}

impl Fault {
    /// A fault of the asking side with the codes of ONVIF Core §5.11.2, without prefix.
    pub fn sender(subcodes: &[&str], reason: impl Into<String>) -> Self {
        Self::new("Sender", subcodes, reason)
    }

    /// A fault of the answering side with the codes of ONVIF Core §5.11.2, without prefix.
    pub fn receiver(subcodes: &[&str], reason: impl Into<String>) -> Self {
        Self::new("Receiver", subcodes, reason)
    }

    fn new(code: &str, subcodes: &[&str], reason: impl Into<String>) -> Self {
        let subcodes = subcodes.iter().map(|&code| code.to_owned()).collect();
        Self { code: code.to_owned(), subcodes, reason: reason.into() }
    }

    fn read(fault: &Element) -> Self {
        let mut read = Self::default();
        let name = |text: &str| local_name(text.trim()).to_owned();
        if let Some(code) = fault.child("Code") {
            read.code = name(code.text_at(&["Value"]).unwrap_or_default());
            let mut subcode = code.child("Subcode");
            while let Some(inner) = subcode.filter(|_| read.subcodes.len() < SUBCODES_MAX) {
                read.subcodes.extend(inner.text_at(&["Value"]).map(name));
                subcode = inner.child("Subcode");
            }
            read.reason = fault.text_at(&["Reason", "Text"]).unwrap_or_default().to_owned();
        } else {
            // SOAP 1.1 §4.4: the code is one name, refined after dots, and devices put ONVIF's codes there too.
            let code = name(fault.text_at(&["faultcode"]).unwrap_or_default());
            match code.as_str() {
                "Client" => read.code = "Sender".to_owned(),
                "Server" => read.code = "Receiver".to_owned(),
                _ => {
                    read.code = "Sender".to_owned();
                    read.subcodes.push(code);
                }
            }
            read.reason = fault.text_at(&["faultstring"]).unwrap_or_default().to_owned();
        }
        read
    }

    /// Whether one of its codes is this, without prefix.
    pub fn has(&self, code: &str) -> bool {
        self.code == code || self.subcodes.iter().any(|subcode| subcode == code)
    }

    /// Whether it says that the login is missing or wrong.
    pub fn asks_for_login(&self) -> bool {
        // Devices use those of ONVIF Core §5.11.2, those of WS-Security §12, or a sentence.
        const CODES: [&str; 6] = [
            "NotAuthorized",
            "FailedAuthentication",
            "InvalidSecurity",
            "InvalidSecurityToken",
            "SecurityTokenUnavailable",
            "MessageExpired",
        ];
        CODES.iter().any(|code| self.has(code)) || {
            let reason = self.reason.to_ascii_lowercase();
            reason.contains("not authorized") || reason.contains("unauthorized")
        }
    }

    /// Whether it says that the device does not know the call.
    pub fn is_not_supported(&self) -> bool {
        ["ActionNotSupported", "OptionalActionNotImplemented", "UnknownAction"]
            .iter()
            .any(|code| self.has(code))
    }

    /// Writes it as the content of a body.
    pub fn write(&self, writer: &mut Writer) {
        writer.within("s:Fault", |writer| {
            writer.within("s:Code", |writer| {
                writer.leaf("s:Value", &format!("s:{}", self.code));
                write_subcodes(writer, &self.subcodes);
            });
            writer.within("s:Reason", |writer| {
                writer.leaf_with("s:Text", &[("xml:lang", "en")], &self.reason);
            });
        });
    }
}

fn write_subcodes(writer: &mut Writer, subcodes: &[String]) {
    if let Some((first, rest)) = subcodes.split_first() {
        writer.within("s:Subcode", |writer| {
            writer.leaf("s:Value", &format!("ter:{first}"));
            write_subcodes(writer, rest);
        });
    }
}

impl fmt::Display for Fault {
    /// Codes and reason on one line of bounded length, without control characters: it ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 200;
        let text = [self.code.as_str()].into_iter().chain(self.subcodes.iter().map(String::as_str));
        let codes = text.filter(|code| !code.is_empty()).collect::<Vec<_>>().join("/");
        let joined = if self.reason.is_empty() { codes } else { format!("{} ({codes})", self.reason) };
        let shown: String =
            joined.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect();
        f.write_str(shown.trim())
    }
}

/// What is written into the header of an envelope.
#[derive(Clone, Debug, Default)]
pub struct Header<'a> {
    /// `wsa:Action`.
    pub action: Option<&'a str>,
    /// `wsa:MessageID`.
    pub message_id: Option<&'a str>,
    /// `wsa:RelatesTo`.
    pub relates_to: Option<&'a str>,
    /// `wsa:To`.
    pub to: Option<&'a str>,
    /// The login.
    pub token: Option<&'a UsernameToken>,
    /// Elements that a pull point wants to see again, written as they are (WS-Addressing, reference parameters).
    pub references: Option<&'a Writer>,
}

/// Writes an envelope of SOAP 1.2 with all prefixes of ONVIF declared: `s wsa wsnt wstop tns1 tt ter tds trt tr2 tev trc
/// tse trp xsi`. `body` writes what stands in the body.
pub fn write(header: &Header<'_>, body: impl FnOnce(&mut Writer)) -> String {
    let mut writer = Writer::new();
    writer.element("s:Envelope", &PREFIXES, |writer| {
        let mut inner = Writer::new();
        inner.leaf_if("wsa:Action", header.action);
        inner.leaf_if("wsa:MessageID", header.message_id);
        inner.leaf_if("wsa:RelatesTo", header.relates_to);
        inner.leaf_if("wsa:To", header.to);
        if let Some(references) = header.references {
            inner.append(references);
        }
        if let Some(token) = header.token {
            token.write(&mut inner);
        }
        // Some devices stumble over an empty header.
        if !inner.as_str().is_empty() {
            writer.within("s:Header", |writer| writer.append(&inner));
        }
        writer.within("s:Body", body);
    });
    writer.document()
}
