//! XML documents out of payloads (ONVIF Streaming Specification, "RTP for Metadata stream").
//!
//! The marker ends a document. Timestamps say nothing of where it ends, for each packet may have that of its own
//! creation; the document's is that of its first packet. XML is not parsed, only looked at where packets were lost, to
//! find the beginning of the next document.

use crate::replay::FrameMark;
use crate::rtp::RtpPacket;

use super::memory::SampleMemory;
use super::{DepacketizeError, Emission, Output, Sample};

/// Largest document in bytes. The specification recommends to begin a new one each second; a second of analytics has
/// tens of kilobytes.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// The name of the root element, without its prefix.
const ROOT: &[u8] = b"MetadataStream";

/// How far into a payload the root element is looked for.
const ROOT_WITHIN_BYTES: usize = 64;

/// Joins the documents of one track.
#[derive(Debug, Default)]
pub(super) struct DocumentAssembler {
    document: SampleMemory,
    timestamp: i64,
    mark: Option<FrameMark>,
    /// The document at hand lacks something, or its beginning did not come.
    damaged: bool,
}

impl DocumentAssembler {
    pub(super) fn new() -> Self {
        // A session may begin in the middle of a document.
        Self { damaged: true, ..Self::default() }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.document.len()
    }

    pub(super) fn loss<S: FnMut(Sample<'_>)>(
        &mut self,
        _timestamp: Option<i64>,
        _output: &mut Output<'_, S>,
    ) {
        self.document.clear();
        self.damaged = true;
    }

    pub(super) fn push<S: FnMut(Sample<'_>)>(
        &mut self,
        packet: &RtpPacket<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) -> Result<(), DepacketizeError> {
        let payload = packet.payload;
        let mut result = Ok(());
        if begins_document(payload) {
            if !self.document.is_empty() {
                // A device that sets no markers: nothing is missing, so the document before ended here.
                if ends_document(self.document.bytes()) {
                    self.emit(output);
                } else {
                    output.lose(1);
                    result = Err(DepacketizeError::Truncated);
                }
            }
            self.document.clear();
            self.damaged = false;
        }
        if payload.is_empty() && !packet.marker {
            return Err(DepacketizeError::Empty);
        }
        if !self.damaged {
            if self.document.is_empty() {
                self.timestamp = timestamp;
                self.mark = FrameMark::of(packet);
            }
            if payload.len() > DOCUMENT_BYTES_MAX.saturating_sub(self.document.len()) {
                self.document.clear();
                self.damaged = true;
                output.lose(1);
                result = Err(DepacketizeError::TooLong);
            } else {
                self.document.append(payload);
            }
        }
        if packet.marker {
            if !self.damaged && !self.document.is_empty() {
                self.emit(output);
            }
            self.document.clear();
            self.damaged = false;
        }
        result
    }

    pub(super) fn flush<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        if ends_document(self.document.bytes()) {
            self.emit(output);
        }
        self.document.clear();
        self.damaged = true;
    }

    fn emit<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        output.emit(Emission {
            data: self.document.bytes(),
            timestamp: self.timestamp,
            key: true,
            mark: self.mark.take(),
            config_changed: false,
        });
        self.document.sent();
    }
}

/// Whether a payload is surely the beginning of a document: a declaration, or the root element.
fn begins_document(payload: &[u8]) -> bool {
    let text = payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload).trim_ascii_start();
    if text.starts_with(b"<?xml") {
        return true;
    }
    let Some(tag) = text.strip_prefix(b"<") else { return false };
    let tag = tag.get(..tag.len().min(ROOT_WITHIN_BYTES)).unwrap_or_default();
    let name = tag.split(|byte| matches!(byte, b' ' | b'>' | b'/' | b'\t' | b'\r' | b'\n')).next();
    name.is_some_and(|name| name.rsplit(|byte| *byte == b':').next().is_some_and(is_root))
}

/// Whether a document ends as one does.
fn ends_document(document: &[u8]) -> bool {
    let Some(tag) = document.trim_ascii_end().strip_suffix(b">") else { return false };
    let tag = tag.trim_ascii_end();
    let begin = tag.len().saturating_sub(ROOT.len());
    tag.get(begin..).is_some_and(is_root)
}

/// The specification's text spells it differently from its schema.
fn is_root(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(ROOT)
}
