//! Messages of DNS (RFC 1035 §4) as far as services are found by them: bytes in, bytes out.
//!
//! Anybody in the network can send them. A message has a length, names and records have bounds, and a pointer leads backward
//! only, so that none is followed twice. Records of other types are passed over.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest message that is read or written: what fits a packet of Ethernet (RFC 6762 §17).
pub(crate) const MESSAGE_BYTES_MAX: usize = 9000;
/// Most questions and records of a message that are looked at.
const ENTRIES_MAX: usize = 256;
/// Longest name (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Longest label.
const LABEL_BYTES_MAX: usize = 63;
/// Most pointers of one name: writers need one, some two.
const POINTERS_MAX: usize = 16;
/// The two bits that make a label a pointer (RFC 1035 §4.1.4).
const POINTER: u8 = 0xc0;
/// This message answers, and with authority (RFC 6762 §18.2, §18.4).
const ANSWERS: u16 = 0x8400;
/// Class IN.
const CLASS: u16 = 1;
/// In a question: the answer may come to the asker alone; in a record: others of its name are outdated (RFC 6762 §18.12, §18.13).
const TOP: u16 = 0x8000;

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const ANY: u16 = 255;

/// A name: its labels, without the root.
#[derive(Clone, Debug, Default)]
pub struct Name(Vec<Vec<u8>>);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// By which name.
    pub name: Name,
    /// Which type of record; 255 is every one.
    pub kind: u16,
    /// The answer may come to the asker alone.
    pub alone: bool,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub name: Name,
    /// Seconds for which it is true; 0 takes it back.
    pub ttl_seconds: u32,
    /// No other node has records of this name and type.
    pub unique: bool,
    /// What it says.
    pub data: RecordData,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// A service has an instance of this name.
    Instance(Name),
    /// The instance is at this port of this host.
    Place {
        /// The port.
        port: u16,
        /// The host.
        host: Name,
    },
    /// An instance has nothing more to say.
    NoText,
    /// An address of a host.
    Ipv4(Ipv4Addr),
    /// An address of a host.
    Ipv6(Ipv6Addr),
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Comes back in the answer to a question that was not sent from the port of multicast DNS.
    pub id: u16,
    /// It answers.
    pub answers: bool,
    /// What it asks.
    pub questions: Vec<Question>,
    /// What it says, or, beside a question, what the asker knows already.
    pub records: Vec<Record>,
}

/// Bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// It is longer than one that is sent.
    TooLong,
    /// It ends early.
    CutOff,
    /// A name is none.
    Name,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the message is too long",
            Self::CutOff => "the message ends early",
            Self::Name => "a name in the message is none",
        })
    }
}

impl std::error::Error for MessageError {}

impl Name {
    /// The name of these labels, each of 1 to 63 bytes; longer ones are cut off.
    pub fn new<'t>(labels: impl IntoIterator<Item = &'t str>) -> Self {
        let cut = |label: &str| {
            let end = (0..=label.len().min(LABEL_BYTES_MAX)).rev().find(|end| label.is_char_boundary(*end));
            label.get(..end.unwrap_or(0)).unwrap_or_default().as_bytes().to_vec()
        };
        Self(labels.into_iter().map(cut).filter(|label| !label.is_empty()).collect())
    }

    /// The labels of `self` behind `label`.
    #[must_use]
    pub fn within(label: &str, parent: &Self) -> Self {
        let mut name = Self::new([label]);
        name.0.extend(parent.0.iter().cloned());
        name
    }

    /// Whether it is one label below `parent`.
    pub fn is_in(&self, parent: &Self) -> bool {
        self.0.len() == parent.0.len().saturating_add(1)
            && self.0.iter().skip(1).zip(&parent.0).all(|(own, of)| own.eq_ignore_ascii_case(of))
    }
}

/// Names are the same in capitals and not (RFC 6762 §16).
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(own, of)| own.eq_ignore_ascii_case(of))
    }
}

impl Eq for Name {}

impl Question {
    /// Which instances does `service` have?
    pub fn instances(service: Name, alone: bool) -> Self {
        Self { name: service, kind: PTR, alone }
    }

    /// Whether `record` answers it.
    pub fn is_answered_by(&self, record: &Record) -> bool {
        self.name == record.name && (self.kind == ANY || self.kind == record.data.kind())
    }
}

impl RecordData {
    const fn kind(&self) -> u16 {
        match self {
            Self::Instance(_) => PTR,
            Self::Place { .. } => SRV,
            Self::NoText => TXT,
            Self::Ipv4(_) => A,
            Self::Ipv6(_) => AAAA,
        }
    }
}

impl Message {
    /// Reads a message; what it says of other things is left out.
    ///
    /// # Errors
    /// When `bytes` are none.
    pub fn read(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong);
        }
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.u16()?, reader.u16()?);
        let [questions, answers, authorities, additional] =
            [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let mut message = Self { id, answers: flags & 0x8000 != 0, ..Self::default() };
        for _ in 0..usize::from(questions).min(ENTRIES_MAX) {
            let (name, kind, class) = (reader.name()?, reader.u16()?, reader.u16()?);
            if class & !TOP == CLASS || class & !TOP == ANY {
                message.questions.push(Question { name, kind, alone: class & TOP != 0 });
            }
        }
        if usize::from(questions) > ENTRIES_MAX {
            return Ok(message);
        }
        let records = [answers, authorities, additional].into_iter().map(usize::from).sum::<usize>();
        for _ in 0..records.min(ENTRIES_MAX) {
            if let Some(record) = reader.record()? {
                message.records.push(record);
            }
        }
        Ok(message)
    }

    /// Writes the message. Names are not shortened: all that is said here fits one packet.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let mut put = |number: u16| bytes.extend_from_slice(&number.to_be_bytes());
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let flags = if self.answers { ANSWERS } else { 0 };
        for number in [self.id, flags, count(self.questions.len()), count(self.records.len()), 0, 0] {
            put(number);
        }
        for question in &self.questions {
            write_name(&mut bytes, &question.name);
            let class = if question.alone { CLASS | TOP } else { CLASS };
            bytes.extend_from_slice(&question.kind.to_be_bytes());
            bytes.extend_from_slice(&class.to_be_bytes());
        }
        for record in &self.records {
            write_record(&mut bytes, record);
        }
        bytes
    }
}

fn write_name(bytes: &mut Vec<u8>, name: &Name) {
    for label in &name.0 {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
}

fn write_record(bytes: &mut Vec<u8>, record: &Record) {
    write_name(bytes, &record.name);
    let class = if record.unique { CLASS | TOP } else { CLASS };
    bytes.extend_from_slice(&record.data.kind().to_be_bytes());
    bytes.extend_from_slice(&class.to_be_bytes());
    bytes.extend_from_slice(&record.ttl_seconds.to_be_bytes());
    let mut data = Vec::new();
    match &record.data {
        RecordData::Instance(name) => write_name(&mut data, name),
        RecordData::Place { port, host } => {
            // Priority and weight say nothing where there is one host.
            data.extend_from_slice(&[0; 4]);
            data.extend_from_slice(&port.to_be_bytes());
            write_name(&mut data, host);
        }
        // RFC 6763 §6.1: one empty text.
        RecordData::NoText => data.push(0),
        RecordData::Ipv4(address) => data.extend_from_slice(&address.octets()),
        RecordData::Ipv6(address) => data.extend_from_slice(&address.octets()),
    }
    bytes.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(&data);
}

/// Reads from a place on.
struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let end = self.at.saturating_add(N);
        let taken = self.bytes.get(self.at..end).and_then(|bytes| bytes.try_into().ok());
        self.at = end;
        taken.ok_or(MessageError::CutOff)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        self.take().map(u16::from_be_bytes)
    }

    /// A name; what a pointer leads to lies before it.
    fn name(&mut self) -> Result<Name, MessageError> {
        let (mut labels, mut length) = (Vec::new(), 0_usize);
        let (mut at, mut behind, mut before, mut pointers) = (self.at, None, self.at, 0_usize);
        loop {
            let first = *self.bytes.get(at).ok_or(MessageError::CutOff)?;
            let next = at.saturating_add(1);
            match first & POINTER {
                0 if first == 0 => {
                    self.at = behind.unwrap_or(next);
                    return Ok(Name(labels));
                }
                0 => {
                    let end = next.saturating_add(usize::from(first));
                    let label = self.bytes.get(next..end).ok_or(MessageError::CutOff)?;
                    length = length.saturating_add(label.len()).saturating_add(1);
                    if length > NAME_BYTES_MAX {
                        return Err(MessageError::Name);
                    }
                    labels.push(label.to_vec());
                    at = end;
                }
                POINTER => {
                    let low = *self.bytes.get(next).ok_or(MessageError::CutOff)?;
                    let to = usize::from(u16::from_be_bytes([first & !POINTER, low]));
                    behind = behind.or(Some(next.saturating_add(1)));
                    // Each leads further back than all before it, so there is an end; that may be thousands away.
                    pointers += 1;
                    if to >= before || pointers > POINTERS_MAX {
                        return Err(MessageError::Name);
                    }
                    (at, before) = (to, to);
                }
                _ => return Err(MessageError::Name),
            }
        }
    }

    /// A record; `None` when it is of another type or class.
    fn record(&mut self) -> Result<Option<Record>, MessageError> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        let ttl_seconds = u32::from_be_bytes(self.take()?);
        let length = usize::from(self.u16()?);
        let end = self.at.saturating_add(length);
        if end > self.bytes.len() {
            return Err(MessageError::CutOff);
        }
        let data = match kind {
            _ if class & !TOP != CLASS => None,
            PTR => Some(RecordData::Instance(self.name()?)),
            SRV => {
                let _rank: [u8; 4] = self.take()?;
                Some(RecordData::Place { port: self.u16()?, host: self.name()? })
            }
            TXT => Some(RecordData::NoText),
            A if length == 4 => Some(RecordData::Ipv4(self.take::<4>()?.into())),
            AAAA if length == 16 => Some(RecordData::Ipv6(self.take::<16>()?.into())),
            _ => None,
        };
        self.at = end;
        Ok(data.map(|data| Record { name, ttl_seconds, unique: class & TOP != 0, data }))
    }
}

#[cfg(test)]
mod tests;
