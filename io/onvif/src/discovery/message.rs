//! The messages of WS-Discovery, read within bounds and written on one line: a camera fails on line breaks in a packet.

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::namespace;
use crate::soap::{Envelope, SoapError};
use crate::xml::{Element, Limits, Writer};

/// The port that devices listen at.
pub const PORT: u16 = 3702;
/// The group that devices listen in.
pub const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// The group that devices listen in by IPv6, on the link.
pub const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 0xC);

/// Bounds on one message; a usual one has 2 kB and 30 elements.
const LIMITS: Limits = Limits { bytes: 65_535, depth: 16, elements: 1_000, attributes: 32 };

/// Devices in one answer: most have one, proxies may have more.
const TARGETS_MAX: usize = 16;
/// Types, scopes and addresses of one device.
const WORDS_MAX: usize = 64;
/// Longest of these, in bytes.
const WORD_BYTES_MAX: usize = 512;

/// What ONVIF's own scopes begin with (Core §7.3.2.2).
pub(super) const SCOPE: &str = "onvif://www.onvif.org/";
/// The type that ONVIF gives all its devices (Core "Types"). Web services for devices have another `Device`.
const DEVICE_TYPE: &str = "tds:Device";

/// Where an answer is sent that goes to the sender of a probe (WS-Addressing §2.1).
const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";
/// Where everything is sent that goes to the group (WS-Discovery §2.4).
const EVERYBODY: &str = "urn:schemas-xmlsoap-org:ws:2005:04:discovery";

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// They are no SOAP.
    #[error(transparent)]
    Soap(#[from] SoapError),
    /// They are SOAP of another kind.
    #[error("no message of WS-Discovery")]
    Other,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name, `urn:uuid:...`; empty when it has none.
    pub id: String,
    /// The name of the message that it answers; `None` when it answers none.
    pub relates_to: Option<String>,
    /// What it says.
    pub content: Content,
}

/// Which message of a device it is, so that one that was overtaken is known as such (WS-Discovery §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Grows with each start of the device.
    pub instance: u32,
    /// Grows with each message.
    pub number: u32,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Who is there?
    Probe(Probe),
    /// These are.
    ProbeMatches(Vec<Target>),
    /// Where is this endpoint?
    Resolve(String),
    /// There.
    ResolveMatches(Vec<Target>),
    /// I have come.
    Hello(Target),
    /// I am leaving.
    Bye(Target),
}

impl Content {
    const fn name(&self) -> &'static str {
        match self {
            Self::Probe(_) => "Probe",
            Self::ProbeMatches(_) => "ProbeMatches",
            Self::Resolve(_) => "Resolve",
            Self::ResolveMatches(_) => "ResolveMatches",
            Self::Hello(_) => "Hello",
            Self::Bye(_) => "Bye",
        }
    }
}

/// Whom a probe looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Types that a device must all have: `dn:NetworkVideoTransmitter`, see [`Target::types`].
    pub types: Vec<String>,
    /// Scopes that a device must all be in.
    pub scopes: Vec<String>,
    /// How scopes are compared.
    pub rule: ScopeRule,
}

/// How scopes are compared (WS-Discovery §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeRule {
    /// As addresses, of which the wanted one is the beginning, part by part.
    #[default]
    Rfc3986,
    /// Letter by letter.
    Strcmp0,
    /// By a rule that is not known here: nothing matches.
    Other,
}

/// A device as it presents itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its stable name, `urn:uuid:...`.
    pub endpoint: String,
    /// Its types: those of ONVIF are `tds:Device` and `dn:NetworkVideoTransmitter` and the like, whatever prefixes they were
    /// read with; others are read as `{NAMESPACE}NAME`, and without namespace where the prefix was never declared.
    pub types: Vec<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Addresses of its device service.
    pub addresses: Vec<String>,
    /// Grows when something of this changes.
    pub metadata_version: u32,
}

impl Message {
    /// Reads a datagram.
    pub fn read(datagram: &[u8]) -> Result<Self, MessageError> {
        let envelope = Envelope::parse_within(datagram, &LIMITS)?;
        let operation = envelope.operation().ok_or(MessageError::Other)?;
        let targets = |name| operation.children(name).filter_map(Target::read).take(TARGETS_MAX).collect();
        let target = || Target::read(operation).ok_or(MessageError::Other);
        let content = match operation.name.as_str() {
            "Probe" => Content::Probe(Probe::read(operation)),
            "ProbeMatches" => Content::ProbeMatches(targets("ProbeMatch")),
            "Resolve" => Content::Resolve(endpoint(operation).ok_or(MessageError::Other)?),
            "ResolveMatches" => Content::ResolveMatches(targets("ResolveMatch")),
            "Hello" => Content::Hello(target()?),
            "Bye" => Content::Bye(target()?),
            _ => return Err(MessageError::Other),
        };
        let word = |text: Option<String>| text.filter(|text| text.len() <= WORD_BYTES_MAX);
        Ok(Self {
            id: word(envelope.message_id).unwrap_or_default(),
            relates_to: word(envelope.relates_to),
            content,
        })
    }

    /// Writes it as a datagram. Types are those of ONVIF, with the prefixes `dn` and `tds`.
    pub fn write(&self) -> String {
        self.write_within(None)
    }

    /// Writes it as a device does, which numbers what it says (WS-Discovery §7).
    pub fn write_numbered(&self, sequence: Sequence) -> String {
        self.write_within(Some(sequence))
    }

    fn write_within(&self, sequence: Option<Sequence>) -> String {
        let namespaces = [
            ("xmlns:s", namespace::SOAP_12),
            ("xmlns:a", namespace::ADDRESSING_2004),
            ("xmlns:d", namespace::DISCOVERY),
            ("xmlns:dn", namespace::NETWORK),
            ("xmlns:tds", namespace::DEVICE),
        ];
        let name = self.content.name();
        let answers = matches!(self.content, Content::ProbeMatches(_) | Content::ResolveMatches(_));
        let mut writer = Writer::new();
        writer.element("s:Envelope", &namespaces, |writer| {
            writer.within("s:Header", |writer| {
                writer.leaf("a:Action", &format!("{}/{name}", namespace::DISCOVERY));
                writer.leaf("a:MessageID", &self.id);
                writer.leaf_if("a:RelatesTo", self.relates_to.as_deref());
                writer.leaf("a:To", if answers { ANONYMOUS } else { EVERYBODY });
                if let Some(Sequence { instance, number }) = sequence {
                    let (instance, number) = (instance.to_string(), number.to_string());
                    let attributes = [("InstanceId", instance.as_str()), ("MessageNumber", number.as_str())];
                    writer.empty("d:AppSequence", &attributes);
                }
            });
            writer.within("s:Body", |writer| {
                writer.within(&format!("d:{name}"), |writer| match &self.content {
                    Content::Probe(probe) => probe.write(writer),
                    Content::Resolve(endpoint) => write_endpoint(writer, endpoint),
                    Content::ProbeMatches(targets) => write_all(writer, "d:ProbeMatch", targets),
                    Content::ResolveMatches(targets) => write_all(writer, "d:ResolveMatch", targets),
                    Content::Hello(target) | Content::Bye(target) => target.write(writer),
                });
            });
        });
        writer.document()
    }
}

impl Probe {
    fn read(element: &Element) -> Self {
        let scopes = element.child("Scopes");
        let rule = match scopes.and_then(|scopes| scopes.attribute("MatchBy")).map(str::trim) {
            None | Some("") => ScopeRule::Rfc3986,
            Some(rule) if rule.ends_with("/rfc3986") || rule.ends_with("/rfc2396") => ScopeRule::Rfc3986,
            Some(rule) if rule.ends_with("/strcmp0") => ScopeRule::Strcmp0,
            Some(_) => ScopeRule::Other,
        };
        Self { types: types(element), scopes: words(element, "Scopes"), rule }
    }

    fn write(&self, writer: &mut Writer) {
        if !self.types.is_empty() {
            writer.leaf("d:Types", &self.types.join(" "));
        }
        if !self.scopes.is_empty() {
            let attributes: &[_] = match self.rule {
                ScopeRule::Rfc3986 | ScopeRule::Other => &[],
                ScopeRule::Strcmp0 => {
                    &[("MatchBy", "http://schemas.xmlsoap.org/ws/2005/04/discovery/strcmp0")]
                }
            };
            writer.leaf_with("d:Scopes", attributes, &self.scopes.join(" "));
        }
    }
}

impl Target {
    /// Whether a probe means this device: it has all types, and is in all scopes.
    pub fn is_meant_by(&self, probe: &Probe) -> bool {
        let has = |wanted: &String| self.types.iter().any(|own| same_type(own, wanted));
        let within = |wanted: &String| self.scopes.iter().any(|own| scope_matches(probe.rule, own, wanted));
        probe.types.iter().all(has) && probe.scopes.iter().all(within)
    }

    /// Whether it says that it is a device of ONVIF, by a type or by a scope: computers and printers speak WS-Discovery, too.
    pub fn is_of_onvif(&self) -> bool {
        let video = |own: &String| type_name(own).starts_with("NetworkVideo");
        let scope =
            |own: &String| own.get(..SCOPE.len()).is_some_and(|head| head.eq_ignore_ascii_case(SCOPE));
        self.types.iter().any(|own| own == DEVICE_TYPE || video(own)) || self.scopes.iter().any(scope)
    }

    /// Reads a device; `None` when it has no name.
    fn read(element: &Element) -> Option<Self> {
        Some(Self {
            endpoint: endpoint(element)?,
            types: types(element),
            scopes: words(element, "Scopes"),
            addresses: words(element, "XAddrs"),
            metadata_version: element
                .text_at(&["MetadataVersion"])
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        })
    }

    fn write(&self, writer: &mut Writer) {
        write_endpoint(writer, &self.endpoint);
        for (name, words) in
            [("d:Types", &self.types), ("d:Scopes", &self.scopes), ("d:XAddrs", &self.addresses)]
        {
            if !words.is_empty() {
                writer.leaf(name, &words.join(" "));
            }
        }
        writer.leaf("d:MetadataVersion", &self.metadata_version.to_string());
    }
}

fn write_all(writer: &mut Writer, name: &str, targets: &[Target]) {
    for target in targets {
        writer.within(name, |writer| target.write(writer));
    }
}

fn write_endpoint(writer: &mut Writer, endpoint: &str) {
    writer.within("a:EndpointReference", |writer| writer.leaf("a:Address", endpoint));
}

fn endpoint(element: &Element) -> Option<String> {
    let address = element.text_at(&["EndpointReference", "Address"])?;
    (address.len() <= WORD_BYTES_MAX).then(|| address.to_owned())
}

fn types(element: &Element) -> Vec<String> {
    let Some(list) = element.child("Types") else { return Vec::new() };
    let read = |word: &String| {
        let name = word.rsplit_once(':').map_or(word.as_str(), |(_, name)| name);
        match list.namespace_of(word) {
            // Devices take the types of ONVIF from any of its namespaces.
            Some(namespace) if namespace.contains("://www.onvif.org/") && name == "Device" => {
                DEVICE_TYPE.to_owned()
            }
            Some(namespace) if namespace.contains("://www.onvif.org/") => format!("dn:{name}"),
            Some(namespace) => format!("{{{namespace}}}{name}"),
            None => name.to_owned(),
        }
    };
    words(element, "Types").iter().map(read).collect()
}

/// Whether two types are the same; one without namespace may be of any.
fn same_type(a: &str, b: &str) -> bool {
    let (name_of_a, name_of_b) = (type_name(a), type_name(b));
    name_of_a == name_of_b && (a == b || a == name_of_a || b == name_of_b)
}

/// A type without what says whose it is.
pub(super) fn type_name(name: &str) -> &str {
    name.rsplit(['}', ':']).next().unwrap_or(name)
}

fn words(element: &Element, name: &str) -> Vec<String> {
    let text = element.text_at(&[name]).unwrap_or_default();
    let words = text.split_ascii_whitespace().filter(|word| word.len() <= WORD_BYTES_MAX);
    words.take(WORDS_MAX).map(str::to_owned).collect()
}

/// Whether a device in the scope `own` is meant by `wanted`.
fn scope_matches(rule: ScopeRule, own: &str, wanted: &str) -> bool {
    match rule {
        ScopeRule::Other => false,
        ScopeRule::Strcmp0 => own == wanted,
        ScopeRule::Rfc3986 => {
            let (own_head, own_path) = split_scope(own);
            let (wanted_head, wanted_path) = split_scope(wanted);
            let mut own_parts = parts(own_path);
            own_head.eq_ignore_ascii_case(wanted_head)
                && parts(wanted_path).all(|wanted| own_parts.next().is_some_and(|own| own == wanted))
        }
    }
}

/// Scheme and authority, and the path after them.
fn split_scope(scope: &str) -> (&str, &str) {
    let head = scope.find("://").and_then(|at| at.checked_add(3)).unwrap_or(0);
    let path =
        scope.get(head..).and_then(|rest| rest.find('/')).map_or(scope.len(), |at| head.saturating_add(at));
    scope.split_at_checked(path).unwrap_or((scope, ""))
}

/// The parts of a path, decoded; a slash at the end adds none.
fn parts(path: &str) -> impl Iterator<Item = Vec<u8>> {
    path.trim_matches('/').split('/').filter(|part| !part.is_empty()).map(decoded)
}

/// A part of an address with its percent signs resolved; one that is none stands for itself.
pub(super) fn decoded(part: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let pair = (*first == b'%').then(|| Some((digit(after.first()?)?, digit(after.get(1)?)?))).flatten();
        match pair {
            Some((high, low)) => {
                bytes.push((high << 4) | low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => bytes.push(*first),
        }
    }
    bytes
}
